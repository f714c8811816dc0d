"""``.map``: operations on maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Maps"]


class Maps:
    """Operations on maps, as ``col("x").map``."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"map.{operation}", *args, **options)

    def len(self) -> Expr:
        """How many entries."""
        return self._call("len")

    def keys(self) -> Expr:
        """The keys, as a list."""
        return self._call("keys")

    def values(self) -> Expr:
        """The values, as a list in the order of the keys."""
        return self._call("values")

    def get(self, key: Any) -> Expr:
        """The value of a key; null if the map is without it."""
        return self._call("get", key)

    def contains_key(self, key: Any) -> Expr:
        """Whether the map has the key."""
        return self._call("contains_key", key)
