"""map, flat_map, filter, map_values, map_groups, key_by: one C loop over the rows of a batch.

``list.extend(map(fn, rows))`` is several times faster than a Python loop per element, and nothing is lost by it: when
the function raises, the iterator over the rows knows how many it has handed out, so the failing record is at hand, and
with ``on_error="skip"`` the loop goes on behind it. Output is cut into pieces of about four megabytes (`Pacer`), so one
record that becomes ten million never stands in memory as ten million.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import length_hint
from typing import Any

from dataflow.execution.context import TaskContext
from dataflow.execution.runner import Pacer, Runner, exited, pairs_of
from dataflow.kernels.known_functions import known_flat_map, known_map
from dataflow.physical.program import BoundStep
from dataflow.shard.batch import Batch, Pairs, Rows

__all__ = ["Elementwise", "OnPairs"]


class Elementwise(Runner):
    """map, filter, flat_map: one C loop over the rows of a batch."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        super().__init__(bound, context, path, before)
        self.pacer = Pacer()
        self.kernel = None
        if not self.sides:
            known = {"flat_map": known_flat_map, "map": known_map}.get(self.step.kind)
            self.kernel = known(self.step.fn) if known else None

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        if self.kernel is not None and (done := self.kernel(batch)) is not None:
            self.stats.rows_out += len(done)
            self.seen += len(batch)
            yield done, None
            return
        for piece in self.pieces(batch.rows()):
            yield Rows(piece), None
        self.seen += len(batch)

    def pieces(self, rows: Sequence[Any]) -> Iterator[list[Any]]:
        """The results of the function over the rows, in bounded pieces."""
        hands = self.context.cursor = iter(rows)
        ended = _Ended()
        stream = self._stream(chain(hands, ended.mark()))
        while True:
            out: list[Any] = []
            try:
                out.extend(islice(stream, self.pacer.rows))
                if len(out) < self.pacer.rows and not ended.reached:
                    raise RuntimeError("the function raised StopIteration")  # it would end the loop as if no rows were left
            except Exception as error:
                self._error(error, rows, hands)
                stream = self._stream(chain(hands, ended.mark()))
            except SystemExit as error:
                self._error(exited(error), rows, hands)
                stream = self._stream(chain(hands, ended.mark()))
            if out:
                self.stats.rows_out += len(out)
                self.pacer.learn(out)
                yield out
            if ended.reached:
                return

    def _error(self, error: Exception, rows: Sequence[Any], hands: Iterator[Any]) -> None:
        index = max(0, len(rows) - length_hint(hands) - 1)
        self.failed(error, rows[index], index)

    def _stream(self, hands: Iterator[Any]) -> Iterator[Any]:
        match self.step.kind:
            case "map":
                return map(self.fn, hands)
            case "filter":
                return filter(self.fn, hands)
            case _:
                found = map(self.fn, hands)
                # when records may be skipped, none of a failing record's outputs may have left already
                return chain.from_iterable(map(list, found) if self.step.on_error.skip else found)


class _Ended:
    """Tells a loop that ended because the rows did from one that ended because the function raised StopIteration."""

    reached = False

    def mark(self) -> Iterator[Any]:
        self.reached = True
        return
        yield


class OnPairs(Elementwise):
    """map_values, map_groups and key_by: keys and values stay two columns unless a record is skipped."""

    groups: Sequence[Any] = ()  # map_groups only: the second argument, beside the keys that `pieces` goes through

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        if self.step.kind == "key_by":
            rows = batch.rows()
            keys: Sequence[Any] = ()
        else:
            keys, rows = pairs_of(self, batch)  # type: ignore[assignment]
        self.groups = rows
        if self.step.on_error.skip:
            for piece in self._one_by_one(rows, keys):
                yield Rows(piece), None
        else:
            done = 0
            for piece in self.pieces(keys if self.step.kind == "map_groups" else rows):
                part = slice(done, done + len(piece))
                yield (Pairs(piece, rows[part]) if self.step.kind == "key_by" else Pairs(keys[part], piece)), None
                done += len(piece)
        self.seen += len(batch)

    def _one_by_one(self, rows: Sequence[Any], keys: Sequence[Any]) -> Iterator[list[Any]]:
        out: list[Any] = []
        for index, element in enumerate(rows):
            try:
                found = self.fn(keys[index], element) if self.step.kind == "map_groups" else self.fn(element)
            except (Exception, SystemExit) as error:
                self.failed(exited(error), (keys[index], element) if keys else element, index)
                continue
            out.append((found, element) if self.step.kind == "key_by" else (keys[index], found))
        self.stats.rows_out += len(out)
        yield out

    def _stream(self, hands: Iterator[Any]) -> Iterator[Any]:
        if self.step.kind != "map_groups":
            return map(self.fn, hands)
        return map(self.fn, hands, self.groups)

    def _error(self, error: Exception, rows: Sequence[Any], hands: Iterator[Any]) -> None:
        index = max(0, len(rows) - length_hint(hands) - 1)
        self.failed(error, (rows[index], self.groups[index]) if self.step.kind == "map_groups" else rows[index], index)
