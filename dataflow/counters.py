"""Named counters that user functions add to, exact under retries and backup tasks.

A counter belongs to the attempt that runs it. Only the attempt whose result is taken has its
counters added to the run's, so a record that was processed twice is counted once.

    user function ── counter("bad").inc() ──> this attempt's dict ──> its manifest ──> RunResult.counters
"""

from __future__ import annotations

from threading import local

from dataflow.record import record

__all__ = ["Counter", "collect_counters", "counter"]


class _Current(local):
    counts: dict[str, int] | None = None


_current = _Current()


@record(eq=True)
class Counter:
    """A number by name. Made by `counter`; cheap to make again in each call."""

    name: str

    def inc(self, n: int = 1) -> None:
        """Add ``n``. Outside a run it does nothing, so functions stay testable by themselves."""
        counts = _current.counts
        if counts is not None:
            counts[self.name] = counts.get(self.name, 0) + n


def counter(name: str) -> Counter:
    """The counter of that name; its total is in ``RunResult.counters`` after the run.

    >>> from dataflow import Pipeline, counter
    >>> def parse(text: str) -> int:
    ...     counter("parsed").inc()
    ...     return int(text)
    >>> p = Pipeline()
    >>> numbers = p.create(["1", "2"]).map(parse)
    >>> numbers.write_jsonl("memory://counter-example")
    >>> p.run(progress=False).counters["parsed"]
    2

    After MapReduce (OSDI 2004, section 4.9).
    """
    return Counter(name)


class collect_counters:
    """Within this context the thread's counters go into ``counts``."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def __enter__(self) -> dict[str, int]:
        self._before = _current.counts
        _current.counts = self.counts
        return self.counts

    def __exit__(self, *_: object) -> None:
        _current.counts = self._before
