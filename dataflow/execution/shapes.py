"""Steps without a function of the user's: keys, values, swap, pair_with, number; and aggregators over groups."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dataflow.execution.runner import Runner, exited, pairs_of
from dataflow.shard.batch import Batch, Pairs, Rows, Same, Values

__all__ = ["Combine", "Shape"]


class Shape(Runner):
    """keys, values, swap, pair_with, number: no function of the user's."""

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        self.stats.rows_out += len(batch)
        kind = self.step.kind
        out: Batch
        if kind == "pair_with":
            items: Any = batch.array if isinstance(batch, Values) else batch.rows()
            out = Pairs(items, Same(self.step.arg, len(batch)))
        elif kind == "number":
            if self.draw is None:
                self.draw = self.context.random()
            rank = self.draw.getrandbits
            out = Rows([(rank(62), row) for row in batch.rows()])
        else:
            keys, values = pairs_of(self, batch, raw=True)
            found = keys if kind == "keys" else values
            if kind == "swap":
                out = Pairs(values, keys)
            elif isinstance(found, pa.Array):
                out = Values(found)
            else:
                out = Rows(found if isinstance(found, list) else list(found))
        self.seen += len(batch)
        yield out, None

    draw: random.Random | None = None


class Combine(Runner):
    """combine and merge: an aggregator over the values of each group."""

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        keys, groups = pairs_of(self, batch)
        aggregator = self.step.arg
        results = []
        for index, (key, values) in enumerate(zip(keys, groups, strict=True)):
            try:
                if self.step.kind == "merge":
                    acc = aggregator.create()
                    for other in values:
                        acc = aggregator.merge(acc, other)
                else:
                    acc = aggregator.add_all(aggregator.create(), values)
                results.append(aggregator.present(acc))
            except (Exception, SystemExit) as error:
                self.failed(exited(error), (key, values), index)
        self.stats.rows_out += len(results)
        self.seen += len(batch)
        yield Pairs(keys, results), None
