"""Columns of every Arrow type read, carried through queries, whole and partitioned, and written: nothing lost, nothing changed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dataflow import DataflowError, Pipeline, col

WHOLE = {"mode": "in_process", "progress": False, "placement": "whole"}
CUT = {"mode": "in_process", "progress": False, "placement": "partitioned", "memory": "4MiB"}
PLACED = pytest.mark.parametrize("options", [WHOLE, CUT], ids=["whole", "partitioned"])


class Celsius(pa.ExtensionType):
    """A type of someone's own, which has no hash."""

    def __init__(self):
        super().__init__(pa.float64(), "test.celsius")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


@pytest.fixture(autouse=True, scope="module")
def registered():
    pa.register_extension_type(Celsius())
    yield
    pa.unregister_extension_type("test.celsius")


TEXT = pa.array(["a", None, "a"])
CASES = {
    "null": pa.nulls(3),
    "bool": pa.array([True, None, False]),
    "int8": pa.array([-128, None, 127], pa.int8()),
    "uint64": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "float16": pa.array([1.5, None, -0.0], pa.float16()),
    "float32": pa.array([1.5, None, float("inf")], pa.float32()),
    "string": pa.array(["a\0b", None, ""]),
    "large_string": pa.array(["ü", None, ""], pa.large_string()),
    "binary": pa.array([b"\xff\0", None, b""]),
    "fixed_size_binary": pa.array([b"ab", None, b"\0\0"], pa.binary(2)),
    "dictionary": TEXT.dictionary_encode(),
    "dictionary of large strings": TEXT.cast(pa.large_string()).dictionary_encode(),
    "dictionary of integers": pa.array([5, None, 5]).dictionary_encode(),
    "decimal32": pa.array([Decimal("1.5"), None, Decimal("-2")], pa.decimal32(7, 2)),
    "decimal64": pa.array([Decimal("1.5"), None, Decimal("-2")], pa.decimal64(17, 2)),
    "decimal128": pa.array([Decimal("1.5"), None, Decimal(10) ** 35], pa.decimal128(38, 2)),
    "decimal256": pa.array([Decimal("1.5"), None, Decimal(10) ** 40], pa.decimal256(50, 2)),
    "short decimal256": pa.array([Decimal("1.5"), None, Decimal("-2")], pa.decimal256(20, 2)),
    "negative scale": pa.array([Decimal("1200"), None, Decimal("-300")], pa.decimal128(5, -2)),
    "list": pa.array([["a"], None, []]),
    "large_list": pa.array([[1], None, []], pa.large_list(pa.int64())),
    "list_view": pa.array([[1], None, []], pa.list_view(pa.int64())),
    "large_list_view": pa.array([["x"], None, []], pa.large_list_view(pa.string())),
    "fixed_size_list": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2)),
    "map with a key twice": pa.array([[("a", 1), ("a", 2)], None, []], pa.map_(pa.string(), pa.int64())),
    "struct": pa.array([{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}]),
    "struct of a dictionary": pa.StructArray.from_arrays([TEXT.dictionary_encode(), pa.array([1, 2, 3])], ["d", "n"]),
    "list of a dictionary": pa.ListArray.from_arrays([0, 1, 3, 3], TEXT.dictionary_encode()),
    "struct of what is carried": pa.array(
        [{"b": b"ab", "m": [("k", 1)]}, None, {"b": None, "m": None}],
        pa.struct([("b", pa.binary(2)), ("m", pa.map_(pa.string(), pa.int64()))]),
    ),
    "empty struct": pa.array([{}, None, {}], pa.struct([])),
    "date32": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
    "date64": pa.array([dt.date(1901, 1, 1), None, dt.date(9999, 12, 31)], pa.date64()),
    "timestamp[s]": pa.array([-(10**10), None, 10**10], pa.timestamp("s")),
    "timestamp[ms]": pa.array([1, None, -2], pa.timestamp("ms")),
    "timestamp[ns, zone]": pa.array([1000, None, -2000], pa.timestamp("ns", "Europe/Berlin")),
    "timestamp[us, offset]": pa.array([1, None, -2], pa.timestamp("us", "+02:00")),
    "duration[s]": pa.array([1, None, -2], pa.duration("s")),
    "duration[ns]": pa.array([1000, None, -2000], pa.duration("ns")),
    "time32[s]": pa.array([1, None, 86399], pa.time32("s")),
    "time32[ms]": pa.array([1, None, 2], pa.time32("ms")),
    "time64[us]": pa.array([1, None, 2], pa.time64("us")),
    "time64[ns]": pa.array([1000, None, 2000], pa.time64("ns")),
    "interval": pa.array([(1, 2, 3), None, (0, 0, -1)], pa.month_day_nano_interval()),
    "uuid": pa.array([b"a" * 16, None, b"b" * 16], pa.uuid()),
    "json": pa.array(["{}", None, "1"], pa.json_()),
    "bool8": pa.array([1, None, 0], pa.bool8()),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2))
    ),
    "own extension": pa.ExtensionArray.from_storage(Celsius(), pa.array([1.5, None, -3.0])),
}
VIEWS = {
    "string_view": (pa.array(["a", None, "x" * 20], pa.string_view()), pa.large_string()),
    "binary_view": (pa.array([b"a", None, b"x" * 20], pa.binary_view()), pa.large_binary()),
    "int8 dictionary": (TEXT.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())), pa.dictionary(pa.int32(), pa.string())),
    "ordered dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([1, None, 1], pa.int32()), ["b", "a"], ordered=True),
        pa.dictionary(pa.int32(), pa.string()),
    ),
}
NOT_IN_PARQUET = ("negative scale", "empty struct", "interval")


