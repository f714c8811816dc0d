"""How many rows each set of tables of a join graph gives when it is joined, whatever the order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataflow.optimizer.cardinality import column_of
from dataflow.optimizer.join_graph import JoinGraph
from dataflow.optimizer.join_sizes import divisor, reference
from dataflow.optimizer.selectivity import filtered, selectivity
from dataflow.plan.statistics import ColumnStatistics, Statistics

__all__ = ["GraphSizes", "sizes_of"]


@dataclass(slots=True)
class GraphSizes:
    """Call `rows` with a set of tables, a bit each.

    ``equalities``: the columns that are equal to one another, by their tables. ``references``: by how much more two tables give that meet
    in several columns. ``shares``: of the conditions on several tables.
    """

    tables: list[float]
    equalities: list[dict[int, ColumnStatistics]]
    references: list[tuple[int, int, float]]
    shares: list[tuple[int, float]]
    known: dict[int, float] = field(default_factory=dict)

    def rows(self, tables: int) -> float:
        if tables not in self.known:
            self.known[tables] = self._rows(tables)
        return self.known[tables]

    def _rows(self, tables: int) -> float:
        found = math.prod(size for at, size in enumerate(self.tables) if tables >> at & 1)
        for members in self.equalities:
            there = [one for at, one in members.items() if tables >> at & 1]
            if len(there) > 1:
                found /= divisor(there)
        found *= math.prod(share for needed, share in self.shares if needed & tables == needed)
        together: dict[int, int] = {}  # a tree of references: what two tables have twice, a third has not thrice
        for one, two, factor in self.references:
            if tables >> one & 1 and tables >> two & 1:
                roots = [_root(at, together) for at in (one, two)]
                if roots[0] != roots[1]:
                    together[roots[0]] = roots[1]
                    found *= factor
        return max(1.0, found)


def _root(at: int, together: Mapping[int, int]) -> int:
    while at in together:
        at = together[at]
    return at


def sizes_of(graph: JoinGraph, given: Sequence[Statistics]) -> GraphSizes:
    """The sizes of a graph whose tables are estimated so."""
    columns: dict[str, ColumnStatistics] = {}
    tables: list[float] = []
    for at, (known, names) in enumerate(zip(given, graph.names, strict=True)):
        here = Statistics(known.rows, {new: known.columns[name] for name, new in names.items() if name in known.columns})
        for needed, condition in graph.conditions:
            if needed == 1 << at:
                here = filtered(here, condition)
        tables.append(here.rows)
        columns.update(here.columns)
    whole = [Statistics(rows, columns) for rows in tables]
    equalities = [{at: columns.get(name) or ColumnStatistics(tables[at], tables[at]) for at, name in one.items()} for one in graph.classes]
    for pair in graph.equalities:
        equalities.append({pair.one: column_of(pair.of_one, whole[pair.one]), pair.two: column_of(pair.of_two, whole[pair.two])})
    references = []
    for one, two in itertools.combinations(range(len(tables)), 2):
        pairs = [(members[one], members[two]) for members in equalities if one in members and two in members]
        if (factor := reference(pairs)) > 1:
            references.append((one, two, factor))
    shares = [(needed, selectivity(condition, columns)) for needed, condition in graph.conditions if needed.bit_count() > 1]
    return GraphSizes(tables, equalities, sorted(references, key=lambda one: -one[2]), shares)
