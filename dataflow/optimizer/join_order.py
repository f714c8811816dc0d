"""In which order to join: the cheapest tree over a graph of tables, of which each join has an equality if there is one.

    tables 0─1─2,  rows(0) = 100,  rows(1) = 1,000,000,  rows(2) = 5   ──>   ((1, 2), 0)

A set of tables is an int with a bit for each. Up to a number of pairs of sets that can be joined, all trees are looked at: DPccp of
Moerkotte & Neumann, "Analysis of two existing and one new dynamic programming algorithm" (VLDB 2006), which meets every pair of connected
sets once. Above, the pair that gives the fewest rows is joined until one tree is left: greedy operator ordering (Fegaras, DEXA 1998);
when to give up counting pairs is from Neumann & Radke, "Adaptive optimization of very large join queries" (SIGMOD 2018).

A tree costs the rows of all its joins and of their smaller sides, which a hash join holds in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from dataflow.record import record

__all__ = ["Tree", "cheapest", "tree_cost"]

PAIRS = 2_500  # about 5 ms; a star of 10 tables has 2,304, a chain of 20 has 1,330

Tree: TypeAlias = "int | tuple[Tree, Tree]"
Rows = Callable[[int], float]


@record
class _Plan:
    """The best tree known for a set."""

    cost: float
    tree: Tree


def cheapest(neighbours: Sequence[int], rows: Rows) -> Tree:
    """The tree: ``neighbours[i]`` is the set of the tables that table i has an equality with. Tables that hang together are joined first.

    >>> sizes = {0b001: 100, 0b010: 1_000_000, 0b100: 5, 0b011: 1_000_000, 0b110: 500, 0b111: 500}
    >>> cheapest([0b010, 0b101, 0b010], sizes.__getitem__)
    (0, (1, 2))
    """
    return _greedily(_by_pairs(neighbours, rows), neighbours, rows)


def tree_cost(tree: Tree, rows: Rows) -> float:
    """What a tree costs.

    >>> tree_cost(((0, 1), 2), lambda tables: float(tables))
    14.0
    """
    cost, stack = 0.0, [tree]
    while stack:
        one = stack.pop()
        if isinstance(one, tuple):
            cost += _joined(tables_of(one[0]), tables_of(one[1]), rows)
            stack.extend(one)
    return cost


def tables_of(tree: Tree) -> int:
    """The set of tables in a tree."""
    found, stack = 0, [tree]
    while stack:
        one = stack.pop()
        if isinstance(one, tuple):
            stack.extend(one)
        else:
            found |= 1 << one
    return found


def _joined(one: int, two: int, rows: Rows) -> float:
    return rows(one | two) + min(rows(one), rows(two))


def _by_pairs(neighbours: Sequence[int], rows: Rows) -> dict[int, _Plan]:
    """The best tree of each part that hangs together, by dynamic programming over all pairs of connected sets; of each table by itself,
    if there are too many pairs."""
    best: dict[int, _Plan] = {1 << at: _Plan(0.0, at) for at in range(len(neighbours))}
    pairs = list(itertools.islice(_pairs(neighbours), PAIRS + 1))
    if len(pairs) > PAIRS:
        return best
    for one, two in sorted(pairs, key=lambda pair: (pair[0] | pair[1]).bit_count()):
        a, b = best[one], best[two]
        cost = a.cost + b.cost + _joined(one, two, rows)
        known = best.get(one | two)
        if known is None or cost < known.cost:
            best[one | two] = _Plan(cost, (a.tree, b.tree))
    return {tables: plan for tables, plan in best.items() if not _around(tables, neighbours)}


def _around(tables: int, neighbours: Sequence[int]) -> int:
    """The tables next to a set."""
    found, left = 0, tables
    while left:
        low = left & -left
        found |= neighbours[low.bit_length() - 1]
        left ^= low
    return found & ~tables


def _subsets(tables: int) -> Iterator[int]:
    """All subsets but the empty one, smaller ones of the same bits first."""
    one = 0
    while one != tables:
        one = (one - tables) & tables
        yield one


def _grown(tables: int, without: int, neighbours: Sequence[int]) -> Iterator[int]:
    """A connected set and all larger ones, without some tables; each once (EnumerateCsgRec)."""
    yield tables
    stack = [(tables, without)]
    while stack:
        one, out = stack.pop()
        near = _around(one, neighbours) & ~out
        for more in _subsets(near):
            yield one | more
            stack.append((one | more, out | near))


def _pairs(neighbours: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Every pair of disjoint connected sets with an equality between them, once (EnumerateCsg and EnumerateCmp)."""
    for start in reversed(range(len(neighbours))):
        for one in _grown(1 << start, (2 << start) - 1, neighbours):
            before = ((one & -one) << 1) - 1  # tables up to the first of the set: pairs with those come from their side
            near = _around(one, neighbours) & ~before
            left = near
            while left:
                first = 1 << (left.bit_length() - 1)
                yield from ((one, two) for two in _grown(first, before | one | (near & (first - 1)), neighbours))
                left ^= first


def _greedily(trees: dict[int, _Plan], neighbours: Sequence[int], rows: Rows) -> Tree:
    """Join the two trees that cost the least, again and again; those without an equality when there are no others."""
    near = {tables: _around(tables, neighbours) for tables in trees}
    pairs = {(one, two): _joined(one, two, rows) for one, two in itertools.combinations(sorted(trees), 2) if near[one] & two}
    while len(trees) > 1:
        if not pairs:
            pairs = {pair: _joined(*pair, rows) for pair in itertools.combinations(sorted(trees), 2)}
        one, two = min(pairs, key=lambda pair: (pairs[pair], pair))
        both = one | two
        trees[both] = _Plan(trees[one].cost + trees[two].cost + pairs[one, two], (trees.pop(one).tree, trees.pop(two).tree))
        near[both] = (near[one] | near[two]) & ~both
        pairs = {pair: cost for pair, cost in pairs.items() if one not in pair and two not in pair}
        for other in trees:
            if other & near[both]:
                pair = (min(both, other), max(both, other))
                pairs[pair] = _joined(*pair, rows)
    return next(iter(trees.values())).tree