def table_with(array):
    return pa.table({"i": [1, 2, 3], "k": ["x", "y", "x"], "c": array})


def queries(p, source):
    weights = p.create([{"k": "x", "w": 1}, {"k": "y", "w": 2}])
    yield "filter", source.filter(col("i") > 0)
    yield "join", source.join(weights, "k")
    yield "right join", weights.join(source, "k", how="right")
    yield "distinct", source.distinct(["i", "k", "c"])
    yield "group", source.group_by("i", "c").agg(n=col("k").len())
    yield "sort", source.sort("i", descending=True)
    yield "concat", source.filter(col("i") > 1).concat(source.filter(col("i") < 2))
    yield "rename", source.select("i", x=col("i") + 1, d=col("c")).rename({"d": "c"})


def by_number(table):
    pairs = sorted(zip(table["i"].to_pylist(), table["c"].to_pylist(), strict=True), key=lambda pair: pair[0])
    return [value for _, value in pairs]


@PLACED
@pytest.mark.parametrize("case", CASES)
def test_a_query_that_only_carries_a_column_keeps_its_type(case, options):
    p = Pipeline()
    for name, query in queries(p, p.from_arrow(table_with(CASES[case]))):
        found = query.to_arrow(**options)
        assert found.schema.field("c").type == CASES[case].type, name
        assert by_number(found) == CASES[case].to_pylist(), name


@PLACED
@pytest.mark.parametrize("case", VIEWS)
def test_views_and_small_or_ordered_dictionaries_come_back_in_a_type_that_holds_more(case, options):
    array, kind = VIEWS[case]
    p = Pipeline()
    for name, query in queries(p, p.from_arrow(table_with(array))):
        found = query.to_arrow(**options)
        assert found.schema.field("c").type == kind, name
        assert by_number(found) == array.to_pylist(), name


@PLACED
@pytest.mark.parametrize("case", [name for name in CASES if name not in NOT_IN_PARQUET])
def test_what_was_read_from_parquet_is_written_to_parquet_in_its_type(tmp_path, case, options):
    pq.write_table(table_with(CASES[case]), tmp_path / "in.parquet")
    expected = pq.read_table(tmp_path / "in.parquet")["c"]
    p = Pipeline()
    p.read_parquet(str(tmp_path / "in.parquet")).filter(col("i") > 0).write_parquet(str(tmp_path / "out"))
    p.run(**options)
    found = pa.concat_tables([pq.read_table(path) for path in (tmp_path / "out").glob("*.parquet")])
    assert found["c"].type == expected.type
    assert by_number(found) == expected.to_pylist()


@pytest.mark.parametrize("case", [*CASES, *VIEWS])
def test_every_type_goes_through_without_a_query_too(tmp_path, case):
    array = CASES[case] if case in CASES else VIEWS[case][0]
    table = table_with(array)
    with pa.ipc.new_file(str(tmp_path / "in.arrow"), table.schema) as out:
        out.write_table(table)
    p = Pipeline()
    p.read_ipc(str(tmp_path / "in.arrow")).write_ipc(str(tmp_path / "out"))
    p.run(mode="in_process", progress=False)
    (path,) = (tmp_path / "out").glob("*.arrow")
    with pa.ipc.open_file(str(path)) as file:
        found = file.read_all()
    assert by_number(found) == array.to_pylist()


@PLACED
def test_run_ends_come_back_as_run_ends(options):
    array = pc.run_end_encode(pa.array([7, 7, None]))
    found = Pipeline().from_arrow(table_with(array)).filter(col("c") == 7).to_arrow(**options)
    assert found["c"].type == array.type
    assert found["c"].to_pylist() == [7, 7]


@PLACED
@pytest.mark.parametrize(
    "array",
    [
        pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]),
        pa.array([[], None, []], pa.list_(pa.int64(), 0)),
        pa.array([{"u": []}] * 3, pa.struct([("u", pa.list_(pa.int64(), 0))])),
    ],
    ids=["union", "lists of nothing", "nested"],
)
def test_a_column_that_no_query_can_carry_is_an_error_that_names_it_and_its_type(array, options):
    with pytest.raises(DataflowError) as caught:
        Pipeline().from_arrow(table_with(array)).filter(col("i") > 0).collect(**options)
    assert "'c'" in str(caught.value) and str(array.type) in str(caught.value)
    assert "test_table_types.py" in str(caught.value)


