"""Generated columns: values of every type, and expressions over them that have a type."""

from __future__ import annotations

import datetime as dt
import math
import struct
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from dataflow.expr.nodes import Aggregate, Call, Case, Cast, Column, ExprNode, Frame, Literal, Ranking, SortKey, Window
from dataflow.expr.operations import AGGREGATES, OPERATIONS
from dataflow.expr.types import DType, Schema, parse_type, struct_of
from dataflow.expr.typing import ExprError, type_of

BERLIN = ZoneInfo("Europe/Berlin")
CALENDAR = (dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1))

SCHEMA: Schema = {
    **{
        name: parse_type(kind)
        for name, kind in {
            "flag": "bool", "i8": "int8", "u8": "uint8", "i32": "int32", "i": "int64", "u": "uint64", "f32": "float32", "f": "float64",
            "d": "decimal(10, 2)", "e": "decimal(6, 4)", "s": "string", "t": "string", "b": "binary", "day": "date", "ts": "datetime[us]",
            "ms": "datetime[ms]", "z": "datetime[us, Europe/Berlin]", "time": "time", "span": "duration[us]", "li": "list[int64]",
            "lf": "list[float64]", "ls": "list[string]", "lb": "list[bool]",
        }.items()
    },
    "st": struct_of({"x": parse_type("int64"), "y": parse_type("string")}),
}  # fmt: skip


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


_texts = st.one_of(
    st.sampled_from(["", "a", "B", "1", "-7", "true", "2024-01-31", "é", "ab"]),
    st.text(st.sampled_from("abAB1 é日%_.\U00010000"), max_size=5),
)
_clocks = st.one_of(
    st.sampled_from([dt.datetime(1970, 1, 1), dt.datetime(2024, 2, 29, 23, 59, 59, 999999), dt.datetime(2024, 10, 27, 0, 30)]),
    st.datetimes(*CALENDAR),
)
_floats = st.one_of(st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1.5, -2.5, 1e16]), st.floats(-1e6, 1e6, width=32))


