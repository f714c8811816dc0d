"""``.list``: operations on lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Lists"]


class Lists:
    """Operations on lists, as ``col("x").list``."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"list.{operation}", *args, **options)

    def len(self) -> Expr:
        return self._call("len")

    def get(self, index: int) -> Expr:
        """The item at that place, counted from the end if negative; null if there is none."""
        return self._call("get", index=index)
