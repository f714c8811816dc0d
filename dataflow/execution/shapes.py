"""Steps without a function of the user's: keys, values, swap, pair_with, number, chance; and aggregators over groups."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.execution.runner import Runner, exited, pairs_of
from dataflow.io.schema import table_of
from dataflow.shard.arrow import from_numpy, taken
from dataflow.shard.batch import Batch, Pairs, Records, Rows, Same, Values

__all__ = ["Combine", "Shape"]


class Shape(Runner):
    """keys, values, swap, pair_with, number, chance: no function of the user's."""

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        kind = self.step.kind
        out: Batch
        if kind == "pair_with":
            items: Any = batch.array if isinstance(batch, Values) else batch.rows()
            out = Pairs(items, Same(self.step.arg, len(batch)))
        elif kind == "number":
            seed, name = self.step.arg
            ranks = self._ranks(len(batch), seed)
            if name is None:
                out = Rows(list(zip(ranks.tolist(), batch.rows(), strict=True)))
            else:
                out = Records(table_of(batch).append_column(name, from_numpy(ranks)))
        elif kind == "chance":
            fraction, seed = self.step.arg
            kept = np.flatnonzero(self._ranks(len(batch), seed) < int(fraction * 2**62))
            rows = batch.rows() if not isinstance(batch, Records) else ()
            out = Records(taken(batch.table, kept)) if isinstance(batch, Records) else Rows([rows[at] for at in kept.tolist()])
        else:
            keys, values = pairs_of(self, batch, raw=True)
            found = keys if kind == "keys" else values
            if kind == "swap":
                out = Pairs(values, keys)
            elif isinstance(found, pa.Array):
                out = Values(found)
            else:
                out = Rows(found if isinstance(found, list) else list(found))
        self.stats.rows_out += len(out)
        self.seen += len(batch)
        if len(out):
            yield out, None

    draw: random.Random | None = None

    def _ranks(self, count: int, seed: int) -> np.ndarray:
        """Random integers of 62 bits."""
        if self.draw is None:
            self.draw = self.context.random(seed)
        return (np.frombuffer(self.draw.randbytes(8 * count), "<u8") >> np.uint64(2)).astype(np.int64)


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
