"""Aggregates that may be a little wrong: whole they are exact, in pieces within what is documented, and the same in every run."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow import PCollection, Pipeline, col
from dataflow.execution import queries, query_steps
from dataflow.expr.nodes import Aggregate, Column, Literal
from dataflow.expr.types import DType, Schema, parse_type
from dataflow.expr.typing import type_of
from dataflow.kernels import sketches
from dataflow.kernels.expressions import lower
from dataflow.kernels.lowered import series
from runners.reference.values import order
from tests.properties.column_strategies import SCHEMA, rows

ERROR = 5 / math.sqrt(sketches.HASHES - 2)  # five times the standard error: once in two million
X: Schema = {"x": parse_type("int64")}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_steps, "HELD_BYTES", 1 << 16)
    monkeypatch.setattr(queries, "SCANNED", 1 << 16)


def sketched(function: str, parts: list[pl.DataFrame], schema: Schema, merge: str, **options: Any) -> Any:
    """The answer from a sketch of each part."""
    sketch = Aggregate(function, (Column("x"),))
    made = pl.concat([part.select(s=lower(sketch, schema)) for part in parts])
    merged = Aggregate(merge, (Column("s"),), options=tuple(options.items()))
    return made.select(r=lower(merged, {"s": type_of(sketch, schema)})).item()


def cut(values: pl.Series, places: list[int]) -> list[pl.DataFrame]:
    edges = [0, *sorted(place % (len(values) + 1) for place in places), len(values)]
    return [values[a:b].alias("x").to_frame() for a, b in pairwise(edges)]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.none() | st.integers(-50, 50), max_size=300), st.lists(st.integers(0, 300), max_size=5), st.floats(0, 1), st.integers(1, 40)
)
def test_a_quantile_of_sketches_is_within_its_ranks(values: list[int | None], places: list[int], q: float, runs: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketches, "RUNS", runs)
        found = sketched("quantile_sketch", cut(pl.Series(values, dtype=pl.Int64), places), X, "quantile_of_sketches", q=q)
    known = sorted(value for value in values if value is not None)
    if not known:
        assert found is None
        return
    assert rank_error(known, found, q) <= len(known) / runs + 1e-9


@pytest.mark.parametrize("distinct", [0, 1, 4000, 4096, 20_000, 300_000])
def test_different_values_are_counted_within_the_error_however_they_are_cut(distinct: int) -> None:
    values = pl.Series([*range(distinct), *range(0, distinct, 3), None], dtype=pl.Int64).sample(fraction=1, shuffle=True, seed=distinct)
    found = {sketched("distinct_sketch", cut(values, places), X, "distinct_of_sketches") for places in ([], [7], [1000, 2000, 2000, 9000])}
    assert len(found) == 1
    assert found.pop() == (distinct if distinct < sketches.HASHES else pytest.approx(distinct, rel=ERROR))


@settings(deadline=None, max_examples=100)
@given(rows(SCHEMA, 8), st.sampled_from(sorted(SCHEMA)), st.lists(st.integers(0, 8), max_size=3), st.sampled_from([0.0, 0.5, 0.7, 1.0]))
def test_small_sketches_are_exact_for_every_type(records: list[dict[str, Any]], name: str, places: list[int], q: float) -> None:
    schema = {"x": SCHEMA[name]}
    values = series([row[name] for row in records], SCHEMA[name])
    parts = cut(values, places)
    counted = sketched("distinct_sketch", parts, schema, "distinct_of_sketches")
    whole = values.alias("x").to_frame()
    assert counted == whole.select(lower(Aggregate("n_unique", (Column("x"),)), schema)).item()
    if schema["x"].is_nested:
        return
    exact = Aggregate("approx_quantile", (Column("x"),), options=(("q", q),))
    found = sketched("quantile_sketch", parts, schema, "quantile_of_sketches", q=q)
    wanted = whole.select(lower(exact, schema)).item()
    assert (found is None) == (wanted is None)
    assert found is None or order(found) == order(wanted)


# -- pipelines


ROWS = 24_000
TABLE = pa.table({
    "k": pa.array([n % 3 if n % 50 else None for n in range(ROWS)]),
    "i": pa.array([n * 7919 % 30_011 if n % 11 else None for n in range(ROWS)]),
    "f": pa.array([math.nan if n % 1000 == 0 else math.exp(n * 31 % 977 / 50) for n in range(ROWS)]),
    "s": pa.array([f"name {n * n % 20_011}" for n in range(ROWS)]),
    "d": pa.array([dt.date(2000, 1, 1) + dt.timedelta(days=n * 13 % 7001) for n in range(ROWS)]),
    "m": pa.array([Decimal(n * 17 % 9973) / 100 for n in range(ROWS)], pa.decimal128(10, 2)),
})  # fmt: skip
COUNTED = {"i": col("i"), "s": col("s"), "f": col("f"), "d": col("d"), "m": col("m"), "sum": col("i") + col("m")}


def asked(source: PCollection[Any], *keys: str) -> PCollection[Any]:
    grouped = source.group_by(*keys) if keys else source.group_by()
    return grouped.agg(
        **{f"n_{name}": expr.approx_n_unique() for name, expr in COUNTED.items()},
        **{f"q_{name}": expr.approx_quantile(0.3) for name, expr in COUNTED.items()},
        low=col("i").approx_quantile(0), high=col("i").approx_quantile(1),
        few=col("s").approx_n_unique().filter(col("i") < 50), half=col("i").approx_quantile(0.5).filter(col("i") < 50),
        ratio=col("i").approx_n_unique() / col("i").count(), total=col("i").sum(), mean=col("f").mean(),
    )  # fmt: skip


def source(kind: str, tmp_path: Any) -> Callable[[], PCollection[Any]]:
    if kind == "arrow":
        return lambda: Pipeline().from_arrow(TABLE)
    for at in range(0, ROWS, 4000):
        pyarrow.parquet.write_table(TABLE.slice(at, 4000), tmp_path / f"{at}.parquet")
    return lambda: Pipeline().read_parquet(str(tmp_path))


def by_key(records: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {record.get("k"): record for record in records}


@cache
def judged(keys: tuple[str, ...]) -> dict[Any, dict[str, Any]]:
    return by_key(asked(Pipeline().from_arrow(TABLE), *keys).collect(runner="reference"))


@pytest.mark.parametrize(("kind", "keys"), [("arrow", ()), ("arrow", ("k",)), ("parquet", ("k",))])
def test_every_runner_is_within_the_documented_error(kind: str, keys: tuple[str, ...], tmp_path: Any) -> None:
    make = source(kind, tmp_path)
    options: dict[str, Any] = {"progress": False, "mode": "in_process"}
    whole = by_key(asked(make(), *keys).collect(**options, placement="whole"))
    pieces = by_key(asked(make(), *keys).collect(**options, placement="partitioned", memory="64MiB"))
    again = by_key(asked(make(), *keys).collect(**options, placement="partitioned", memory="64MiB"))
    workers = by_key(asked(make(), *keys).collect(progress=False, mode="processes", workers=2, placement="partitioned", memory="512MiB"))
    assert judged(keys).keys() == whole.keys() == pieces.keys() == workers.keys()
    data = TABLE.to_pylist()
    assert any(pieces[key]["n_s"] != right["n_s"] for key, right in judged(keys).items()), "sketches were used"
    for key, right in judged(keys).items():
        mine = ordered([row for row in data if not keys or row["k"] == key])
        for name, value in right.items():
            if name in ("total", "k"):
                assert whole[key][name] == pieces[key][name] == workers[key][name] == value
            elif name == "mean":
                assert pieces[key][name] == pytest.approx(value, nan_ok=True)
            else:
                assert order(whole[key][name]) == order(value), name
                assert order(pieces[key][name]) == order(again[key][name]), name
                for found in (pieces[key][name], workers[key][name]):
                    near(name, found, value, mine)


def ordered(data: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The known values of every column, as they compare."""
    columns = {name: [row.get(name) for row in data] for name in ("i", "f", "s", "d", "m")}
    columns["sum"] = [row["i"] + row["m"] if row["i"] is not None else None for row in data]
    return {name: [order(value) for value in values if value is not None] for name, values in columns.items()}


