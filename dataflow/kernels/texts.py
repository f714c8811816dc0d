"""Operations on text and bytes in Polars."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from dataflow.expr.rules.texts import MOST_REPEATED, TOO_LONG
from dataflow.expr.types import DType
from dataflow.expr.typing import ExprError
from dataflow.kernels.lowered import Kernel, Lowered, own
from dataflow.kernels.types import to_polars

__all__ = ["KERNELS"]


def _like(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """LIKE by the cheapest search that is equal to it: most patterns are a prefix, a suffix, or one text between two %."""
    pattern, escape, text = options["pattern"], options.get("escape"), args[0].expr
    if not escape and "_" not in pattern:
        first, *middle, last = pattern.split("%") if "%" in pattern else (pattern, None)
        if last is None:
            return text == pattern
        if not middle:
            if not (first or last):
                return text.str.starts_with("")  # `| None` becomes a null without a type, which has no `not`
            if not last:
                return text.str.starts_with(first)
            if not first:
                return text.str.ends_with(last)
        elif not first and not last and len(middle) == 1:
            return text.str.contains(middle[0], literal=True)
    out, at = ["(?s)^"], 0
    while at < len(pattern):
        char = pattern[at]
        if escape and char == escape and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at]))
        else:
            out.append({"%": ".*", "_": "."}.get(char) or re.escape(char))
        at += 1
    return text.str.contains("".join(out) + "$")


def _contains(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return args[0].expr.str.contains(options["pattern"], literal=options["literal"])


def _replace(method: str) -> Kernel:
    return lambda args, options, kind: getattr(args[0].expr.str, method)(options["pattern"], options["value"], literal=options["literal"])


def _find(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Polars finds bytes: the characters before are counted."""
    text, wanted = (arg.expr for arg in args)
    at = text.str.find(wanted, literal=True)
    before = text.cast(pl.Binary).bin.slice(0, at.fill_null(0)).cast(pl.String).str.len_chars()
    return pl.when(at.is_not_null()).then(before.cast(pl.Int64))


def _digest(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Made by the standard library, which has it in C: half a microsecond for a short value."""
    made = getattr(hashlib, options["algorithm"])

    def run(values: pl.Series) -> pl.Series:
        return pl.Series([None if value is None else made(value).hexdigest() for value in values.to_list()], dtype=pl.String)

    return args[0].expr.cast(pl.Binary).map_batches(run, return_dtype=pl.String(), is_elementwise=True)


def _repeat(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    text, times = args[0].expr.cast(pl.String), args[1].expr.cast(pl.Int64).clip(0, MOST_REPEATED + 1)
    size = (text.str.len_bytes().cast(pl.Int64) * times).map_batches(_bounded, return_dtype=pl.Int64(), is_elementwise=True)
    known = size.is_not_null()  # joined, a list of nulls is no null
    return pl.when(known).then(text.repeat_by(pl.when(known).then(times).cast(pl.UInt32)).list.join(""))  # not before the size is known


def _bounded(sizes: pl.Series) -> pl.Series:
    if (sizes > MOST_REPEATED).any():
        raise ExprError(TOO_LONG)  # without a hint, which the kernel would not keep
    return sizes


def _text(method: str, *names: str, to: bool = False) -> Kernel:
    """A method of ``.str`` that takes these options, in this order."""

    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        found = getattr(args[0].expr.str, method)(*(options[name] for name in names))
        return found.cast(to_polars(kind)) if to else found

    return kernel


def _to_datetime(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """A clock time of the zone; the first of one that comes twice. An offset in the text makes it an instant."""
    target, zone, strict, form = to_polars(kind), options["zone"], options["strict"], options["format"]
    if zone is not None and "%z" in form:
        there = args[0].expr.str.to_datetime(form, time_unit=target.time_unit, time_zone="UTC", strict=strict)
        return there.dt.convert_time_zone(zone)
    clock = args[0].expr.str.to_datetime(form, time_unit=target.time_unit, strict=strict)
    if zone is None:
        return clock
    return clock.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="raise" if strict else "null")


def _bin(method: str) -> Kernel:
    return lambda args, options, kind: getattr(args[0].expr.bin, method)(args[1].expr)


KERNELS: dict[str, Kernel] = {
    "str.contains": _contains, "str.starts_with": own("str.starts_with"), "str.ends_with": own("str.ends_with"), "str.like": _like,
    "str.len_chars": own("str.len_chars", to=True), "str.len_bytes": own("str.len_bytes", to=True), "str.find": _find,
    "str.count_matches": lambda a, o, k: a[0].expr.str.count_matches(o["pattern"], literal=o["literal"]).cast(pl.Int64),
    "str.to_lowercase": _text("to_lowercase"), "str.to_uppercase": _text("to_uppercase"), "str.to_titlecase": _text("to_titlecase"),
    "str.strip_chars": own("str.strip_chars"), "str.strip_chars_start": own("str.strip_chars_start"),
    "str.strip_chars_end": own("str.strip_chars_end"), "str.strip_prefix": _text("strip_prefix", "prefix"),
    "str.strip_suffix": _text("strip_suffix", "suffix"), "str.slice": own("str.slice"), "str.head": _text("head", "n"),
    "str.tail": _text("tail", "n"), "str.reverse": _text("reverse"), "str.pad_start": _text("pad_start", "length", "fill"),
    "str.pad_end": _text("pad_end", "length", "fill"), "str.zfill": _text("zfill", "length"), "str.repeat": _repeat,
    "str.replace": _replace("replace"), "str.replace_all": _replace("replace_all"),
    "str.extract": _text("extract", "pattern", "group"), "str.extract_all": _text("extract_all", "pattern"), "str.split": own("str.split"),
    "str.concat": lambda a, o, k: pl.concat_str([x.expr for x in a]), "str.escape_regex": _text("escape_regex"),
    "str.normalize": _text("normalize", "form"),
    "str.to_date": lambda a, o, k: a[0].expr.str.to_date(o["format"], strict=o["strict"]),
    "str.to_time": lambda a, o, k: a[0].expr.str.to_time(o["format"], strict=o["strict"]), "str.to_datetime": _to_datetime,
    "str.to_integer": lambda a, o, k: a[0].expr.str.to_integer(base=o["base"], strict=o["strict"]),
    "str.json_path_match": _text("json_path_match", "path"), "str.json_decode": lambda a, o, k: a[0].expr.str.json_decode(to_polars(k)),
    "str.decode": lambda a, o, k: a[0].expr.str.decode(o["encoding"], strict=o["strict"]),
    "bin.size": lambda a, o, k: a[0].expr.bin.size().cast(pl.Int64), "bin.contains": _bin("contains"),
    "bin.starts_with": _bin("starts_with"),
    "bin.ends_with": _bin("ends_with"), "bin.encode": lambda a, o, k: a[0].expr.bin.encode(o["encoding"]),
    "str.digest": _digest, "bin.digest": _digest,
}  # fmt: skip
