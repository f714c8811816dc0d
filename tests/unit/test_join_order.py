"""Orders of joins: every pair of connected sets is met once, the tree is the cheapest, and the graph keeps what equality means."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any, TypedDict

import pyarrow as pa
import pytest

from dataflow import PCollection, Pipeline, col, lit
from dataflow.optimizer import join_order
from dataflow.optimizer.join_graph import graphs_of
from dataflow.optimizer.join_order import cheapest, tables_of, tree_cost
from dataflow.optimizer.optimize import optimize
from dataflow.optimizer.rule import Remarks
from dataflow.optimizer.rules import reorder_joins
from dataflow.plan.nodes import Relation, View
from dataflow.plan.relational import Join
from dataflow.plan.traversal import topological


def drawn_graph(numbers: random.Random, tables: int) -> list[int]:
    """A connected graph: a tree, and some more edges."""
    near = [0] * tables
    edges = [(at, numbers.randrange(at)) for at in range(1, tables)]
    edges += [tuple(numbers.sample(range(tables), 2)) for _ in range(numbers.randrange(4))]  # type: ignore[misc]
    for one, two in edges:
        near[one] |= 1 << two
        near[two] |= 1 << one
    return near


def connected(tables: int, near: Sequence[int]) -> bool:
    reached, last = tables & -tables, 0
    while reached != last:
        last, reached = reached, reached | (join_order._around(reached, near) & tables)
    return reached == tables


def all_pairs(near: Sequence[int]) -> set[tuple[int, int]]:
    sets = [one for one in range(1, 1 << len(near)) if connected(one, near)]
    return {(one, two) for one, two in itertools.combinations(sets, 2) if not one & two and join_order._around(one, near) & two}


@pytest.mark.parametrize("seed", range(20))
def test_each_pair_of_connected_sets_is_met_once_and_the_cheapest_tree_is_found(seed: int) -> None:
    numbers = random.Random(seed)
    near = drawn_graph(numbers, numbers.randint(2, 6))
    met = [(min(pair), max(pair)) for pair in join_order._pairs(near)]
    assert len(met) == len(set(met)) and set(met) == all_pairs(near)

    sizes = {tables: numbers.random() * 1000 for tables in range(1, 1 << len(near))}
    best = {1 << at: 0.0 for at in range(len(near))}
    for one, two in sorted(all_pairs(near), key=lambda pair: (pair[0] | pair[1]).bit_count()):
        cost = best[one] + best[two] + sizes[one | two] + min(sizes[one], sizes[two])
        best[one | two] = min(cost, best.get(one | two, cost))
    tree = cheapest(near, sizes.__getitem__)
    assert tree_cost(tree, sizes.__getitem__) == pytest.approx(best[(1 << len(near)) - 1])


def test_a_large_star_is_joined_greedily_from_its_smallest_results() -> None:
    tables = 40
    near = [((1 << tables) - 1) & ~1] + [1] * (tables - 1)
    tree = cheapest(near, lambda some: 1000.0 / some.bit_count() if some & 1 else 10.0)
    assert tables_of(tree) == (1 << tables) - 1


def test_tables_without_an_equality_are_joined_last() -> None:
    sizes = {0b01: 10.0, 0b10: 20.0, 0b100: 5.0, 0b1000: 1.0}
    tree = cheapest([0b10, 0b01, 0b1000, 0b100], lambda some: 7.0 if some in (0b11, 0b1100) else sizes.get(some, 49.0))
    assert tree in (((0, 1), (2, 3)), ((2, 3), (0, 1)))


def table(p: Pipeline, label: str, rows: int, **columns: Any) -> PCollection[Any]:
    return p.from_arrow(pa.table({name: [value(at) for at in range(rows)] for name, value in columns.items()}), label=label)


def planned(query: PCollection[Any]) -> tuple[tuple[Any, ...], list[str]]:
    remarks = Remarks()
    view = View(label="view", origin=query.node.origin, element=query.node.element, input=query.node, kind="list")
    return optimize((view,), remarks), [line for line in remarks.lines if line.startswith("reordered")]


def star(p: Pipeline, rows: int = 20_000) -> PCollection[Any]:
    """A fact table, a dimension that leaves all of it, and one that leaves a hundredth."""
    facts = table(p, "facts", rows, a=lambda at: at % 1000, b=lambda at: at % 100)
    wide = table(p, "wide", 1000, a=lambda at: at, x=lambda at: at)
    few = table(p, "few", 100, b=lambda at: at, y=lambda at: at).filter(col("y") == 3)
    return facts.join(wide, "a").join(few, "b")


def test_what_leaves_few_records_is_joined_first() -> None:
    query = star(Pipeline())
    plan, why = planned(query)
    joins = [one for node in topological(plan) if hasattr(node, "root") for one in topological((node.root,)) if isinstance(one, Join)]
    assert [one.left_on[0].name[0] for one in joins] == ["b", "a"]  # type: ignore[attr-defined]
    assert len(why) == 1
    assert sorted(row["x"] for row in query.collect(progress=False)) == sorted(at % 1000 for at in range(20_000) if at % 100 == 3)


class Fact(TypedDict):
    a: int
    b: int


def as_fact(row: dict[str, Any]) -> Fact:
    return Fact(a=row["a"], b=row["b"])


def test_the_written_order_stays_where_nothing_is_known_of_a_table() -> None:
    p = Pipeline()
    facts = table(p, "facts", 20_000, a=lambda at: at % 1000, b=lambda at: at % 100).map(as_fact)
    assert p.columns(facts.node) is not None
    wide = table(p, "wide", 1000, a=lambda at: at)
    assert planned(facts.join(wide, "a").join(table(p, "few", 1, b=lambda at: at), "b"))[1] == []


def test_the_written_order_stays_where_little_is_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder_joins, "GAIN", 0.0001)
    assert planned(star(Pipeline()))[1] == []


def test_a_join_that_others_read_too_is_a_table() -> None:
    p = Pipeline()
    one, two, three = (table(p, name, 100, k=lambda at: at) for name in "abc")
    shared = one.join(two, "k")
    root = shared.join(three, "k").join(shared, "k", suffix="_again").node
    assert isinstance(root, Relation)
    graphs = graphs_of((root,))
    assert sorted(len(graph.tables) for graph in graphs) == [2, 3]


def test_a_column_equal_to_two_of_one_table_is_compared_with_both() -> None:
    p = Pipeline()
    a = table(p, "a", 4, x=lambda at: at % 2, y=lambda at: at // 2)
    b = table(p, "b", 2, z=lambda at: at)
    c = table(p, "c", 2, w=lambda at: at)
    query = a.join(b, left_on=["x", "y"], right_on=["z", "z"]).join(c, left_on="x", right_on="w")
    assert every_order(query) == [{"x": 0, "y": 0}, {"x": 1, "y": 1}]


def every_order(query: PCollection[Any]) -> list[dict[str, Any]]:
    """The x and y that come, the same for every tree of three tables."""
    found = []
    for tree in (((0, 1), 2), ((0, 2), 1), ((1, 2), 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reorder_joins, "cheapest", lambda near, rows, tree=tree: tree)
            patch.setattr(reorder_joins, "GAIN", float("inf"))
            assert len(planned(query)[1]) == 1
            rows = query.collect(progress=False, mode="in_process")
            found.append(sorted(({"x": row["x"], "y": row["y"]} for row in rows), key=repr))
    assert found[0] == found[1] == found[2]
    return found[0]


def test_an_int_equal_to_a_float_that_equals_another_int_need_not_equal_that() -> None:
    p = Pipeline()
    large = 1 << 53
    a = table(p, "a", 1, x=lambda at: large + 1)
    b = table(p, "b", 1, f=lambda at: float(large))
    c = table(p, "c", 1, y=lambda at: large)
    query = a.join(b, left_on="x", right_on="f").join(c, left_on="f", right_on="y").with_columns(y=lit(0))
    assert every_order(query) == [{"x": large + 1, "y": 0}]


def test_a_condition_without_columns_stays() -> None:
    p = Pipeline()
    one, two, three = (table(p, name, 3, x=lambda at: at, **{name: lambda at: at}) for name in "yab")
    query = one.join(two, "x").join(three, "x")
    assert every_order(query.filter(lit(1) > lit(2))) == []