def near(name: str, found: Any, right: Any, data: dict[str, list[Any]]) -> None:
    if name == "ratio" or name.startswith("n_"):
        assert found == pytest.approx(right, rel=ERROR), name
    elif name in ("few", "half"):  # of few values a sketch holds all
        assert found == right, name
    else:
        column, q = ("i", {"low": 0, "high": 1}[name]) if name in ("low", "high") else (name[2:], 0.3)
        known = data[column]
        assert rank_error(known, order(found), q) <= len(known) / sketches.RUNS, name


@pytest.mark.parametrize("placement", ["whole", "partitioned"])
def test_sql_spells_them_as_duckdb_does(placement: str) -> None:
    import duckdb

    text = """
        select k, approx_count_distinct(i) filter (where i < 900) as n, approx_quantile(d, 0.5) as q,
               approx_percentile(f, 0.9) filter (where i > 7) as p, approx_count_distinct(s) as few
        from data where k is not null group by k order by k
    """
    pipeline = Pipeline()
    found = pipeline.sql(text, data=pipeline.from_arrow(TABLE)).collect(progress=False, placement=placement, memory="64MiB")
    exact = text.replace("approx_count_distinct(", "count(distinct ").replace("approx_quantile", "quantile_disc")
    exact = exact.replace("approx_percentile", "quantile_disc")
    data = TABLE  # noqa: F841  # DuckDB reads the variable
    right = duckdb.sql(exact).fetchall()
    assert [row["k"] for row in found] == [row[0] for row in right]
    rows = TABLE.to_pylist()
    for row, (key, n, _, _, few) in zip(found, right, strict=True):
        assert row["n"] == n
        assert row["few"] == pytest.approx(few, rel=ERROR)
        for name, column, q in (("q", "d", 0.5), ("p", "f", 0.9)):
            mine = sorted(order(one[column]) for one in rows if one["k"] == key and (name == "q" or (one["i"] or 0) > 7))
            assert rank_error(mine, order(row[name]), q) <= len(mine) / sketches.RUNS