def values(kind: DType) -> st.SearchStrategy[Any]:
    """Values of a type: few, so that they meet; the ends of its range among them."""
    match kind.name:
        case "null" | "other":
            return st.none()
        case "bool":
            return st.booleans()
        case "float64":
            return _floats
        case "float32":
            return _floats.map(_float32)
        case "decimal":
            limit = 10 ** kind.args[0] - 1
            whole = st.one_of(st.integers(-300, 300), st.sampled_from([limit, -limit]), st.integers(-limit, limit))
            return whole.map(lambda n: Decimal(n).scaleb(-kind.args[1]))
        case "string":
            return _texts
        case "binary":
            return st.sampled_from([b"", b"a", b"\xff", b"\x00a", "é".encode()])
        case "date":
            return _clocks.map(dt.datetime.date)
        case "datetime":
            clock = _clocks.map(lambda c: c.replace(microsecond=c.microsecond // 1000 * 1000)) if kind.args[0] == "ms" else _clocks
            return clock if kind.args[1] is None else clock.map(lambda c: c.replace(tzinfo=dt.UTC).astimezone(BERLIN))
        case "time":
            return st.times()
        case "duration":
            return st.one_of(
                st.sampled_from([dt.timedelta(), dt.timedelta(days=-1), dt.timedelta(microseconds=-1)]),
                st.timedeltas(dt.timedelta(days=-900), dt.timedelta(days=900)),
            )
        case "list":
            return st.lists(st.none() | values(kind.args[0]), max_size=3)
        case "struct":
            return st.fixed_dictionaries({name: st.none() | values(inner) for name, inner in kind.args})
        case _:
            bits = int(kind.name.removeprefix("u").removeprefix("int"))
            low, high = (0, 2**bits - 1) if kind.name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            return st.one_of(st.integers(max(low, -3), 3), st.sampled_from([low, high]), st.integers(max(low, -1000), min(high, 1000)))


def rows(schema: Schema, most: int = 12) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Records of these columns: none, one, many with equal values and nulls."""
    row = st.fixed_dictionaries({name: st.one_of(st.none(), values(kind), values(kind)) for name, kind in schema.items()})
    return st.lists(row, max_size=most)


PATTERNS = ["a", "[a-z]+", "(a)(b)?", "^.", "b$", "", r"\d", "(?i)AB", "."]
SPANS = ["1d", "3d", "1w", "1mo", "1q", "1y", "3y", "2h", "45m", "15m", "10s", "7ms"]
OPTIONS: dict[str, dict[str, list[Any]]] = {
    "round": {"decimals": [0, 1, -1, -2]}, "truncate": {"decimals": [0, 1]}, "log": {"base": [None, 2, 10]},
    "floor_divide": {"toward_zero": [False, True]}, "modulo": {"toward_zero": [False, True]},
    "is_between": {"closed": ["both", "left", "right", "none"]},
    "str.contains": {"pattern": PATTERNS, "literal": [False, True]}, "str.count_matches": {"pattern": PATTERNS, "literal": [False]},
    "str.like": {"pattern": ["%", "a%", "%b", "%a%", "_", "a_%", "%a%b%", "ab"], "escape": [None]},
    "str.slice": {"offset": [0, 1, -2, -9], "length": [None, 0, 2]},
    "str.strip_chars": {"characters": [None, "ab"]}, "str.strip_chars_start": {"characters": [None, "a"]},
    "str.strip_chars_end": {"characters": [None, "b"]},
    "str.strip_prefix": {"prefix": ["a", ""]}, "str.strip_suffix": {"suffix": ["b"]}, "str.head": {"n": [0, 1, -1]},
    "str.tail": {"n": [0, 2, -1]},
    "str.pad_start": {"length": [3], "fill": ["0", "é"]}, "str.pad_end": {"length": [3], "fill": [" "]}, "str.zfill": {"length": [0, 4]},
    "str.replace": {"pattern": PATTERNS, "value": ["x", "$0$0", "<${1}>"], "literal": [False]},
    "str.replace_all": {"pattern": PATTERNS, "value": ["x", "$0$0"], "literal": [False]},
    "str.extract": {"pattern": PATTERNS, "group": [0, 1]}, "str.extract_all": {"pattern": PATTERNS}, "str.split": {"by": ["a", " ", ""]},
    "str.normalize": {"form": ["NFD", "NFKC"]}, "str.to_date": {"format": ["%Y-%m-%d"], "strict": [False]},
    "str.to_time": {"format": ["%H:%M"], "strict": [False]},
    "str.to_datetime": {"format": ["%Y-%m-%d"], "zone": [None], "unit": ["us"], "strict": [False]},
    "str.to_integer": {"base": [10, 16], "strict": [False]},
    "str.json_path_match": {"path": ["$.a"]}, "str.json_decode": {"to": []}, "str.decode": {"encoding": ["hex"], "strict": [False]},
    "str.digest": {"algorithm": ["md5", "blake2b"]}, "bin.digest": {"algorithm": ["sha256", "sha1"]},
    "bin.encode": {"encoding": ["hex", "base64"]}, "dt.offset_by": {"by": ["1d", "-1mo", "3h", "1y2d"]},
    "dt.truncate": {"every": SPANS}, "dt.round": {"every": SPANS}, "dt.strftime": {"format": ["%H:%M:%S", "%T%.f"]},
    "dt.epoch": {"unit": ["us", "ms", "s", "d"]}, "dt.replace_time_zone": {"zone": [None, "UTC", "Europe/Berlin"], "strict": [False]},
    "dt.convert_time_zone": {"zone": ["UTC", "America/New_York"]}, "duration": {"parts": [("days", "hours")]},
    "list.get": {"index": [0, -1, 5]}, "list.slice": {"offset": [0, -1], "length": [None, 1]},
    "list.sort": {"descending": [False, True], "nulls_last": [False, True]}, "list.join": {"separator": ["-"]},
    "struct.field": {"name": ["x", "y"]}, "struct.rename_fields": {"names": [("p", "q")]}, "struct": {"names": [("x", "y")]},
    "concat_str": {"separator": ["", "-"], "ignore_nulls": [False, True]}, "replace": {"n": [1], "strict": [False]},
}  # fmt: skip
TWO = {
    "add", "subtract", "multiply", "divide", "floor_divide", "modulo", "power", "equal", "not_equal", "less", "less_equal", "greater",
    "greater_equal", "equal_missing", "not_equal_missing", "xor", "null_if", "fill_nan", "str.starts_with", "str.ends_with", "str.find",
    "str.repeat", "bin.contains", "bin.starts_with", "bin.ends_with", "dt.combine", "list.contains", "duration", "struct",
}  # fmt: skip
THREE = {"is_between", "clip", "replace"}
MANY = {
    "and", "or", "coalesce", "is_in", "min_horizontal", "max_horizontal", "sum_horizontal", "concat_str", "str.concat", "list.concat",
    "concat_list",
}  # fmt: skip
# Elsewhere tested: what needs a text that is JSON, and numbers that Python's mathematics rounds otherwise
LEFT_OUT = {"str.json_decode", "str.reverse", "map.len", "map.keys", "map.values", "map.get", "map.contains_key"}
CASTS = [
    "int8",
    "int64",
    "uint64",
    "float64",
    "float32",
    "decimal(20, 3)",
    "string",
    "bool",
    "date",
    "datetime[ms]",
    "datetime[us, UTC]",
    "time",
    "binary",
]


@st.composite
def expressions(draw: st.DrawFn, schema: Schema, size: int = 4) -> ExprNode:
    """An expression of a few operations, each over columns, constants and those before it."""
    pool: list[ExprNode] = [Column(name) for name in draw(st.lists(st.sampled_from(list(schema)), min_size=1, max_size=4, unique=True))]
    names = sorted(set(OPERATIONS) - LEFT_OUT)
    for _ in range(draw(st.integers(1, size))):
        for _ in range(8):  # most operations do not take most types
            made = draw(operation(schema, pool, names))
            try:
                type_of(made, schema)
            except ExprError:
                continue
            pool.append(made)
            break
    return pool[-1]


@st.composite
def operation(draw: st.DrawFn, schema: Schema, pool: list[ExprNode], names: list[str]) -> ExprNode:
    kind = draw(st.integers(0, 9))
    first = draw(st.sampled_from(pool[-2:]))
    if kind == 0:
        to = parse_type(draw(st.sampled_from(CASTS)))
        if to.is_temporal and type_of(first, schema).is_integer:  # nanoseconds and years that Python does not have
            to = parse_type("float64")
        return Cast(first, to, strict=False)
    if kind == 1:
        condition = draw(st.sampled_from([Call("is_null", (first,)), Column("flag"), Call("equal", (first, first))]))
        return Case(((condition, first),), draw(operand(schema, pool, first)))
    name = draw(st.sampled_from(names))
    count = 2 if name in TWO else 3 if name in THREE else draw(st.integers(2, 4)) if name in MANY else 1
    args = (first, *(draw(operand(schema, pool, first)) for _ in range(count - 1)))
    options = tuple((key, draw(st.sampled_from(choices))) for key, choices in OPTIONS.get(name, {}).items())
    return Call(name, args, options)


@st.composite
def operand(draw: st.DrawFn, schema: Schema, pool: list[ExprNode], beside: ExprNode) -> ExprNode:
    """Something of a like type: another expression, a column of the type, a constant, null."""
    kind = type_of(beside, schema)
    choice = draw(st.integers(0, 5))
    if choice == 0:
        return draw(st.sampled_from(pool))
    if choice == 1:
        return Literal(None)
    if choice == 2 and kind.is_numeric:
        return Literal(draw(st.sampled_from([0, 1, -1, 2, 0.5, 300])))
    like = [name for name, other in schema.items() if other == kind]
    if choice == 3 and like:
        return Column(draw(st.sampled_from(like)))
    if choice == 4:
        return Column(draw(st.sampled_from(list(schema))))
    if kind.name in ("other", "null", "map", "array"):
        return Literal(None)
    return Literal(draw(values(kind)), kind)


def columns_or_constants(schema: Schema) -> st.SearchStrategy[ExprNode]:
    """A column, now and then a constant, of which there is one a row as well."""
    constants = st.sampled_from(
        [Literal(1), Literal(None), Literal("a"), Literal(True), Literal(1.5), Call("add", (Literal(1), Literal(2)))]
    )
    return st.integers(0, 5).flatmap(lambda n: constants if n == 0 else st.sampled_from(list(schema)).map(Column))


@st.composite
def aggregates(draw: st.DrawFn, schema: Schema, order: tuple[SortKey, ...], inside: bool = False) -> Aggregate:
    """An aggregate that takes the column it is given."""
    while True:
        function = draw(st.sampled_from(sorted(AGGREGATES)))
        options: tuple[tuple[str, Any], ...] = {
            "std": (("ddof", draw(st.integers(0, 1))),), "var": (("ddof", 1),), "nth": (("n", draw(st.integers(-2, 2))),),
            "quantile": (("q", draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))),
                         ("interpolation", draw(st.sampled_from(["linear", "lower", "nearest"])))),
            "join": (("separator", "-"),), "approx_quantile": (("q", draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))),),
        }.get(function, ())  # fmt: skip
        where = draw(st.sampled_from([None, None, Column("flag"), Call("greater", (Column("i"), Literal(0))), Literal(True)]))
        args = () if function == "len" else (draw(columns_or_constants(schema)),)
        ordered = order if function in ("first", "last", "nth", "collect", "join") and not inside else ()
        made = Aggregate(function, args, where, ordered, options, distinct=bool(args) and draw(st.integers(0, 3)) == 0)
        try:
            type_of(made, schema)
        except ExprError:
            continue
        return made


@st.composite
def windows(draw: st.DrawFn, schema: Schema, unique: SortKey) -> Window:
    """A window in an order without equals, which the last key makes."""
    by = [Column("flag"), Column("s"), Column("f"), Literal(1)]
    partition = tuple(draw(st.lists(st.sampled_from(by), max_size=1)))
    key = SortKey(Column(draw(st.sampled_from(["i8", "f", "s", "day", "d", "span", "ts"]))), draw(st.booleans()), draw(st.booleans()))
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(["row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead"]))
        args = (draw(columns_or_constants(schema)),) if name in ("lag", "lead") else ()
        options = {"ntile": (("n", 3),), "lag": (("n", draw(st.integers(0, 2))),), "lead": (("n", 1),)}.get(name, ())
        keys = (
            (SortKey(Literal(1)),) if name in ("rank", "dense_rank", "percent_rank", "cume_dist") and draw(st.booleans()) else (key, unique)
        )
        return Window(Ranking(name, args, options), partition, keys)
    end = st.one_of(st.none(), st.integers(-3, 3))
    shape = draw(st.integers(0, 4))
    if shape == 0:
        return Window(draw(aggregates(schema, (unique,))), partition)
    if shape == 1:  # peers: functions that do not ask for an order among them
        while (function := draw(aggregates(schema, (), inside=True))).function in ("first", "last", "nth", "collect", "join"):
            pass
        return Window(function, partition, (key,))
    if shape == 2:
        start, stop = draw(end), draw(end)
        return Window(draw(aggregates(schema, (), inside=True)), partition, (key, unique), Frame("rows", start, stop))
    number = SortKey(Column(draw(st.sampled_from(["i8", "f", "d", "u8", "span", "day", "ts"]))), key.descending, key.nulls_last)
    step: Any = st.integers(-2, 2)
    if number.expr in (Column("span"), Column("day"), Column("ts")):
        step = step.map(lambda n: dt.timedelta(days=200 * n) if n else 0)
    while (function := draw(aggregates(schema, (), inside=True))).function in ("first", "last", "nth", "collect", "join"):
        pass
    return Window(function, partition, (number,), Frame("range", draw(st.none() | step), draw(st.none() | step)))
