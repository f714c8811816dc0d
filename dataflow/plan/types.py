"""What is known of element types: from annotations, as ordinary Python type objects; None is "not known"."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from typing import Any, get_args, get_origin

__all__ = ["argument_of", "clashes", "is_pair", "item_of", "pair_of", "result_of", "show"]

_ITERABLES = (list, set, frozenset, collections.abc.Iterable, collections.abc.Iterator, collections.abc.Generator,
              collections.abc.Sequence)  # fmt: skip
_KNOWN = {str.split: list[str], str.lower: str, str.upper: str, str.strip: str, len: int, str: str, int: int, float: float}


def _hints(fn: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(fn if inspect.isroutine(fn) else getattr(fn, "process", fn))
    except Exception:  # annotations are the user's; one that does not resolve is "not known", not an error
        return {}


def result_of(fn: Any) -> Any:
    """The annotated result type of a function, None when not known.

    >>> def parse(line: str) -> int: ...
    >>> result_of(parse)
    <class 'int'>
    """
    try:
        if fn in _KNOWN:
            return _KNOWN[fn]
    except TypeError:  # an unhashable callable
        pass
    found = _hints(fn).get("return")
    return None if found in (Any, None, type(None)) or isinstance(found, typing.TypeVar) else found


def item_of(iterable: Any) -> Any:
    """The element type of an iterable type, None when not known.

    >>> item_of(list[int])
    <class 'int'>
    """
    args = get_args(iterable)
    if get_origin(iterable) in _ITERABLES and args and args[0] is not Any:
        return args[0]
    if get_origin(iterable) is tuple and len(args) == 2 and args[1] is Ellipsis:
        return args[0]
    return None


def argument_of(fn: Any) -> Any:
    """The annotated type of a function's first argument, None when not known."""
    try:
        names = [name for name in inspect.signature(fn).parameters if name != "self"]
    except (TypeError, ValueError):
        return None
    return _hints(fn).get(names[0]) if names else None


def is_pair(element: Any) -> bool | None:
    """Whether elements are (key, value) pairs; None when not known."""
    if element is None:
        return None
    if get_origin(element) is tuple:
        args = get_args(element)
        return len(args) == 2 and args[1] is not Ellipsis
    if element in (str, bytes, int, float, bool, dict, list, set):
        return False
    return None


def pair_of(element: Any) -> tuple[Any, Any]:
    """The key and the value type of a pair type."""
    args = get_args(element) if is_pair(element) else ()
    return (args[0], args[1]) if args else (None, None)


def clashes(given: Any, wanted: Any) -> bool:
    """Whether a value of type ``given`` can never be what ``wanted`` says. Only plain types are judged."""
    plain = (str, bytes, int, float, bool, dict, list, set, tuple)
    left, right = get_origin(given) or given, get_origin(wanted) or wanted
    if left not in plain or right not in plain:
        return False
    if (right is float and left in (int, bool)) or (right is int and left is bool):
        return False
    return left is not right


def show(element: Any) -> str:
    """A type as a user writes it."""
    if element is None or element is Any:
        return "Any"
    return element.__name__ if isinstance(element, type) and not get_args(element) else str(element).replace("typing.", "")
