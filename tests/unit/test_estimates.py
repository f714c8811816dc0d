"""Estimates of rows: what footers and samples tell, and how near the sizes of queries come to what is counted."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import PCollection, Pipeline, col
from dataflow.expr.functions import len_
from dataflow.optimizer.estimates import estimates
from dataflow.plan.statistics import ColumnStatistics, Statistics

ROWS = 40_000


def lines() -> pa.Table:
    """Rows that refer to a tenth as many orders, in order of those, and to 500 parts at random."""
    numbers = random.Random(7)
    parts = [numbers.randrange(500) for _ in range(ROWS)]
    return pa.table(
        {
            "order": pa.array([at // 10 * 4 for at in range(ROWS)], pa.int64()),
            "part": pa.array(parts, pa.int32()),
            "kind": pa.array([("air", "rail", "ship", "truck")[part % 4] for part in parts]),
            "day": pa.array([dt.date(2020, 1, 1) + dt.timedelta(numbers.randrange(1000)) for _ in range(ROWS)]),
            "price": pa.array([Decimal(numbers.randrange(10**6)).scaleb(-2) for _ in range(ROWS)], pa.decimal128(15, 2)),
            "note": pa.array([f"note {numbers.random()}" for _ in range(ROWS)]),
            "some": pa.array([None if at % 4 else at for at in range(ROWS)], pa.int64()),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    pq.write_table(lines(), folder / "lines.parquet", row_group_size=8_000)
    orders = pa.table({"order": [at * 4 for at in range(ROWS // 10)], "who": [at % 300 for at in range(ROWS // 10)]})
    pq.write_table(orders, folder / "orders.parquet")
    pq.write_table(pa.table({"part": pa.array(range(500), pa.int32()), "size": [at % 50 for at in range(500)]}), folder / "parts.parquet")
    prices = {"part": pa.array([at // 4 for at in range(2000)], pa.int32()), "kind": ["air", "rail", "ship", "truck"] * 500}
    pq.write_table(pa.table({**prices, "cost": range(2000)}), folder / "prices.parquet")
    return folder


def read(folder: Path, name: str, pipeline: Pipeline | None = None) -> PCollection[Any]:
    return (pipeline or Pipeline()).read_parquet(str(folder / f"{name}.parquet"))


def known(rows: PCollection[Any]) -> Statistics:
    return next(iter(estimates((rows.limit(ROWS).node,)).values()))


def columns(rows: PCollection[Any]) -> dict[str, ColumnStatistics]:
    return dict(known(rows).columns)


DISTINCT = {"order": 4000, "part": 500, "kind": 4, "day": 1000, "price": 39_200, "note": ROWS, "some": ROWS // 4}


@pytest.mark.parametrize("name", DISTINCT)
def test_different_values_are_guessed_from_the_sizes_of_dictionaries(folder: Path, name: str) -> None:
    found = columns(read(folder, "lines"))[name]
    assert DISTINCT[name] / 1.5 <= found.distinct <= DISTINCT[name] * 1.5
    assert found.is_key == (name in ("price", "some")) or name == "note"


@pytest.mark.parametrize("name", ["order", "part", "kind", "note", "some"])
def test_different_values_of_a_table_at_hand_are_guessed_from_a_sample(name: str) -> None:
    found = columns(Pipeline().from_arrow(lines()))[name]
    assert DISTINCT[name] / 8 <= found.distinct <= DISTINCT[name] * 8  # the error that its authors prove is the root of 40,000 / 1,024


def test_bounds_and_nulls_come_from_the_footers(folder: Path) -> None:
    found = columns(read(folder, "lines"))
    assert (found["order"].low, found["order"].high) == (0, ROWS // 10 * 4 - 4)
    assert found["day"].low == pytest.approx((dt.date(2020, 1, 1) - dt.date(1970, 1, 1)).days, abs=2)
    assert found["some"].nulls == 0.75
    assert found["kind"].low is None


def test_moments_in_nanoseconds_have_bounds_without_pandas(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": pa.array([0, 86_400 * 10**9 * 10], pa.timestamp("ns"))}), tmp_path / "t.parquet")
    found = columns(read(tmp_path, "t"))["t"]
    assert (found.low, found.high) == (0.0, 10.0)


def test_many_files_are_known_from_some(tmp_path: Path) -> None:
    for at in range(40):
        pq.write_table(pa.table({"x": range(at * 100, at * 100 + 100)}), tmp_path / f"{at:02}.parquet")
    found = known(Pipeline().read_parquet(str(tmp_path)))
    assert found.rows == pytest.approx(4000, rel=0.05)
    assert found.columns["x"].distinct == pytest.approx(4000, rel=0.05)


def day(year: int, month: int = 1) -> dt.date:
    return dt.date(year, month, 1)


QUERIES: dict[str, tuple[float, Callable[[Callable[[str], Any]], PCollection[Any]]]] = {
    "a value of a dictionary": (1.2, lambda t: t("lines").filter(col("kind") == "air")),
    "some values": (1.2, lambda t: t("lines").filter(col("kind").is_in(["air", "ship"]))),
    "all but a value": (1.2, lambda t: t("lines").filter(col("kind") != "air")),
    "a range between two days": (1.2, lambda t: t("lines").filter((col("day") >= day(2021)) & (col("day") < day(2021, 3)))),
    "a range out of all days": (1.0, lambda t: t("lines").filter(col("day") > day(2030))),
    "one or the other": (1.2, lambda t: t("lines").filter((col("part") < 50) | (col("kind") == "air"))),
    "no nulls": (1.05, lambda t: t("lines").filter(col("some").is_not_null())),
    "a reference to a key": (1.2, lambda t: t("lines").join(t("orders"), "order")),
    "a reference to a key that was filtered": (1.4, lambda t: t("lines").join(t("orders").filter(col("who") == 3), "order")),
    "a reference of two columns": (1.3, lambda t: t("lines").join(t("prices"), ["part", "kind"])),
    "equality of columns that are no keys": (2.0, lambda t: t("lines").join(t("orders"), left_on="part", right_on="who")),
    "those with a partner": (1.5, lambda t: t("lines").join(t("parts").filter(col("size") < 5), "part", how="semi")),
    "those without": (1.5, lambda t: t("lines").join(t("parts").filter(col("size") < 25), "part", how="anti")),
    "a left join": (1.2, lambda t: t("orders").join(t("lines"), "order", how="left")),
    "groups": (1.2, lambda t: t("lines").group_by("part").agg(n=len_())),
    "groups of two": (1.2, lambda t: t("lines").group_by("part", "kind").agg(n=len_())),
    "years": (1.5, lambda t: t("lines").with_columns(y=col("day").dt.year()).group_by("y").agg(n=len_())),
    "different ones": (1.2, lambda t: t("lines").select("part").distinct()),
    "the first of an order": (1.0, lambda t: t("lines").sort("day").limit(7)),
    "both": (1.0, lambda t: t("orders").select("order").union(t("lines").select("order"))),
}  # fmt: skip


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_about_what_was_expected(folder: Path, name: str) -> None:
    pipeline = Pipeline()
    error, build = QUERIES[name]
    query = build(lambda table: read(folder, table, pipeline))
    counted = max(1, query.to_arrow(progress=False).num_rows)
    expected = estimates((query.node,))[id(query.node)].rows
    if name == "groups of two":
        counted *= 4  # a part has one kind, which no footer tells
    assert counted / error <= max(1, expected) <= counted * error, f"{expected:,.0f} expected, {counted:,} came"


def test_explain_says_what_is_expected_and_what_was_counted(folder: Path) -> None:
    query = read(folder, "lines").filter(col("kind") == "air")
    text = query.explain()
    line = next(line for line in text.splitlines() if "| Where" in line)
    assert "  ~ " in line and " rows, " in line and "counted" not in line
    measured = query.explain(analyze=True, progress=False)
    line = next(line for line in measured.splitlines() if "| Where" in line)
    assert line.endswith(f"; {query.to_arrow(progress=False).num_rows:,} counted")


def test_a_pipeline_is_analyzed_up_to_its_writes(folder: Path, tmp_path: Path) -> None:
    p = Pipeline()
    p.create([{"a": i % 3, "b": i} for i in range(1000)]).filter(col("b") > 5).write_parquet(tmp_path / "columns")
    p.create(range(7)).map(str).write_text(tmp_path / "text")
    text = p.explain(analyze=True, progress=False)
    assert "; 994 counted" in text and "== Measured" in text and "map" in text.partition("== Measured")[2]
    assert not list(tmp_path.glob("columns*")) and not list(tmp_path.glob("text*"))
    assert "counted" not in p.explain() and len(p.outputs) == 2


def test_explain_expects_nothing_of_what_a_function_makes(folder: Path) -> None:
    assert "~" not in read(folder, "orders").map(dict).filter(col("who") == 3).explain()


def test_a_function_is_not_called_again_to_count(folder: Path) -> None:
    called: list[int] = []
    query = read(folder, "parts").with_columns(x=col("size").apply(lambda size: called.append(1) or size, int))
    text = query.explain(analyze=True, mode="in_process", progress=False)
    assert len(called) == 500 and "counted" not in text
