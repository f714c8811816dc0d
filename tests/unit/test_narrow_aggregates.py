"""Aggregations joined to few keys: the keys go down to the table that has them, and the groups stay what they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from dataflow import PCollection, Pipeline, col
from dataflow.optimizer.optimize import optimize
from dataflow.plan.nodes import Query, View
from dataflow.plan.relational import Given, Join, Project, Where
from dataflow.plan.traversal import topological

ROWS = 60
Rows = PCollection[Any]


def sales(p: Pipeline) -> Rows:
    shops = [None if at % 11 == 0 else at % 7 for at in range(ROWS)]
    return p.from_arrow(pa.table({"shop": shops, "item": [at % 5 for at in range(ROWS)], "n": range(ROWS)}), label="sales")


def items(p: Pipeline) -> Rows:
    return p.from_arrow(pa.table({"item": range(4), "kind": ["a", "b", "a", None]}), label="items")


def shops(p: Pipeline) -> Rows:
    return p.from_arrow(pa.table({"id": [*range(7), None], "town": ["x", "y"] * 4}), label="shops")


# how the groups are made of sales, and the columns of the tables that the semi join stands on
GROUPED: dict[str, tuple[Callable[[Pipeline], Rows], tuple[str, ...]]] = {
    "the left of a join": (lambda p: sales(p).join(items(p), "item").group_by("shop").agg(t=col("n").sum()), ("shop", "item", "n")),
    "the right of a join": (lambda p: items(p).join(sales(p), "item").group_by("shop").agg(t=col("n").sum()), ("shop", "item", "n")),
    "below another name": (
        lambda p: (
            sales(p)
            .rename({"shop": "at"})
            .join(items(p), "item")
            .filter(col("n") > col("item"))
            .group_by(shop=col("at"))
            .agg(t=col("n").sum())
        ),
        ("shop", "item", "n"),
    ),
    "a column that is joined twice": (
        lambda p: sales(p).join(sales(p).select("item", "shop"), "item", suffix="_2").group_by(shop=col("shop_2")).agg(t=col("n").sum()),
        ("item", "shop"),
    ),
    "what is made by a function": (
        lambda p: (
            sales(p)
            .with_columns(z=col("n").apply(lambda n: n + 1, int))
            .join(items(p), "item")
            .group_by("shop")
            .agg(t=col("z").sum())
        ),
        ("shop", "item", "n", "z"),
    ),
    "an outer join": (
        lambda p: sales(p).join(items(p), "item", how="left").group_by("shop").agg(t=col("n").sum()),
        ("shop", "item", "n", "kind"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
@pytest.mark.parametrize("name", GROUPED)
def test_groups_are_what_they_were(name: str, how: Any) -> None:
    def query() -> Rows:
        p = Pipeline()
        return shops(p).filter(col("town") == "x").join(GROUPED[name][0](p), left_on="id", right_on="shop", how=how)

    def bag(rows: list[Any]) -> list[str]:
        return sorted(map(repr, rows))

    judged = bag(query().collect(runner="reference"))
    for placement in ("whole", "partitioned"):
        assert bag(query().collect(progress=False, mode="in_process", placement=placement)) == judged


@pytest.mark.parametrize("name", GROUPED)
def test_the_keys_go_down_to_the_table_that_has_them(name: str) -> None:
    p = Pipeline()
    build, wanted = GROUPED[name]
    node = shops(p).filter(col("town") == "x").join(build(p), left_on="id", right_on="shop").node
    plan = optimize((View(label="view", origin=node.origin, element=node.element, input=node, kind="list"),))
    (query,) = [one for one in topological(plan) if isinstance(one, Query)]
    (semi,) = [one for one in topological((query.root,)) if isinstance(one, Join) and one.how == "semi"]
    assert set(semi.left.schema or ()) <= {*wanted, "at", "shop_2"}  # type: ignore[attr-defined]
    below = semi.left
    while isinstance(below, (Project, Where)):
        below = below.input
    assert isinstance(below, Given) == (name != "an outer join")
