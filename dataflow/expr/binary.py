"""``.bin``: operations on bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Binary"]


class Binary:
    """Operations on bytes, as ``col("x").bin``."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"bin.{operation}", *args, **options)

    def size(self) -> Expr:
        """How many bytes."""
        return self._call("size")

    def contains(self, part: Any) -> Expr:
        """Whether these bytes occur."""
        return self._call("contains", part)

    def starts_with(self, prefix: Any) -> Expr:
        """Whether it begins with these bytes."""
        return self._call("starts_with", prefix)

    def ends_with(self, suffix: Any) -> Expr:
        """Whether it ends with these bytes."""
        return self._call("ends_with", suffix)

    def encode(self, encoding: str) -> Expr:
        """As text, in "hex" or "base64"; ``.str.decode`` is the way back, ``.cast(str)`` reads UTF-8."""
        return self._call("encode", encoding=encoding)
