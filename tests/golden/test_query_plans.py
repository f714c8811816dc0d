"""Plans of relational queries: after every rule that changed them, and as they are cut. ``UPDATE_GOLDEN=1`` rewrites the files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import PCollection, Pipeline, col, lit, when
from dataflow.expr.functions import rank
from dataflow.optimizer.estimates import estimate_notes
from dataflow.optimizer.optimize import optimize, placing
from dataflow.optimizer.rule import Remarks
from dataflow.physical.explain import stages_text
from dataflow.physical.stages import plan_phases
from dataflow.plan.explain import as_text
from dataflow.plan.nodes import View

PLANS = Path(__file__).parent / "plans" / "queries"
Rows = PCollection[dict[str, Any]]
MANY = 20_000


def orders(p: Pipeline) -> Rows:
    names = ["id", "who", "price", "day"]
    columns = [
        pa.array(range(MANY)),
        pa.array([i % 97 for i in range(MANY)]),
        pa.array([i * 0.5 for i in range(MANY)]),
        pa.array([i % 365 for i in range(MANY)]),
    ]
    return p.from_arrow(pa.table(columns, names), label="orders")


def people(p: Pipeline) -> Rows:
    return p.from_arrow(
        pa.table({"id": range(MANY), "name": [f"n{i}" for i in range(MANY)], "city": [i % 5 for i in range(MANY)]}), label="people"
    )


def few(p: Pipeline) -> Rows:
    return p.from_arrow(pa.table({"city": range(5), "country": ["x"] * 5}), label="cities")


def joined(p: Pipeline) -> Rows:
    return orders(p).join(people(p), left_on="who", right_on="id")


def _with_average(people: Rows, orders: Rows) -> Rows:
    average = orders.group_by("who").agg(m=col("price").mean())
    return (
        people.filter(col("name") == "n1")
        .join(orders, left_on="id", right_on="who")
        .join(average, left_on="id", right_on="who", how="left")
    )


def _in_city_twice(people: Rows, orders: Rows) -> Rows:
    def paid(name: str) -> Rows:
        prices = orders.select(**{f"who {name}": col("who"), f"price {name}": col("price")})
        some = people.filter(col("city") == 3).select(**{f"id {name}": col("id")})
        return prices.join(some, left_on=f"who {name}", right_on=f"id {name}").group_by().agg(col(f"price {name}").sum())

    return paid("a").join(paid("b"), how="cross")


def by_id(p: Pipeline, name: str, rows: int, group: int) -> Rows:
    """A table in the order of its id, as Parquet."""
    folder = Path("tables-in-order")
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({"id": [i * 3 for i in range(rows)], name: [i % 7 for i in range(rows)]}), path, row_group_size=group)
    return p.read_parquet(str(path), label=name)


CASES: dict[str, Callable[[Pipeline], Rows]] = {
    "filters go to both sides of a join": lambda p: joined(p).filter(
        (col("price") > 3) & (col("name") == "n1") & (col("price") > col("city"))
    ),
    "what an OR says of one side is checked there": lambda p: joined(p).filter(
        ((col("price") > 3) & (col("name") == "n1")) | ((col("price") < 1) & (col("name") == "n2") & (col("who") > 5))
    ),
    "a filter on the left key is inferred for the right": lambda p: joined(p).filter(col("who") == 3),
    "a filter below one side of a join is inferred for the other": lambda p: (
        orders(p)
        .filter((col("who") < 9) & (col("price") > 1))
        .join(people(p).filter(col("id") != 4).select(other="id", name="name"), left_on="who", right_on="other")
    ),
    "a filter on the right side of a left join stays": lambda p: (
        orders(p).join(people(p), left_on="who", right_on="id", how="left").filter(col("name") == "n1")
    ),
    "an equality over a cross join becomes its key": lambda p: orders(p).join(people(p), how="cross").filter(col("who") == col("id_right")),
    "a filter on a key goes below the aggregation": lambda p: (
        orders(p).group_by("who").agg(n=col("id").count()).filter((col("who") > 3) & (col("n") > 1))
    ),
    "a filter on an expression is written in its columns": lambda p: (
        orders(p).with_columns(x=col("price") * 2).filter(col("x") > 1).select("x")
    ),
    "a filter goes past windows by what they are all partitioned by": lambda p: (
        orders(p)
        .with_columns(r=rank().over("who", "day", order_by="id"), s=col("price").sum().over("who"))
        .filter((col("who") > 3) & (col("day") < 9) & (col("price") > 1) & (col("r") == 1))
    ),
    "filters go into every part of a union": lambda p: (
        orders(p).select("id", "price").concat(orders(p).select("id", "price")).filter(col("id") > 3)
    ),
    "a filter stays above what others read": lambda p: _shared(p),
    "columns nobody reads are not read": lambda p: (
        joined(p).group_by("name").agg(col("price").sum(), unused=col("day").max()).select("price")
    ),
    "an aggregation begins before its exchange": lambda p: (
        orders(p).group_by("who").agg(col("price").sum(), mean=col("price").mean(), n=col("id").count())
    ),
    "a median needs all values together": lambda p: orders(p).group_by("who").agg(col("price").median()),
    "different values are found before they are counted": lambda p: orders(p).group_by("day").agg(col("who").n_unique(), s=col("id").sum()),
    "sketches of parts meet in place of all values": lambda p: (
        orders(p)
        .group_by("day")
        .agg(col("who").approx_n_unique(), q=col("price").approx_quantile(0.5), p=col("price").approx_quantile(0.9))
    ),
    "two large sides meet by exchange": lambda p: joined(p).select("id", "name"),
    "a small side goes whole to every part": lambda p: people(p).join(few(p), "city").select("name", "country"),
    "an order is a sorting shuffle, its beginning is not": lambda p: orders(p).sort("price").limit(3),
    "a window meets by its partition": lambda p: orders(p).with_columns(r=col("price").sum().over("who", order_by="day")),
    "grouping sets are aggregations put together": lambda p: orders(p).group_by("who", "day").rollup().agg(col("price").sum()),
    "distinct begins on any part": lambda p: orders(p).select("who").distinct(["who"]),
    "a sort of everything": lambda p: orders(p).sort(["day", "price"], descending=[True, False]),
    "an aggregation joined to few keys is narrowed to them": lambda p: (
        people(p)
        .filter(col("name") == "n1")
        .join(orders(p).group_by("who").agg(m=col("price").mean()), left_on="id", right_on="who", how="left")
    ),
    "an average of what is joined already is made of that": lambda p: _with_average(people(p), orders(p)),
    "a join that is there by other names is joined once": lambda p: _in_city_twice(people(p), orders(p)),
    "joins that leave little come first": lambda p: (
        joined(p)
        .join(few(p).filter(col("city") == 3).rename({"country": "of"}), "city")
        .filter(col("price") > col("day"))
        .select("id", "name", "of")
    ),
    "conditions are made simple": lambda p: (
        joined(p)
        .filter(((col("price") > 3) & (col("name") == "n1")) | ((col("price") > 3) & ~(col("id") > 9)))
        .filter(lit(True) | (col("id") > 1))
    ),
    "records that are joined to few are summed before": lambda p: (
        orders(p)
        .join(few(p), left_on="who", right_on="city")
        .group_by("country")
        .agg(n=col("id").count(), total=col("price").sum(), mean=col("price").mean())
    ),
    "records of many groups are joined before they are summed": lambda p: (
        orders(p).join(people(p), left_on="id", right_on="id").group_by("city").agg(total=col("price").sum())
    ),
    "tables in the order of a key are joined and grouped by it without a shuffle": lambda p: (
        by_id(p, "lines", 20_000, 3000).join(by_id(p, "bills", 20_000, 4000), "id").group_by("id", "bills").agg(n=col("lines").sum())
    ),
    "three tables in the order of a key are joined by it, a small one goes with them": lambda p: (
        by_id(p, "lines", 20_000, 3000)
        .join(people(p).filter(col("id") < 3).select(line="id", name="name"), left_on="lines", right_on="line")
        .join(by_id(p, "bills", 20_000, 4000), "id")
        .join(by_id(p, "notes", 20_000, 5000), "id", how="anti")
    ),
    "a table that is joined is read apart from what else is made of it": lambda p: _apart(p),
    "a limit goes below what keeps the records": lambda p: (
        orders(p)
        .join(people(p), left_on="who", right_on="id", how="left")
        .with_columns(x=col("price") * 2)
        .concat(joined(p).with_columns(x=lit(1.0)))
        .limit(5, offset=2)
    ),
    "the first of a left join by its own columns": lambda p: (
        orders(p)
        .join(people(p), left_on="who", right_on="id", how="left")
        .with_columns(cost=col("price"), x=col("price") * 2)
        .sort("cost", descending=True)
        .limit(3)
    ),
    "a limit stays above windows and what others read": lambda p: _limited(p),
    "of columns without nulls nobody asks whether they are null": lambda p: (
        orders(p)
        .filter(col("id").is_not_null() & (col("price") > 1))
        .group_by("who")
        .agg(n=col("price").count(), m=col("day").max())
        .with_columns(mean=when(col("n") > 0).then(col("m")).otherwise(None), there=col("m").is_null())
    ),
    "not in a subquery without nulls is an anti join": lambda p: p.sql(
        "select day, sum(price) as paid from orders where who not in (select city from people where name <> 'n3') group by day",
        orders=orders(p),
        people=people(p),
    ),
    "whether there is a partner is asked of the few that a join leaves": lambda p: (
        orders(p).join(few(p).select(of="city"), left_on="day", right_on="of", how="anti").join(people(p).filter(col("city") == 3), "id")
    ),
    "what two filters both ask is asked once": lambda p: _twice_filtered(orders(p)),
    "groups that are asked for are made once": lambda p: p.sql(
        "select name, id, sum(price) as paid from people join orders on id = who"
        " where id in (select who from orders group by who having sum(price) > 1030000) group by name, id",
        orders=orders(p).select("who", "price"),
        people=people(p).select("id", "name"),
    ),
    "literals and dates": lambda p: orders(p).with_columns(d=lit("2024-01-31", "date")).filter(col("d") > lit("2024-01-01", "date")),
}


def _twice_filtered(orders: Rows) -> Rows:
    some = orders.filter((col("day") > 3) & (col("price") > 1))
    return some.join(
        orders.filter((col("price") > 1) & (col("day") > 3) & (col("who") == 5)).select(late="id"), left_on="id", right_on="late"
    )


def _apart(p: Pipeline) -> Rows:
    lines = by_id(p, "lines", 20_000, 3000)
    means = lines.group_by("lines").agg(mean=col("id").mean())
    return lines.join(means, "lines").filter(col("id") > col("mean"))


def _limited(p: Pipeline) -> Rows:
    numbered = orders(p).with_columns(n=rank().over("who", order_by="id")).limit(4)
    doubled = orders(p).with_columns(x=col("price") * 2)
    return doubled.limit(9).select("id").join(doubled, "id").join(numbered.select("id", "n"), "id")


def _shared(p: Pipeline) -> Rows:
    doubled = orders(p).with_columns(x=col("price") * 2)
    return doubled.filter(col("id") > 3).join(doubled.filter(col("id") < 9), "id")


@pytest.mark.parametrize("name", CASES)
def test_a_query_is_planned(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_plan(name, CASES[name](Pipeline()))


OVER_FILES: dict[str, Callable[[Rows], Rows]] = {
    "folders that a condition leaves out are not read": lambda sales: sales.filter((col("day") > "2024-01-01") & (col("price") > 1)),
    "of a condition with other columns the folders are asked too": lambda sales: (
        sales.filter(((col("day") == "2024-01-01") & (col("price") > 1)) | (col("day") == "2024-01-02"))
        .group_by("day")
        .agg(n=col("id").count())
    ),
    "where no folder is left nothing is read": lambda sales: sales.filter(col("day") == "none"),
}


@pytest.mark.parametrize("name", OVER_FILES)
def test_a_query_over_folders_is_planned(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for day in ("2024-01-01", "2024-01-02", "2024-01-03", "closed"):
        folder = Path("sales") / f"day={day}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": range(9), "price": [i * 0.5 for i in range(9)]}), folder / "a.parquet")
    check_plan(name, OVER_FILES[name](Pipeline().read_parquet("sales", label="sales")))


def check_plan(name: str, query: Rows) -> None:
    node = query.node
    plan = (View(label="view", origin=node.origin, element=node.element, input=node, kind="list"),)
    lines = ["== logical", as_text(plan)]
    remarks = Remarks()
    better = optimize(plan, remarks, lambda rule, text: lines.extend(["", f"== {rule}", text]), placing(1 << 20, "partitioned"))
    lines += ["", "== stages", stages_text(plan_phases(better)), "", "== why", *remarks.lines]
    whole = optimize(plan)
    lines += ["", "== expected, where it runs whole", as_text(whole, estimate_notes(whole))]
    compare(name.replace(" ", "_").replace(",", ""), "\n".join(lines))


def compare(name: str, text: str) -> None:
    path = PLANS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert text + "\n" == path.read_text()
