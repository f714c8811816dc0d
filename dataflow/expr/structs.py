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
        """One field.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": {"a": 1, "b": 2}}]).select(col("s").struct.field("b")).collect()
        [{'b': 2}]
        """
        return self._call("field", name=name).alias(name)

    def rename_fields(self, *names: str) -> Expr:
        """The same fields under these names, in their order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": {"a": 1, "b": 2}}]).select(col("s").struct.rename_fields("x", "y")).collect()
        [{'s': {'x': 1, 'y': 2}}]
        """
        return self._call("rename_fields", names=names)
