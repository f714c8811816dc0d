"""What is joined twice is joined once: groups are made of what the left side has, and what differs in names alone is one."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from dataflow import PCollection, Pipeline
from dataflow.optimizer.optimize import optimize
from dataflow.optimizer.rule import Remarks
from dataflow.plan.nodes import View

Rows = PCollection[Any]
LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
QUIET: dict[str, Any] = {"progress": False, "mode": "in_process"}
PARTS = pa.table({"p": [0, 1, 1, 2, 3, 4, 5, None], "brand": ["a", "a", "b", "a", "b", "a", None, "a"], "size": [1, 2, 3, 4, 5, 6, 7, 8]})
LINES = pa.table(
    {
        "l": [None if n % 13 == 0 else n % 7 for n in range(80)],
        "q": [None if n % 11 == 0 else n * 7 % 19 for n in range(80)],
        "s": [n % 3 for n in range(80)],
    }
)
SHOPS = pa.table({"shop": [0, 1, 1, None], "town": ["x", "y", "x", "x"]})

OF_A = "select p, q from parts, lines where p = l and brand = 'a'"
OF_A_IN_SHOPS = "select p, q, town from parts, lines, shops where p = l and s = shop and brand = 'a'"
MEAN = "(select avg(q) from lines where l = p)"

SQL: dict[str, tuple[str, bool]] = {  # a query, and whether its groups are of records that its left side has
    "an average of the same key": (f"{OF_A} and q < {MEAN}", True),
    "the least of a join": (f"{OF_A_IN_SHOPS} and q = (select min(q) from lines, shops where l = p and s = shop)", True),
    "the least of a join, both filtered alike": (
        f"{OF_A_IN_SHOPS} and town = 'x' and q = (select min(q) from lines, shops where l = p and s = shop and town = 'x')", True,
    ),
    "the left is filtered by more": (f"{OF_A} and s = 1 and q < {MEAN}", False),
    "the groups are filtered by more": (f"{OF_A} and q < (select avg(q) from lines where l = p and s = 1)", False),
    "both are filtered, by different values": (f"{OF_A} and s = 2 and q < (select avg(q) from lines where l = p and s = 1)", False),
    "a sum, which is not the same of twice as many": (f"{OF_A} and q * 9 < (select sum(q) from lines where l = p)", False),
    "a condition between the two": (f"{OF_A} and q > size and q < {MEAN}", False),
    "another table restricts the left": (f"{OF_A_IN_SHOPS} and q < {MEAN}", False),
    "joined by something else": (f"select p, q from parts, lines where size = l and brand = 'a' and q < {MEAN}", False),
    "two equalities, of which the groups have one": (f"{OF_A} and size = s + 1 and q <= {MEAN}", False),
    "another of the same table restricts the left": (
        f"select p, a.q from parts, lines a, lines b where p = a.l and a.s = b.q and brand = 'a' and a.q < {MEAN}", False,
    ),
    "another of the same table has the key, too": (
        f"select p, a.q from parts, lines a, lines b where p = a.l and a.l = b.l and b.s = 1 and brand = 'a' and a.q < {MEAN}", True,
    ),
    "nothing is narrow": (f"select p, q from parts, lines where p = l and q < {MEAN}", False),
}  # fmt: skip


def tables(p: Pipeline) -> dict[str, Rows]:
    return {"parts": p.from_arrow(PARTS), "lines": p.from_arrow(LINES), "shops": p.from_arrow(SHOPS)}


def bag(rows: list[Any]) -> list[str]:
    return sorted(map(repr, rows))


def said(rows: Rows) -> str:
    remarks = Remarks()
    node = rows.node
    optimize((View(label="view", origin=node.origin, element=node.element, input=node, kind="list"),), remarks)
    return "\n".join(remarks.lines)


def agree(query: Callable[[], Rows]) -> None:
    judged = bag(query().collect(runner="reference"))
    for placement in ("whole", "partitioned"):
        assert bag(query().collect(placement=placement, **QUIET)) == judged


@pytest.mark.parametrize("name", SQL)
def test_groups_are_made_of_the_left_where_that_has_their_records(name: str) -> None:
    text, within = SQL[name]

    def query() -> Rows:
        p = Pipeline()
        return p.sql(text, **tables(p))

    assert ("joined: " in said(query())) == within
    assert query().collect(**QUIET)
    agree(query)


def test_what_differs_in_names_alone_is_joined_once() -> None:
    def query(least: str = "s = shop and town = 'x'") -> Rows:
        p = Pipeline()
        return p.sql(
            "select p, sum(q) as total from lines, shops, parts where p = l and s = shop and town = 'x' group by p"
            f" having sum(q) > (select sum(q) / 20 from lines, shops, parts where p = l and {least})",
            **tables(p),
        )

    other = "s = shop and town = 'y'"
    p = Pipeline()
    apart = p.sql(f"select a.n, b.m from ({_counted('n')}) a, ({_counted('m')}) b", **tables(p))
    assert "by other names" in said(apart)
    assert "by other names" not in said(query(other))
    agree(query)
    agree(lambda: query(other))


def _counted(name: str) -> str:
    return f"select count(*) as {name} from lines, shops where s = shop and town = 'x' and q = 3"


@pytest.mark.parametrize("seed", range(60 if LARGE else 3))
def test_random_lookups_are_what_the_judge_says(seed: int) -> None:
    """Of tables of few values, with conditions on either side that are sometimes the same."""
    chance = random.Random(seed)
    fired = 0
    for _ in range(15):
        conditions = ["q > 3", "s = 1", "s is not null", "q is not null", "s < 2", "town = 'x'", "shop >= 0", "l > 1"]
        inner = ["lines", "shops"][: chance.choice([1, 1, 2])]
        outer = [*inner, *(["shops"] if len(inner) == 1 and chance.random() < 0.2 else [])]
        mine = ["p = l", "brand = 'a'", *(["s = shop"] if "shops" in outer and chance.random() < 0.9 else [])]
        theirs = ["l = p", *(["s = shop"] if "shops" in inner and chance.random() < 0.9 else [])]
        for condition in chance.sample(conditions, chance.choice([0, 0, 1, 2])):
            of_shops = condition.startswith(("town", "shop"))
            places = chance.choice([(True, True), (True, True), (True, False), (False, True)])
            if places[0] and (not of_shops or "shops" in outer):
                mine.append(condition)
            if places[1] and (not of_shops or "shops" in inner):
                theirs.append(condition)
        if chance.random() < 0.2:
            mine.append(chance.choice(["q <> size", "size > 2", "s = p"]))
        function = chance.choice(["avg(q)", "min(q)", "max(q)", "sum(q)", "count(q)", "count(distinct q)", "min(q) + max(l)", "avg(q + s)"])
        compared = chance.choice(["q <", "q =", "q >=", "q * 3 <>"])
        text = (
            f"select p, q, size from parts, {', '.join(outer)} where {' and '.join(mine)}"
            f" and {compared} (select {function} from {', '.join(inner)} where {' and '.join(theirs)})"
        )

        def query(text: str = text) -> Rows:
            p = Pipeline()
            return p.sql(text, **tables(p))

        fired += "joined: " in said(query())
        judged = bag(query().collect(runner="reference"))
        assert bag(query().collect(**QUIET)) == judged, text
    assert fired
