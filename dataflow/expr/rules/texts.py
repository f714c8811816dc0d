"""Typing rules of text and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.expr.rules.parts import Kind, Operation, Refusal, Rule, given, is_bytes, is_integer, is_text, options_checked, shown
from dataflow.expr.types import BINARY, BOOL, DATE, INT64, NULL, STRING, TIME, DType, datetime_of, list_of

__all__ = ["MOST_REPEATED", "OPERATIONS", "TOO_LONG"]


def _text(result: DType, *more: Kind, rest: Kind | None = None) -> Operation:
    return Operation(given(is_text, *more, result=result, what="text", rest=rest))


def _one_of(name: str, *values: str) -> Any:
    def check(options: Mapping[str, Any]) -> str | None:
        return None if options[name] in values else f"{name} is one of {', '.join(values)}, not {options[name]!r}"

    return check


def _repeat(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    text, times = types
    if text not in (STRING, NULL) or not (is_integer(times) or times == NULL):
        raise Refusal(f"it takes text and a number of times, not {shown(types)}")
    return STRING


def _decoded(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    given(is_text, what="text")(types, options)
    return options["to"]


def _to_datetime(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    given(is_text, what="text")(types, options)
    return datetime_of(options["unit"], options["zone"])


_encoding = _one_of("encoding", "hex", "base64")
_form = _one_of("form", "NFC", "NFD", "NFKC", "NFKD")
_algorithm = _one_of("algorithm", "md5", "sha1", "sha256", "sha512", "blake2b")


def _checked(result: DType, kind: Kind, what: str, check: Any) -> Operation:
    rule: Rule = given(kind, result=result, what=what)
    return Operation(options_checked(rule, check))


MOST_PADDING = 1 << 20  # characters: a number of more is a mistake, which would fill the memory before anything is seen
MOST_REPEATED = 64 << 20  # bytes of one text, for the same reason
TOO_LONG = f"str.repeat makes texts of at most {MOST_REPEATED:,} bytes, and one would have more"


def _counted(name: str, most: int | None = None) -> Operation:
    """An operation on text with a number of characters."""

    def check(options: Mapping[str, Any]) -> str | None:
        count = options.get(name)
        if count is None or (hasattr(count, "__index__") and 0 <= count <= (count if most is None else most)):
            return None
        return f"{name} is a number of characters{f' of at most {most:,}' if most else ''}, and not negative, not {count!r}"

    return _checked(STRING, is_text, "text", check)


_same, _padded = _text(STRING), _counted("length", MOST_PADDING)
_bytes_and_bytes = Operation(given(is_bytes, is_bytes, result=BOOL, what="bytes"))

OPERATIONS: dict[str, Operation] = {
    "str.contains": _text(BOOL), "str.starts_with": _text(BOOL, is_text), "str.ends_with": _text(BOOL, is_text), "str.like": _text(BOOL),
    "str.len_chars": _text(INT64), "str.len_bytes": _text(INT64), "str.count_matches": _text(INT64), "str.find": _text(INT64, is_text),
    "str.to_lowercase": _same, "str.to_uppercase": _same, "str.to_titlecase": _same,
    "str.strip_chars": _same, "str.strip_chars_start": _same, "str.strip_chars_end": _same, "str.strip_prefix": _same,
    "str.strip_suffix": _same,
    "str.slice": _counted("length"), "str.head": _same, "str.tail": _same, "str.reverse": _same, "str.pad_start": _padded,
    "str.pad_end": _padded,
    "str.zfill": _padded, "str.repeat": Operation(_repeat), "str.replace": _same, "str.replace_all": _same, "str.extract": _same,
    "str.extract_all": _text(list_of(STRING)), "str.split": _text(list_of(STRING)), "str.concat": _text(STRING, rest=is_text),
    "str.escape_regex": _same, "str.normalize": _checked(STRING, is_text, "text", _form),
    "str.to_date": _text(DATE), "str.to_time": _text(TIME), "str.to_datetime": Operation(_to_datetime), "str.to_integer": _text(INT64),
    "str.json_path_match": _same, "str.json_decode": Operation(_decoded), "str.decode": _checked(BINARY, is_text, "text", _encoding),
    "str.digest": _checked(STRING, is_text, "text", _algorithm),
    # bytes
    "bin.size": Operation(given(is_bytes, result=INT64, what="bytes")), "bin.contains": _bytes_and_bytes,
    "bin.starts_with": _bytes_and_bytes,
    "bin.ends_with": _bytes_and_bytes, "bin.encode": _checked(STRING, is_bytes, "bytes", _encoding),
    "bin.digest": _checked(STRING, is_bytes, "bytes", _algorithm),
}  # fmt: skip
