"""Values that are easily taken for others: dictionaries beside texts, offsets of time, exponents, what is cut out of a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import PCollection, Pipeline, col, len_, lit
from dataflow.errors import PlanError, SchemaError, StepError

PIECES: dict[str, Any] = {"placement": "partitioned", "memory": "4MiB", "mode": "in_process", "progress": False}
WAYS = pytest.mark.parametrize("options", [{"progress": False}, PIECES], ids=["whole", "in pieces"])
CODED = pa.table({"d": pa.array(["p", "q"]).dictionary_encode(), "s": ["p", "z"], "x": [1, 2]})
ABROAD = dt.timezone(dt.timedelta(hours=5, minutes=30))


def of(table: pa.Table) -> PCollection[dict[str, Any]]:
    return Pipeline().from_arrow(table)


# -- dictionaries


@WAYS
def test_a_dictionary_stands_beside_the_texts_it_is_made_of(options: dict[str, Any]) -> None:
    p = Pipeline()
    t = p.from_arrow(CODED)
    sums = p.sql("select d, sum(x) s, grouping(d) g from t group by rollup(d)", t=t).to_arrow(**options).to_pylist()
    assert sorted((row["d"] or "", row["s"], row["g"]) for row in sums) == [("", 3, 1), ("p", 1, 0), ("q", 2, 0)]
    both = p.sql("select d from t union select s from t", t=t).to_arrow(**options)
    assert sorted(both.column("d").to_pylist()) == ["p", "q", "z"]
    assert sorted(t.select("d").concat(t.select(d="s")).to_arrow(**options).column("d").to_pylist()) == ["p", "p", "q", "z"]


def test_dictionaries_that_grow_are_written_to_ipc(tmp_path: Path) -> None:
    parts = [pa.table({"d": pa.array(values).dictionary_encode()}) for values in (["a", None, "b"], ["c", "a"], ["b", "b"])]
    p = Pipeline()
    p.from_arrow(pa.concat_tables(parts)).write_ipc(tmp_path / "as given", files=1)
    p.from_arrow(CODED).filter(col("x") >= 0).write_ipc(tmp_path / "behind a query")
    p.run(progress=False)
    found = Pipeline().read_ipc(tmp_path / "as given").to_arrow(progress=False)
    assert found.column("d").to_pylist() == ["a", None, "b", "c", "a", "b", "b"]
    assert pa.types.is_dictionary(found.schema.field("d").type)
    assert Pipeline().read_ipc(tmp_path / "behind a query").collect(progress=False) == CODED.to_pylist()


def test_dictionaries_within_structs_are_read_from_many_row_groups(tmp_path: Path) -> None:
    inner = pa.StructArray.from_arrays([pa.array(["abc"[i % 3] for i in range(30)]).dictionary_encode()], ["p"])
    pq.write_table(pa.table({"id": range(30), "s": inner}), tmp_path / "a.parquet", row_group_size=10)
    assert Pipeline().read_parquet(tmp_path).to_arrow(progress=False).column("s").to_pylist() == inner.to_pylist()


# -- times at an offset


@WAYS
def test_times_at_an_offset_are_moments(options: dict[str, Any]) -> None:
    moments = [dt.datetime(2026, 1, 1, hour, tzinfo=ABROAD) for hour in (3, 1, 2)]
    table = of(pa.table({"t": pa.array(moments, pa.timestamp("us", "+05:30"))}))
    assert table.sort("t").to_arrow(**options).column("t").to_pylist() == sorted(moments)
    assert str(table.sort("t").to_arrow(**options).schema.field("t").type) == "timestamp[us, tz=+05:30]"
    assert {row["t"]: row["n"] for row in table.group_by("t").agg(n=len_()).collect(**options)} == dict.fromkeys(moments, 1)
    assert table.filter(col("t") > moments[2]).collect(**options) == [{"t": moments[0]}]
    hours = table.select(utc=col("t").dt.convert_time_zone("UTC").dt.hour(), there=col("t").dt.convert_time_zone("Asia/Kolkata").dt.hour())
    assert sorted(row["there"] for row in hours.collect(**options)) == [1, 2, 3]
    assert sorted(row["utc"] for row in hours.collect(**options)) == [19, 20, 21]


def test_the_clock_of_an_offset_and_zones_that_are_none_are_refused() -> None:
    table = of(pa.table({"t": pa.array([0], pa.timestamp("us", "+05:30"))}))
    with pytest.raises(PlanError, match="no clock is known"):
        table.select(h=col("t").dt.hour())
    with pytest.raises(PlanError, match="did you mean 'Europe/Berlin'"):
        table.select(z=col("t").dt.convert_time_zone("Europe/Berln"))


# -- numbers


@WAYS
@pytest.mark.parametrize(
    ("condition", "found"),
    [(col("m") > 1e3, [2]), (col("m") >= 2000.5, [2]), (col("m") < 1e1, [1]), (col("m") > Decimal("1E+1"), [2])],
)
def test_a_float_with_zeros_beside_decimals(condition: Any, found: list[int], options: dict[str, Any]) -> None:
    table = of(pa.table({"n": [1, 2], "m": pa.array([Decimal("1.00"), Decimal("2000.50")], pa.decimal128(12, 2))}))
    assert [row["n"] for row in table.filter(condition).collect(**options)] == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("values (1e3), (1.5)", [1000.0, 1.5]),
        ("values (9223372036854775808), (1)", [Decimal(2**63), Decimal(1)]),
        ("values (timestamp '2020-01-01 00:00:00'), (date '2020-01-02')", [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2)]),
        ("select try_cast('2024-1-x' as date)", [None]),
        ("select 1 /* a comment */", [1]),
        ("select 'a\0b'", ["a\0b"]),
    ],
)
def test_constants_of_sql(text: str, expected: list[Any]) -> None:
    found = Pipeline().sql(text).collect(progress=False)
    assert [value for row in found for value in row.values()] == expected
    assert all(name.isprintable() and "comment" not in name for row in found for name in row)


def test_a_table_around_goes_before_a_column_that_would_have_to_be_a_struct() -> None:
    p = Pipeline()
    inner, outer = p.create([{"k": 1, "w": 1}]), p.create([{"x": 1}, {"x": 2}])
    text = "select k.x from v k where exists (select 1 from u where u.w = k.x)"
    assert p.sql(text, v=outer, u=inner).collect(progress=False) == [{"x": 1}]


# -- nested


@WAYS
def test_lists_of_one_length_cut_out_of_a_table(options: dict[str, Any]) -> None:
    table = pa.table({"id": [1, 2, 3, 4], "x": pa.array([[1, 2], None, [3, 4], None], pa.list_(pa.int32(), 2))})
    assert of(table.slice(1, 2)).filter(col("x").is_null()).collect(**options) == [{"id": 2, "x": None}]


@WAYS
def test_maps_are_keys_of_grouping_sets(options: dict[str, Any]) -> None:
    table = pa.table({"x": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), "k": [1, 2]})
    found = of(table).group_by("x", "k").rollup().agg(n=len_()).to_arrow(**options)
    assert found.num_rows == 5 and found.schema.field("x").type == table.schema.field("x").type


# -- what is refused


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda t: t.filter(col("x") > Decimal("NaN")), "NaN is no decimal"),
        (lambda t: t.select(z=col("s").str.pad_start(10**13)), "at most 1,048,576"),
        (lambda t: t.select(z=col("s").str.pad_end(-1)), "not negative"),
        (lambda t: t.select(z=col("s").str.slice(0, -1)), "not negative"),
    ],
)
def test_what_no_column_holds(wrong: Callable[[PCollection[Any]], Any], sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        wrong(of(CODED))


def test_an_expression_is_no_option() -> None:
    with pytest.raises(TypeError, match="by is a constant"):
        col("s").str.split(col("s"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([1, "x"], "column 'a' has no one type: it holds int, str"), ([1, 2**64], "column 'a' holds an integer beyond 64 bits")],
)
def test_why_the_columns_of_records_are_not_known(values: list[Any], sentence: str) -> None:
    with pytest.raises(SchemaError, match=sentence):
        Pipeline().create([{"a": value} for value in values]).filter(col("a") == 1).collect(progress=False)


def test_the_words_of_the_kernel_without_its_plan() -> None:
    for text, sentence in (("select 'abc'::int", '"abc"'), ("select cast('yes' as bool)", "none of those that are known")):
        with pytest.raises(StepError) as caught:
            Pipeline().sql(text).collect(progress=False)
        assert sentence in str(caught.value) and "FAILED HERE" not in str(caught.value)


@WAYS
def test_bytes_of_one_length_are_bytes(options: dict[str, Any], tmp_path: Path) -> None:
    table = pa.table({"b": pa.array([b"ab", b"cd", None], pa.binary(2)), "x": [1, 2, 3]})
    longer = pa.table({"b": pa.array([b"abc"], pa.binary(3)), "x": [4]})
    pq.write_table(table, tmp_path / "t.parquet")
    for source in (of(table), Pipeline().read_parquet(tmp_path / "t.parquet")):
        found = source.filter(col("b") == b"ab").to_arrow(**options)
        assert found.to_pylist() == [{"b": b"ab", "x": 1}] and str(found.schema.field("b").type) == "fixed_size_binary[2]"
        assert source.group_by().agg(n=col("b").n_unique(), m=col("b").max()).collect(**options) == [{"n": 2, "m": b"cd"}]
        assert source.select(b=col("b").cast("binary")).sort("b", nulls_last=True).head(1, **options) == [{"b": b"ab"}]
    both = of(table)
    assert sorted(row["x"] for row in both.concat(both.pipeline.from_arrow(longer)).collect(**options)) == [1, 2, 3, 4]


# -- what Polars does not do alike everywhere


@WAYS
@pytest.mark.parametrize("function", ["first", "last"])
def test_the_first_of_constants_and_by_constants(function: str, options: dict[str, Any]) -> None:
    rows = Pipeline().create([{"k": i % 3, "x": i} for i in range(20)])
    ends = {k: (k if function == "first" else max(range(k, 20, 3))) for k in range(3)}
    seven = rows.group_by("k").agg(r=getattr(lit(7), function)(order_by="x")).collect(**options)
    assert [row["r"] for row in seven] == [7, 7, 7]
    found = rows.group_by("k").agg(r=getattr(col("x"), function)(order_by=[col("x").is_in([-1]), "x"])).collect(**options)
    assert {row["k"]: row["r"] for row in found} == ends
    beside = rows.select(r=getattr(lit(7), function)(order_by="x").over("k")).collect(**options)
    assert {row["r"] for row in beside} == {7}


@WAYS
def test_two_queries_over_one_file(options: dict[str, Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"k": [1, 2, 1], "x": [60, 70, 80]}), tmp_path / "t.parquet")
    p = Pipeline()
    read = p.read_parquet(tmp_path / "t.parquet").filter(col("x") > 50)
    read.group_by("k").agg(s=col("x").sum()).write_parquet(tmp_path / "by k")
    read.group_by("x").agg(n=col("k").count()).write_parquet(tmp_path / "by x")
    p.run(**options)
    assert sorted(row["s"] for row in Pipeline().read_parquet(tmp_path / "by k").collect(progress=False)) == [70, 140]


@WAYS
@pytest.mark.parametrize("cut", [slice(0, 3), slice(1, 4), slice(0, 4)])
@pytest.mark.parametrize("deep", [False, True])
def test_every_cut_of_lists_of_one_length(cut: slice, deep: bool, options: dict[str, Any]) -> None:
    lists = [[1, 2], None, [3, 4], [5, 6]]
    kind = pa.list_(pa.int64(), 2)
    column = pa.array([[one, None] if one else None for one in lists], pa.list_(kind, 2)) if deep else pa.array(lists, kind)
    table = pa.table({"k": range(4), "c": column})
    part = table.slice(cut.start, cut.stop - cut.start)
    assert of(part).filter(col("k") >= 0).collect(**options) == part.to_pylist()


@WAYS
def test_keys_of_grouping_sets_that_travel_in_another_type(options: dict[str, Any]) -> None:
    columns = {
        "lists": pa.array([["a"], ["b"], None] * 2, pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        "moments": pa.array([0, 1, None] * 2, pa.timestamp("us", "+05:30")),
    }
    for column in columns.values():
        table = pa.table({"c": column, "k": [0, 1] * 3, "x": range(6)})
        found = of(table).group_by("c", "k").rollup().agg(r=col("x").sum()).to_arrow(**options)
        assert found.num_rows == 6 + 3 + 1 and sum(found.column("r").to_pylist()) == 3 * 15


def test_dictionaries_of_lists_and_the_same_one_again_are_written_to_ipc(tmp_path: Path) -> None:
    nested = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array([[1], [2, 3]]))
    same = pa.array(["a", "b"]).dictionary_encode()
    p = Pipeline()
    p.from_arrow(pa.table({"d": nested})).write_ipc(tmp_path / "nested")
    p.from_arrow(pa.concat_tables([pa.table({"d": same})] * 3)).write_ipc(tmp_path / "same")
    p.run(progress=False)
    assert Pipeline().read_ipc(tmp_path / "nested").to_arrow(progress=False).column("d").to_pylist() == [[1], [2, 3], [1]]
    assert Pipeline().read_ipc(tmp_path / "same").to_arrow(progress=False).column("d").to_pylist() == ["a", "b"] * 3
