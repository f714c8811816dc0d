"""Operations on text in Polars."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from dataflow.expr.types import DType
from dataflow.kernels.lowered import Kernel, Lowered, own

__all__ = ["KERNELS"]


def _like(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """LIKE by the cheapest search that is equal to it: most patterns are a prefix, a suffix, or one text between two %."""
    pattern, escape, text = options["pattern"], options.get("escape"), args[0].expr
    if not escape and "_" not in pattern:
        first, *middle, last = pattern.split("%") if "%" in pattern else (pattern, None)
        if last is None:
            return text == pattern
        if not middle:
            both = pl.lit(True) if not (first or last) else None
            if both is not None:
                return text.is_not_null() | None
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


KERNELS: dict[str, Kernel] = {
    # text
    "str.contains": _contains, "str.starts_with": own("str.starts_with"), "str.ends_with": own("str.ends_with"), "str.like": _like,
    "str.len_chars": own("str.len_chars", to=True), "str.len_bytes": own("str.len_bytes", to=True),
    "str.to_lowercase": own("str.to_lowercase"), "str.to_uppercase": own("str.to_uppercase"), "str.strip_chars": own("str.strip_chars"),
    "str.strip_chars_start": own("str.strip_chars_start"), "str.strip_chars_end": own("str.strip_chars_end"), "str.slice": own("str.slice"),
    "str.replace": _replace("replace"), "str.replace_all": _replace("replace_all"),
    "str.extract": lambda a, o, k: a[0].expr.str.extract(o["pattern"], o["group"]), "str.split": own("str.split"),
    "str.concat": lambda a, o, k: pl.concat_str([x.expr for x in a]),
}  # fmt: skip
