"""One step at work in one attempt: what all kinds of steps share.

When the user's function raises, the runner asks which row of the input the record came from: the rows of the current
root batch are run again through the steps before this one, counting, until the failing element's number is reached.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from dataflow.counters import collect_counters
from dataflow.errors import DataflowError
from dataflow.execution.context import TaskContext
from dataflow.execution.failures import step_error
from dataflow.physical.program import BoundStep
from dataflow.shard.batch import Batch, NotPairs, raw_pairs
from dataflow.shard.size import estimated_bytes

__all__ = ["Pacer", "Runner", "exited", "pairs_of"]

TARGET = 4 << 20
FIRST_ROWS = 1024
MOST_ROWS = 65_536
ONE_TO_ONE = (
    "map",
    "map_columns",
    "map_values",
    "map_groups",
    "key_by",
    "pair_with",
    "keys",
    "values",
    "swap",
    "number",
    "combine",
    "merge",
)


class Pacer:
    """How many rows the next piece of output may have, from the size of the last."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = FIRST_ROWS

    def learn(self, piece: list[Any]) -> None:
        size = estimated_bytes(piece) / len(piece)
        self.rows = max(1, min(MOST_ROWS, int(TARGET / max(size, 1)), self.rows * 8))


def exited(error: BaseException) -> Exception:
    """A user's exception; a call of sys.exit becomes one, because it must not look like success."""
    if isinstance(error, Exception):
        return error
    code = getattr(error, "code", None)
    return RuntimeError(f"the function called sys.exit({code})").with_traceback(error.__traceback__)


class Runner:
    """One step of one attempt."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        self.step, self.context, self.path, self.before = bound.step, context, path, before
        self.stats = context.step(bound.step.label)
        self.sides = tuple(context.sides[name] for name in bound.sides)
        self.fn: Callable[..., Any] = self._bound(bound.step.fn)
        self.seen, self.generation = 0, -1
        self.counted: tuple[int, list[int]] = (-1, [])

    def _bound(self, fn: Any) -> Any:
        if not self.sides:
            return fn
        sides = self.sides
        return lambda *given: fn(*given, *sides)

    def start(self) -> Iterator[tuple[Batch, str | None]]:
        """What the step gives before any element."""
        return iter(())

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        """The outputs of a batch, each with its tag."""
        raise NotImplementedError

    def finish(self) -> Iterator[tuple[Batch, str | None]]:
        """What the step gives after all elements."""
        return iter(())

    def begin(self, batch: Batch) -> None:
        """Count the elements since the current root batch began; errors need their numbers."""
        if self.generation != self.context.generation:
            self.seen, self.generation = 0, self.context.generation
        self.stats.rows_in += len(batch)

    def failed(self, error: Exception, record: Any, index: int) -> None:
        """A record failed: skip it if the step says so, else raise the report."""
        row = self._root_row(self.seen + index)
        if self.step.on_error.skip and not isinstance(error, DataflowError):
            self.context.skip(self.step, record, error, row)
            return
        place = self.context.place
        where = place.of(self.context.root_offset + row) if place and row is not None else self.context.whereabouts()
        raise step_error(self.step, error, record, where, self.context, self.path) from error

    def _root_row(self, ordinal: int) -> int | None:
        """Which row of the root batch the step's ``ordinal``-th element came from; None where that cannot be known."""
        if all(r.step.kind in ONE_TO_ONE and not r.step.on_error.skip for r in self.before):
            return ordinal
        root = self.context.root
        if root is None or not all(r.step.kind in (*ONE_TO_ONE, "filter", "flat_map") for r in self.before):
            return None
        if self.counted[0] != self.generation:
            self.counted = (self.generation, [])
        counts = self.counted[1]  # elements that the rows so far became, summed: replayed once a batch, however many fail
        rows = root.rows()
        while len(counts) < len(rows) and (not counts or counts[-1] <= ordinal):
            before = counts[-1] if counts else 0
            with collect_counters():  # what is counted now was counted before
                counts.append(before + len(_replay(self.before, rows[len(counts)])))
        row = bisect_right(counts, ordinal)
        return row if row < len(rows) else None


def _replay(runners: tuple[Runner, ...], element: Any) -> list[Any]:
    """What steps make of an element, without those that they skip."""
    elements = [element]
    for runner in runners:
        made: list[Any] = []
        for one in elements:
            try:
                made += _made(runner, one)
            except (Exception, SystemExit):  # as it did before, or would not have come so far
                continue
        elements = made
    return elements


def _made(runner: Runner, one: Any) -> Iterable[Any]:
    match runner.step.kind:
        case "filter":
            return [one] if runner.fn(one) else ()
        case "flat_map":
            return list(runner.fn(one))
        case "map":
            return [runner.fn(one)]
        case "map_columns":
            return [{**one, **runner.fn({name: one[name] for name in runner.step.arg})}]
        case "map_values":
            return [(one[0], runner.fn(one[1]))]
        case "map_groups":
            return [(one[0], runner.fn(*one))]
        case "key_by":
            return [(runner.fn(one), one)]
        case "keys":
            return [one[0]]
        case "values":
            return [one[1]]
        case "swap":
            return [(one[1], one[0])]
        case _:
            return [one]


def pairs_of(runner: Runner, batch: Batch, raw: bool = False) -> tuple[Sequence[Any], Sequence[Any]]:
    try:
        return raw_pairs(batch) if raw else batch.pairs()
    except NotPairs as error:
        runner.failed(TypeError(f"{error} (make pairs with key_by, or return a tuple of two)"), error.element, error.index)
        raise
