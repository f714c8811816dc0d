"""The functions of SQL by name: which operation each is, and which of its arguments must be constants.

A function whose operation the engine lacks is refused with its name; it works from the day `expr.operations` has it.
"""

from __future__ import annotations

from sqlglot import exp

from dataflow.record import record

__all__ = ["AGGREGATES", "BY_NAME", "FUNCTIONS", "RANKINGS", "Function"]


@record(eq=True)
class Function:
    """``args``: the parts of the parsed call that are expressions. ``options``: option -> the part that must be a constant.
    ``fixed``: options that are always so."""

    operation: str
    args: tuple[str, ...] = ("this",)
    options: tuple[tuple[str, str], ...] = ()
    fixed: tuple[tuple[str, object], ...] = ()


FUNCTIONS: dict[type[exp.Expr], Function] = {
    exp.Abs: Function("abs"), exp.Floor: Function("floor"), exp.Ceil: Function("ceil"), exp.Sqrt: Function("sqrt"),
    exp.Exp: Function("exp"),
    exp.Sign: Function("sign"), exp.Pow: Function("power", ("this", "expression")), exp.Ln: Function("log", fixed=(("base", None),)),
    exp.IsNan: Function("is_nan"), exp.Nullif: Function("null_if", ("this", "expression")),
    exp.Coalesce: Function("coalesce", ("this", "expressions")), exp.Greatest: Function("max_horizontal", ("this", "expressions")),
    exp.Least: Function("min_horizontal", ("this", "expressions")),
    exp.NullSafeEQ: Function("equal_missing", ("this", "expression")),
    exp.NullSafeNEQ: Function("not_equal_missing", ("this", "expression")),
    # text
    exp.Upper: Function("str.to_uppercase"), exp.Lower: Function("str.to_lowercase"),
    exp.StartsWith: Function("str.starts_with", ("this", "expression")), exp.EndsWith: Function("str.ends_with", ("this", "expression")),
    exp.Replace: Function("str.replace_all", options=(("pattern", "expression"), ("value", "replacement")), fixed=(("literal", True),)),
    exp.Contains: Function("str.contains", options=(("pattern", "expression"),), fixed=(("literal", True),)),
    exp.Split: Function("str.split", options=(("by", "expression"),)),
    exp.MD5: Function("str.digest", fixed=(("algorithm", "md5"),)), exp.SHA: Function("str.digest", fixed=(("algorithm", "sha1"),)),
    exp.Reverse: Function("str.reverse"), exp.Repeat: Function("str.repeat", ("this", "times")),
    # time
    exp.Year: Function("dt.year"), exp.Month: Function("dt.month"), exp.Day: Function("dt.day"), exp.Hour: Function("dt.hour"),
    exp.Minute: Function("dt.minute"), exp.Second: Function("dt.second"), exp.Date: Function("dt.date"),
    exp.LastDay: Function("dt.month_end"), exp.DayOfYear: Function("dt.ordinal_day"), exp.DayOfWeekIso: Function("dt.weekday"),
    exp.Week: Function("dt.week"), exp.WeekOfYear: Function("dt.week"),
    exp.Monthname: Function("dt.strftime", fixed=(("format", "%B"),)), exp.Dayname: Function("dt.strftime", fixed=(("format", "%A"),)),
    # nested
    exp.ArrayMin: Function("list.min"), exp.ArrayMax: Function("list.max"),
    exp.ArrayToString: Function("list.join", options=(("separator", "expression"),)), exp.MapKeys: Function("map.keys"),
    exp.ArraySize: Function("list.len"), exp.ArrayContains: Function("list.contains", ("this", "expression")),
    exp.StructExtract: Function("struct.field", options=(("name", "expression"),)),
}  # fmt: skip

BY_NAME: dict[str, Function] = {
    "suffix": Function("str.ends_with", ("0", "1")), "prefix": Function("str.starts_with", ("0", "1")),
    "strlen": Function("str.len_bytes", ("0",)), "isfinite": Function("is_finite", ("0",)), "len": Function("str.len_chars", ("0",)),
    "list_avg": Function("list.mean", ("0",)), "list_reverse": Function("list.reverse", ("0",)),
    "array_reverse": Function("list.reverse", ("0",)), "list_unique": Function("list.n_unique", ("0",)),
    "list_first": Function("list.first", ("0",)), "list_last": Function("list.last", ("0",)), "map_values": Function("map.values", ("0",)),
    "cardinality": Function("map.len", ("0",)), "octet_length": Function("bin.size", ("0",)),
    "sha512": Function("str.digest", ("0",), fixed=(("algorithm", "sha512"),)),
}  # fmt: skip

AGGREGATES: dict[type[exp.Expr], tuple[str, tuple[tuple[str, object], ...]]] = {
    exp.Avg: ("mean", ()), exp.Min: ("min", ()), exp.Max: ("max", ()), exp.Stddev: ("std", (("ddof", 1),)),
    exp.StddevSamp: ("std", (("ddof", 1),)), exp.StddevPop: ("std", (("ddof", 0),)), exp.Variance: ("var", (("ddof", 1),)),
    exp.VariancePop: ("var", (("ddof", 0),)), exp.Median: ("median", ()), exp.ApproxDistinct: ("approx_n_unique", ()),
    exp.First: ("first", ()), exp.FirstValue: ("first", ()), exp.Last: ("last", ()), exp.LastValue: ("last", ()),
    exp.ArrayAgg: ("collect", ()), exp.ArrayUniqueAgg: ("collect", ()),
}  # fmt: skip

RANKINGS: dict[type[exp.Expr], str] = {
    exp.RowNumber: "row_number", exp.Rank: "rank", exp.DenseRank: "dense_rank", exp.PercentRank: "percent_rank", exp.CumeDist: "cume_dist",
    exp.Ntile: "ntile", exp.Lag: "lag", exp.Lead: "lead",
}  # fmt: skip
