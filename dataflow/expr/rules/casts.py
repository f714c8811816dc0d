"""Which types have values of another type's form at all; whether one value has is seen when it is cast."""

from __future__ import annotations

from dataflow.expr.types import BOOL, NULL, STRING, DType

__all__ = ["castable"]


def castable(source: DType, to: DType) -> bool:
    """Whether a cast means anything."""
    if source in (to, NULL):
        return True
    number = source.is_numeric or source == BOOL
    match source.name, to.name:
        case (_, "other") | ("other", _):
            return False
        case ("list" | "array", "list" | "array"):
            return castable(source.args[0], to.args[0])
        case "struct", "struct":
            have = dict(source.args)
            return all(name not in have or castable(have[name], kind) for name, kind in to.args)
        case "map", "map":
            return castable(source.args[0], to.args[0]) and castable(source.args[1], to.args[1])
        case "string", _:
            return to.is_numeric or to.name in ("bool", "binary", "date", "time", "datetime")
        case _, "string":
            return source.is_numeric or source.name in ("bool", "binary", "date", "time", "datetime")
        case _, "bool":
            return source.is_numeric
        case ("date" | "datetime", "date" | "datetime") | ("datetime", "time") | ("duration", "duration"):
            return True
        case ("date" | "datetime" | "time" | "duration", _):
            return to.is_integer or to.is_float
        case (_, "date" | "datetime" | "time" | "duration"):
            return source.is_integer
        case _:
            return number and to.is_numeric and STRING not in (source, to)