def test_run_ends_are_sorted_and_joined_in_pieces_and_written_as_their_values(tmp_path):
    runs = pa.table({"r": pc.run_end_encode(pa.array(["b", "b", "a", None])), "x": [3, 1, 2, 0]})
    p = Pipeline()
    options = {"placement": "partitioned", "memory": "64MiB", "mode": "in_process", "progress": False}
    rows = p.from_arrow(runs)
    ordered = rows.sort("x").to_arrow(**options)
    assert ordered.schema.field("r").type == runs.schema.field("r").type and ordered.column("x").to_pylist() == [0, 1, 2, 3]
    assert pc.run_end_decode(ordered.column("r")).to_pylist() == [None, "b", "a", "b"]
    met = rows.join(p.from_arrow(pa.table({"x": [1, 3]})), "x").sort("x").collect(**options)
    assert met == [{"r": "b", "x": 1}, {"r": "b", "x": 3}]
    rows.sort("x").write_parquet(str(tmp_path / "out"))
    p.run(progress=False)
    assert p.read_parquet(str(tmp_path / "out")).collect() == rows.sort("x").collect(runner="reference")


@PLACED
def test_expressions_compute_on_dictionaries_views_and_run_ends(options):
    table = pa.table({
        "d": pa.array(["a", "b", None]).dictionary_encode(), "v": pa.array(["a", "b", None], pa.string_view()),
        "r": pc.run_end_encode(pa.array([1, 1, 2])), "l": pa.array([[1], [2, 3], None], pa.list_view(pa.int64())),
    })  # fmt: skip
    found = Pipeline().from_arrow(table).select(
        d=col("d").str.to_uppercase(), same=col("d") == col("v"), r=col("r") + 1, n=col("l").list.len()
    ).to_arrow(**options).to_pylist()  # fmt: skip
    expected = [
        {"d": "A", "same": True, "r": 2, "n": 1}, {"d": "B", "same": True, "r": 2, "n": 2}, {"d": None, "same": None, "r": 3, "n": None},
    ]  # fmt: skip
    assert sorted(found, key=str) == sorted(expected, key=str)


@PLACED
def test_a_dictionary_joins_with_plain_text(options):
    p = Pipeline()
    coded = p.from_arrow(pa.table({"k": pa.array(["a", "b", "a"]).dictionary_encode(), "n": [1, 2, 3]}))
    plain = p.from_arrow(pa.table({"k": ["a"], "w": [9]}))
    assert sorted(r["n"] for r in coded.join(plain, "k").collect(**options)) == [1, 3]
    assert sorted(r["n"] for r in plain.join(coded, "k").collect(**options)) == [1, 3]


@PLACED
def test_a_dictionary_of_more_values_than_its_numbers_had_is_no_overflow(options):
    small = pa.dictionary(pa.int8(), pa.string())
    parts = [pa.array([f"{part}-{i}" for i in range(100)]).cast(small) for part in range(5)]
    table = pa.table({"c": pa.chunked_array(parts), "i": range(500)})
    found = Pipeline().from_arrow(table).sort("i").to_arrow(**options)
    assert found["c"].to_pylist() == table["c"].to_pylist()


@PLACED
def test_slices_of_nested_columns_keep_their_values(options):
    kind = pa.struct([("l", pa.list_(pa.binary(2))), ("f", pa.list_(pa.binary(2), 2)), ("m", pa.map_(pa.string(), pa.binary(2)))])
    rows = [
        None if i % 7 == 0 else {"l": None if i % 5 == 0 else [b"%02d" % (i % 100)] * (i % 4), "f": [b"aa", None], "m": [(str(i), b"zz")]}
        for i in range(400)
    ]
    whole = pa.array(rows, kind)
    table = pa.table({"i": range(200), "c": pa.chunked_array([whole.slice(100, 50), whole.slice(13, 150)])})
    found = Pipeline().from_arrow(table).filter(col("i") >= 3).to_arrow(**options)
    assert by_number(found) == table["c"].to_pylist()[3:]


@PLACED
def test_what_is_only_carried_cannot_be_sorted_by_or_computed_with(options):
    table = table_with(CASES["decimal256"])
    for make in (lambda c: c.sort("c"), lambda c: c.filter(col("c") > 1), lambda c: c.group_by("k").agg(col("c").max())):
        with pytest.raises(DataflowError) as caught:
            make(Pipeline().from_arrow(table)).collect(**options)
        assert "decimal256(50, 2)" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["decimal256", "uuid", "dictionary", "map with a key twice", "interval", "own extension"])
def test_types_survive_other_processes(case):
    options = {"mode": "processes", "workers": 2, "placement": "partitioned", "memory": "32MiB", "progress": False}
    p = Pipeline()
    for name, query in queries(p, p.from_arrow(table_with(CASES[case]))):
        if name in ("join", "distinct"):
            found = query.to_arrow(**options)
            assert found.schema.field("c").type == CASES[case].type, name
            assert by_number(found) == CASES[case].to_pylist(), name
