"""What the command line says to scripts: run options, and where results go; the parameters stand in `dataflow.parameters`.

`dataflow run script.py --memory 2GiB --param day=2026-11-20` runs the script as Python would; `Pipeline.run` and `param`
look here for what the script itself did not say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, TypeVar, overload

from dataflow.parameters import given
from dataflow.record import record

__all__ = ["Settings", "param", "settings"]

T = TypeVar("T")


@record(frozen=False)
class Settings:
    """The process's own defaults."""

    options: dict[str, Any] = field(default_factory=dict)
    runner: str | None = None
    explain: Callable[[str], None] | None = None
    finished: Callable[[Any], None] | None = None
    skipped: int = 0  # records, in all runs of this process


settings = Settings()


@overload
def param(name: str) -> str: ...
@overload
def param(name: str, default: T) -> T: ...
def param(name: str, default: Any = ...) -> Any:
    """A parameter given on the command line by ``--param name=value``, in the type of its default.

    >>> param("books", "books/*.txt")
    'books/*.txt'
    """
    if name not in given:
        if default is ...:
            raise KeyError(f"the script needs --param {name}=…")
        return default
    text = given[name]
    if isinstance(default, bool):
        return text.lower() in ("1", "true", "yes", "on")
    if isinstance(default, (int, float)):
        return type(default)(text)
    return text