def rank_error(ordered: list[Any], found: Any, q: float) -> float:
    """How many places the value is away from where a share ``q`` of the values ends."""
    below, upto = sum(value < found for value in ordered), sum(value <= found for value in ordered)
    return max(below - q * len(ordered), q * len(ordered) - upto, 0.0)


def test_what_has_no_order_has_no_quantile_and_a_share_is_between_0_and_1() -> None:
    from dataflow import DataflowError

    rows = Pipeline().from_arrow(pa.table({"x": [[1]], "y": [1]}))
    for expr in (col("x").approx_quantile(0.5), col("y").approx_quantile(1.5)):
        with pytest.raises(DataflowError):
            rows.group_by().agg(q=expr)


def test_over_a_window_they_are_exact() -> None:
    rows = Pipeline().from_arrow(pa.table({"k": [1, 1, 2], "x": [5, 6, 7]}))
    windowed = rows.select("x", n=col("x").approx_n_unique().over("k"), q=col("x").approx_quantile(0.5).over("k")).sort("x")
    assert windowed.collect() == [{"x": 5, "n": 2, "q": 5}, {"x": 6, "n": 2, "q": 5}, {"x": 7, "n": 1, "q": 7}]


def test_a_column_of_nulls_has_none() -> None:
    rows = Pipeline().from_arrow(pa.table({"x": pa.nulls(3)})).group_by().agg(n=col("x").approx_n_unique(), q=col("x").approx_quantile(0.5))
    for placement in ("whole", "partitioned"):
        assert rows.collect(placement=placement) == [{"n": 0, "q": None}]
    assert DType("null") == type_of(Aggregate("approx_quantile", (Literal(None),), options=(("q", 0.5),)), {})
