"""A relational tree as a step of a pass: batches gather to a size that is worth a query, and go through it together.

What the tree does must be right for any part of the collection: filters, columns, the first half of an aggregation, joins
against a whole side value.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from dataflow.execution.context import TaskContext
from dataflow.execution.first_halves import pays, without_groups
from dataflow.execution.leaves import Leaf, leaf_of_table, results
from dataflow.execution.queries import kept_table, named, united
from dataflow.execution.runner import Runner
from dataflow.io.schema import table_of
from dataflow.physical.program import BoundStep
from dataflow.shard.batch import Batch, Records

__all__ = ["QueryStep"]

HELD_BYTES = 32 << 20  # a query over it takes far longer than the millisecond that starting one does


class QueryStep(Runner):
    """Records in, records of a relational tree out."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        super().__init__(bound, context, path, before)
        self.held: list[pa.Table] = []
        self.bytes = 0
        self.limit = min(HELD_BYTES, max(context.memory // 8, 1 << 16))
        self.others: list[Leaf] | None = None
        self.single = without_groups(self.step.arg)

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        self.seen += len(batch)
        with named(self.step.origin, self.step.label, self.context.whereabouts()):
            table = table_of(batch, None)
        self.held.append(table)
        self.bytes += table.nbytes
        if self.bytes >= self.limit:
            yield from self._run()

    def finish(self) -> Iterator[tuple[Batch, str | None]]:
        if self.held:
            yield from self._run()

    def _run(self) -> Iterator[tuple[Batch, str | None]]:
        whole = united(self.held)
        self.held, self.bytes = [], 0
        if self.others is None:
            self.others = [leaf_of_table(kept_table(side)) for side in self.sides]
        with named(self.step.origin, self.step.label, self.context.whereabouts()):
            leaves = [leaf_of_table(whole), *self.others]
            relation = self.step.arg if self.single is None or pays(self.step.arg, leaves) else self.single
            for table in results(relation, leaves, ordered=self.context.ordered):
                if table.num_rows:
                    self.stats.rows_out += table.num_rows
                    yield Records(table), None
