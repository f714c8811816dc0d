"""`record`: a dataclass that costs next to nothing until it is used, frozen if nothing else is said.

    @record                           class Split:  name: str      ==   @dataclass(frozen=True, slots=True, eq=False)
    @record(eq=True)                  compared by value            ==   @dataclass(frozen=True, slots=True)
    @record(frozen=False, eq=True)    a state that changes         ==   @dataclass(slots=True)
    @record(eq=True, slots=False)     whose methods say super()     ==   @dataclass(frozen=True)

The standard library writes and compiles the methods of every class as it is made, 0.4 ms for a frozen one with slots; a run of the engine
meets a hundred and thirty classes before it does anything, and a small run should be done by then. Here a class is made in 0.04 ms.
``__init__`` (``__eq__``, ``__hash__``) is written and compiled when it is first called, and most classes of a small run are never used.
It sets fields by their slots, past ``__setattr__``, which refuses to set them again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from types import MemberDescriptorType
from typing import Any, TypeVar, dataclass_transform, overload

__all__ = ["record"]

T = TypeVar("T")


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, eq: bool = False, kw_only: bool = False, frozen: bool = True, slots: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, eq_default=False)
def record(cls: Any = None, /, *, eq: bool = False, kw_only: bool = False, frozen: bool = True, slots: bool = True) -> Any:
    """A class of fields that are set once, or not ``frozen``.

    >>> @record
    ... class Place:
    ...     file: str
    ...     row: int = 1
    >>> Place("a")
    Place(file='a', row=1)
    >>> Place("a").row = 2
    Traceback (most recent call last):
    dataclasses.FrozenInstanceError: cannot assign to field 'row'

    What a class says itself of when it is equal, it means. A class with slots is made a second time, and ``super()`` within its
    methods means the first: one that needs it does without slots.
    """

    def made(cls: type[Any]) -> type[Any]:
        if frozen:
            cls.__setattr__ = _set_once  # type: ignore[assignment,method-assign]
            cls.__delattr__ = _refuse  # type: ignore[assignment,method-assign]
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = _shown  # type: ignore[assignment,method-assign]
        said = cls.__doc__
        cls.__doc__ = said or "-"  # else its signature is written there, for which all of `inspect` is loaded: 5 ms
        new = dataclass(cls, init=False, eq=False, repr=False, slots=slots, kw_only=kw_only)
        new.__doc__ = said
        _when_used(new, "__init__", _init_of)
        if eq and "__eq__" not in cls.__dict__:
            _when_used(new, "__eq__", _equal_of)
            if frozen:
                _when_used(new, "__hash__", _hash_of)
            else:
                new.__hash__ = None  # type: ignore[assignment]
        return new

    return made if cls is None else made(cls)


def _when_used(cls: type[Any], name: str, make: Callable[[type[Any]], Any]) -> None:
    """A method that is made when it is first called."""

    def first(self: Any, *args: Any, **named: Any) -> Any:
        setattr(cls, name, method := make(cls))
        return method(self, *args, **named)

    setattr(cls, name, first)


def _init_of(cls: type[Any]) -> Any:
    """The ``__init__`` of a class: its fields in order, those that must be named last."""
    ordered = sorted(fields(cls), key=lambda field: bool(field.kw_only))
    names: dict[str, Any] = {"NEW": (new := object())}
    given, body = [], []
    for field in ordered:
        name = field.name
        names[f"set_{name}"] = _setter(cls, name)
        value = name
        if field.kw_only and "*" not in given:
            given.append("*")
        if field.default is not MISSING:
            names[f"default_{name}"] = field.default
            given.append(f"{name}=default_{name}")
        elif field.default_factory is not MISSING:
            names[f"make_{name}"], names[f"default_{name}"] = field.default_factory, new
            given.append(f"{name}=default_{name}")
            value = f"make_{name}() if {name} is NEW else {name}"
        else:
            given.append(name)
        body.append(f"set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    return _compiled("__init__", ", ".join(["self", *given]), "; ".join(body) or "pass", names)


def _setter(cls: type[Any], name: str) -> Callable[[Any, Any], None]:
    """What sets a field past ``__setattr__``."""
    slot = getattr(cls, name, None)
    if isinstance(slot, MemberDescriptorType):
        return slot.__set__
    return lambda self, value: object.__setattr__(self, name, value)


def _set_once(self: Any, name: str, value: Any) -> None:
    try:
        object.__getattribute__(self, name)
    except AttributeError:
        object.__setattr__(self, name, value)
    else:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _shown(self: Any) -> str:
    return f"{type(self).__qualname__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in fields(self) if f.repr)})"


def _equal_of(cls: type[Any]) -> Any:
    mine, others = _compared(cls, "self"), _compared(cls, "other")
    return _compiled("__eq__", "self, other", f"return {mine} == {others} if other.__class__ is self.__class__ else NotImplemented", {})


def _hash_of(cls: type[Any]) -> Any:
    return _compiled("__hash__", "self", f"return hash({_compared(cls, 'self')})", {})


def _compared(cls: type[Any], of: str) -> str:
    return f"({''.join(f'{of}.{field.name}, ' for field in fields(cls) if field.compare)})"


def _compiled(name: str, arguments: str, body: str, names: dict[str, Any]) -> Any:
    exec(f"def {name}({arguments}):\n    {body}", names)
    return names[name]
