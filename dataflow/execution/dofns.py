"""A DoFn at work: set up once in a process, bundles per task, tagged outputs. Beam's DoFns by their shape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from dataflow.errors import DataflowError
from dataflow.execution.context import TaskContext
from dataflow.execution.failures import step_error
from dataflow.execution.runner import Pacer, Runner, exited
from dataflow.physical.program import BoundStep
from dataflow.shard.batch import Batch, Rows

__all__ = ["Do", "is_tagged"]


class Do(Runner):
    """A DoFn: set up once in a process, bundles per task, tagged outputs."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        super().__init__(bound, context, path, before)
        self.dofn: Any = bound.step.fn
        self.fn = self._bound(self.dofn.process)
        self.pacer = Pacer()
        self.tagged: dict[str, list[Any]] = {}

    def start(self) -> Iterator[tuple[Batch, str | None]]:
        yield from self._call("start_bundle")

    def finish(self) -> Iterator[tuple[Batch, str | None]]:
        yield from self._call("finish_bundle")

    def _call(self, name: str) -> Iterator[tuple[Batch, str | None]]:
        method = getattr(self.dofn, name, None)
        if method is None:
            return
        try:
            found = method()
            out = list(found) if found is not None else []
        except (Exception, SystemExit) as error:
            raise step_error(self.step, exited(error), f"<{name}>", "", self.context, self.path) from error
        yield from self._sorted_out(out)

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        out: list[Any] = []
        hands = self.context.cursor = iter(batch.rows())
        for index, element in enumerate(hands):
            kept = len(out)
            try:
                found = self.fn(element)
                if found is None:
                    continue
                if isinstance(found, (str, bytes)):
                    raise TypeError(f"process returned a {type(found).__name__}, which would be taken apart; return a list of results")
                if self.step.on_error.skip:
                    out.extend(list(found))
                    continue
                stream = iter(found)
                while len(out) - kept < self.pacer.rows:
                    room = self.pacer.rows - (len(out) - kept)
                    part = list(islice(stream, room))
                    out.extend(part)
                    if len(part) < room:
                        break
                    yield from self._sorted_out(out)
                    out, kept = [], 0
            except DataflowError:
                raise
            except (Exception, SystemExit) as error:
                del out[kept:]
                self.failed(exited(error), element, index)
                continue
            if len(out) >= self.pacer.rows:
                yield from self._sorted_out(out)
                out = []
        if out:
            yield from self._sorted_out(out)
        self.seen += len(batch)

    def _sorted_out(self, out: list[Any]) -> Iterator[tuple[Batch, str | None]]:
        """The main output and the tagged ones apart."""
        if not out:
            return
        self.pacer.learn(out)
        self.stats.rows_out += len(out)
        if not self.step.tags:
            stray = next((x for x in out if is_tagged(x)), None)
            if stray is not None:
                error = TypeError(f"an output tagged {stray.tag!r}, which parallel_do was not told of (tags=[{stray.tag!r}])")
                raise step_error(self.step, error, stray.value, self.context.whereabouts(), self.context, self.path)
            yield Rows(out), None
            return
        parts: dict[str | None, list[Any]] = {}
        for item in out:
            tag = item.tag if is_tagged(item) else None
            if tag is not None and tag not in self.step.tags:
                error = TypeError(f"an output tagged {tag!r}; the declared tags are {', '.join(self.step.tags)}")
                raise step_error(self.step, error, item.value, self.context.whereabouts(), self.context, self.path)
            parts.setdefault(tag, []).append(item.value if tag is not None else item)
        for tag, items in parts.items():
            yield Rows(items), tag


def is_tagged(item: Any) -> bool:
    """Whether an output is one of ours or Beam's tagged outputs, known by name and shape."""
    return type(item).__name__ in ("Tagged", "TaggedOutput") and hasattr(item, "tag") and hasattr(item, "value")
