"""`record`: a frozen dataclass that costs a third of the time to make.

    @record            class Split:  name: str                     ==   @dataclass(frozen=True, slots=True, eq=False)
    @record(eq=True)   compared by value                           ==   @dataclass(frozen=True, slots=True)

The standard library writes and compiles five methods for every frozen class, 0.3 ms each; a run of the engine meets eighty
classes before it does anything, and a small run should be done by then. Here ``__init__`` alone is compiled for a class
(and ``__eq__`` if asked for); a field can be set once, which is what ``__init__`` does, and never again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any, TypeVar, dataclass_transform, overload

__all__ = ["record"]

T = TypeVar("T")


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, eq: bool = False, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, eq_default=False)
def record(cls: Any = None, /, *, eq: bool = False, kw_only: bool = False) -> Any:
    """A class of fields that are set once.

    >>> @record
    ... class Place:
    ...     file: str
    ...     row: int = 1
    >>> Place("a")
    Place(file='a', row=1)
    >>> Place("a").row = 2
    Traceback (most recent call last):
    dataclasses.FrozenInstanceError: cannot assign to field 'row'
    """

    def made(cls: type[Any]) -> type[Any]:
        cls.__setattr__ = _set_once  # type: ignore[assignment,method-assign]
        cls.__delattr__ = _refuse  # type: ignore[assignment,method-assign]
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = _shown  # type: ignore[assignment,method-assign]
        new = dataclass(cls, eq=eq, repr=False, slots=True, kw_only=kw_only)
        if eq:
            new.__hash__ = _hash  # type: ignore[assignment,method-assign]
        return new

    return made if cls is None else made(cls)


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


def _hash(self: Any) -> int:
    return hash(tuple(getattr(self, f.name) for f in fields(self)))
