"""One total order and one equality for every value that may be a key or be sorted.

The rule in one sentence: *Python's own equality and order, except that NaN equals NaN and comes last
among numbers, null comes first, and values of different kinds are ordered by kind instead of failing.*

    None < bool, int, float, Decimal (by value) < str (by code point) < bytes < dates and times < tuples < others

Two views of the same rule are kept equal by a property test:

- `order_key(value)`: a Python object that compares; used by the reference runner and by merges.
- `canonical(value)`: a hashable Python object, equal exactly where keys are equal; used to group.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from dataflow.errors import KeyTypeError

__all__ = ["canonical", "first_by_canonical", "order_key"]

_NAN = ("nan",)
_PLAIN = frozenset({str, bytes, int, type(None)})
_NEVER = (list, dict, set, bytearray)


def canonical(key: Any) -> Any:
    """A hashable stand-in for ``key``: equal exactly where the keys are equal by value.

    >>> canonical(1) == canonical(1.0) == canonical(True)
    True
    >>> canonical(float("nan")) == canonical(float("nan"))
    True
    >>> canonical([1])
    Traceback (most recent call last):
    dataflow.errors.KeyTypeError: a key must have value equality, and a list has none: [1]
      hint     make it a tuple
    """
    kind = type(key)
    if kind in _PLAIN:
        return key
    if kind is float or (isinstance(key, float) and not isinstance(key, enum.Enum)):
        return _NAN if math.isnan(key) else key
    if kind is bool:
        return int(key)
    if isinstance(key, Decimal):
        return _NAN if key.is_nan() else key
    if isinstance(key, enum.Enum):
        name = key.name if key.name is not None else canonical(key.value)  # a flag that stands for several may have none
        return (kind.__module__, kind.__qualname__, name)
    if isinstance(key, tuple):
        return ("t", *map(canonical, key))
    if isinstance(key, frozenset):
        return ("set", frozenset(map(canonical, key)))
    if isinstance(key, (dt.date, dt.time, dt.timedelta, str, bytes, int)):
        return key
    if dataclasses.is_dataclass(key) and kind.__dataclass_params__.frozen:
        return (kind.__module__, kind.__qualname__, *(canonical(getattr(key, f.name)) for f in dataclasses.fields(key) if f.compare))
    if hasattr(key, "item") and not getattr(key, "shape", True):  # a NumPy scalar
        return canonical(key.item())
    raise _no_equality(key)


def _no_equality(key: Any) -> KeyTypeError:
    from dataflow.errors import Report, shorten

    name = type(key).__name__
    if isinstance(key, _NEVER):
        hint = "make it a tuple" if not isinstance(key, (set, dict)) else "make it a sorted tuple"
        if isinstance(key, dict):
            hint += "; of records distinct([…]) and group_by(…) take columns"
    else:
        hint = "use a str, number, tuple or frozen dataclass as the key"
    article = "an" if name[0] in "aeiouAEIOU" else "a"
    needed, lack = "have value equality", "has none"
    if "__eq__" in vars(type(key)) and not isinstance(key, _NEVER):
        needed, lack = "be of a type whose equality and hash are known in every process", "is not"
    sentence = f"a key must {needed}, and {article} {name} {lack}: {shorten(key, 80)}"
    return KeyTypeError(Report(sentence, hint=hint))


def order_key(value: Any) -> Any:
    """A stand-in for ``value`` that compares with that of any other value.

    >>> sorted([2, None, "a", 1.5, float("nan")], key=order_key)
    [None, 1.5, 2, nan, 'a']
    """
    kind = type(value)
    if kind is str:
        return (4, value)
    if kind is int or kind is bool:
        return (2, value)
    if value is None:
        return (0,)
    if isinstance(value, enum.Enum):
        return (9, kind.__module__, kind.__qualname__, value.name)
    if isinstance(value, (int, float, Decimal)):
        return (3,) if value != value else (2, value)
    if isinstance(value, str):
        return (4, str(value))
    if isinstance(value, (bytes, bytearray)):
        return (5, bytes(value))
    if isinstance(value, dt.datetime):
        aware = value.tzinfo is not None and value.utcoffset() is not None
        if aware:
            return (6, 1, value.astimezone(dt.UTC).replace(tzinfo=None))
        return (6, 2, value.replace(tzinfo=None))
    if isinstance(value, dt.date):
        return (6, 3, value)
    if isinstance(value, dt.time):
        return (6, 4, value.isoformat())
    if isinstance(value, dt.timedelta):
        return (6, 5, value)
    if isinstance(value, (tuple, list)):
        return (7, tuple(order_key(item) for item in value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = tuple(order_key(getattr(value, f.name)) for f in dataclasses.fields(value))
        return (8, kind.__module__, kind.__qualname__, fields)
    if hasattr(value, "item") and not getattr(value, "shape", True):
        return order_key(value.item())
    raise KeyTypeError(f"values of type {kind.__name__} have no order here; give sort a key function")


def first_by_canonical(values: Any) -> Iterator[Any]:
    """The values without those equal to an earlier one.

    >>> list(first_by_canonical([1, 1.0, "a", True, "a"]))
    [1, 'a']
    """
    seen: set[Any] = set()
    for value in values:
        key = canonical(value)
        if key not in seen:
            seen.add(key)
            yield value
