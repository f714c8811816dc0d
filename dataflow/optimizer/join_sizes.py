"""How many records a join gives: those of all sides, divided for every equality by the different values it is of.

    |L join R on l = r|                  =  |L| |R| / max(distinct l, distinct r)
    |L join R join S on l = r, r = s|    =  |L| |R| |S| / the product of the distinct counts but the smallest

That is containment (Selinger 1979: the fewer values all occur among the more) and, for columns equal to one another in several tables,
rule LS of Swami & Schiefer, "On the estimation of join result sizes" (EDBT 1994), by which a size does not depend on the order of joining.

Two corrections, since tables refer to one another by keys. A column that is joined to a key has no value that is not in it, however many
were guessed. And two columns joined to two are one reference, not two by chance: a pair of tables that meet in several columns has no more
combinations than the smaller table has rows (lineitem and partsupp of TPC-H: 600,572 rows; 2,400 without this).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dataflow.plan.statistics import ColumnStatistics

__all__ = ["divisor", "reference", "within_key"]


def within_key(members: Sequence[ColumnStatistics]) -> list[float]:
    """Of columns equal to one another, the different values of each one's table, no more than the largest key among them has."""
    keys = [one.domain for one in members if one.is_key]
    most = max(keys) if keys else math.inf
    return [max(1.0, min(one.domain, most)) for one in members]


def divisor(members: Sequence[ColumnStatistics]) -> float:
    """By what the equality of these columns, each of another side, divides the product of the sides."""
    counts = sorted(max(1.0, domain * one.kept) for domain, one in zip(within_key(members), members, strict=True))
    there = math.prod(1 - one.nulls for one in members)
    return math.prod(counts[1:]) / max(there, 1e-9)


def reference(pairs: Sequence[tuple[ColumnStatistics, ColumnStatistics]]) -> float:
    """By how much more two tables give that meet in several columns, than if those had nothing to do with one another."""
    sides = list(zip(*pairs, strict=True))
    if len(pairs) < 2 or any(one.base != side[0].base for side in sides for one in side):  # of several tables
        return 1.0
    combined = math.prod(max(within_key(pair)) for pair in pairs)
    return combined / min(combined, max(1.0, min(side[0].base for side in sides)))
