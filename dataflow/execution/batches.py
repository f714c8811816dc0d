"""map_batches at work: rows gathered to the asked size, in the asked format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dataflow.errors import DataflowError
from dataflow.execution.context import TaskContext
from dataflow.execution.failures import step_error
from dataflow.execution.formats import from_format, joined, to_format
from dataflow.execution.runner import Runner, exited
from dataflow.physical.program import BoundStep
from dataflow.shard.batch import Batch

__all__ = ["Batches"]


class Batches(Runner):
    """map_batches: rows gathered to the asked size, in the asked format."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        super().__init__(bound, context, path, before)
        self.held: list[Batch] = []
        self.rows = 0

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        self.seen += len(batch)
        size = self.step.batch_size
        if size is None:
            yield from self._run(batch)
            return
        self.held.append(batch)
        self.rows += len(batch)
        while self.rows >= size:
            yield from self._run(self._take(size))

    def finish(self) -> Iterator[tuple[Batch, str | None]]:
        if self.rows:
            yield from self._run(self._take(self.rows))

    def _take(self, size: int) -> Batch:
        parts: list[Batch] = []
        need = size
        while need:
            head = self.held[0]
            if len(head) <= need:
                parts.append(self.held.pop(0))
                need -= len(head)
            else:
                parts.append(head.slice(0, need))
                self.held[0] = head.slice(need, len(head))
                need = 0
        self.rows -= size
        return joined(parts)

    def _run(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        if not len(batch):
            return
        try:
            given = to_format(batch, self.step.arg)
            found = self.fn(given)
            results: Iterable[Any] = found if hasattr(found, "__next__") else (found,)
            if self.step.on_error.skip:
                results = list(results)  # of a batch that is set aside nothing may have left
            for result in results:
                out = from_format(result)
                self.stats.rows_out += len(out)
                yield out, None
        except DataflowError:
            raise
        except (Exception, SystemExit) as stop:
            error = exited(stop)
            if self.step.on_error.skip:
                for record in batch.rows():
                    self.context.skip(self.step, record, error, None)
                return
            sample = batch.rows()[0] if len(batch) else None
            raise step_error(self.step, error, sample, self.context.whereabouts(), self.context, self.path) from error
