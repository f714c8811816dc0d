"""``.struct``: operations on structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Structs"]


class Structs:
    """Operations on structs, as ``col("x").struct``."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"struct.{operation}", *args, **options)

    def field(self, name: str) -> Expr:
        """One field."""
        return self._call("field", name=name).alias(name)
