"""Arithmetic, comparison and logic, as methods and operators of expressions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dataflow.expr.built import Built, as_node

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Operators"]


class Operators(Built):
    """Arithmetic, comparison, logic."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # `==` makes an expression, so expressions are no keys

    # -- arithmetic

    def __add__(self, other: Any) -> Expr:
        return self._call("add", other)

    def __radd__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("add", self)

    def __sub__(self, other: Any) -> Expr:
        return self._call("subtract", other)

    def __rsub__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("subtract", self)

    def __mul__(self, other: Any) -> Expr:
        return self._call("multiply", other)

    def __rmul__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("multiply", self)

    def __truediv__(self, other: Any) -> Expr:
        return self._call("divide", other)

    def __rtruediv__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("divide", self)

    def __floordiv__(self, other: Any) -> Expr:
        return self._call("floor_divide", other)

    def __rfloordiv__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("floor_divide", self)

    def __mod__(self, other: Any) -> Expr:
        return self._call("modulo", other)

    def __rmod__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("modulo", self)

    def __pow__(self, other: Any) -> Expr:
        return self._call("power", other)

    def __neg__(self) -> Expr:
        return self._call("negate")

    def __abs__(self) -> Expr:
        return self._call("abs")

    def abs(self) -> Expr:
        """Without its sign."""
        return self._call("abs")

    def round(self, decimals: int = 0) -> Expr:
        """Halves go away from zero, as in SQL."""
        return self._call("round", decimals=decimals)

    def floor(self) -> Expr:
        """Down to the whole number."""
        return self._call("floor")

    def ceil(self) -> Expr:
        """Up to the whole number."""
        return self._call("ceil")

    def sqrt(self) -> Expr:
        """The square root, NaN of a negative number."""
        return self._call("sqrt")

    def exp(self) -> Expr:
        """e to this power."""
        return self._call("exp")

    def log(self, base: float | None = None) -> Expr:
        """The logarithm, natural by default."""
        return self._call("log", base=base)

    def log10(self) -> Expr:
        """The decimal logarithm."""
        return self._call("log10")

    def log1p(self) -> Expr:
        """The natural logarithm of 1 + x, exact for small x."""
        return self._call("log1p")

    def sign(self) -> Expr:
        """-1, 0 or 1."""
        return self._call("sign")

    def truncate(self, decimals: int = 0) -> Expr:
        """Digits behind these cut off, toward zero."""
        return self._call("truncate", decimals=decimals)

    def clip(self, low: Any = None, high: Any = None) -> Expr:
        """Within bounds: what is below ``low`` becomes it, what is above ``high`` that. A null bound is none; NaN stays."""
        return self._call("clip", low, high)

    # -- comparison

    def __eq__(self, other: Any) -> Expr:  # type: ignore[override]
        return self._call("equal", other)

    def __ne__(self, other: Any) -> Expr:  # type: ignore[override]
        return self._call("not_equal", other)

    def __lt__(self, other: Any) -> Expr:
        return self._call("less", other)

    def __le__(self, other: Any) -> Expr:
        return self._call("less_equal", other)

    def __gt__(self, other: Any) -> Expr:
        return self._call("greater", other)

    def __ge__(self, other: Any) -> Expr:
        return self._call("greater_equal", other)

    def eq_missing(self, other: Any) -> Expr:
        """Equality in which null equals null."""
        return self._call("equal_missing", other)

    def ne_missing(self, other: Any) -> Expr:
        """Inequality in which null equals null."""
        return self._call("not_equal_missing", other)

    def is_between(self, low: Any, high: Any, closed: str = "both") -> Expr:
        """``closed``: "both", "left", "right" or "none"."""
        return self._call("is_between", low, high, closed=closed)

    def is_in(self, values: Iterable[Any]) -> Expr:
        """Whether the value is one of these. Null is in nothing: the result is null."""
        return self._call("is_in", *values)

    # -- logic

    def __and__(self, other: Any) -> Expr:
        return self._call("and", other)

    def __rand__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("and", self)

    def __or__(self, other: Any) -> Expr:
        return self._call("or", other)

    def __ror__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("or", self)

    def __xor__(self, other: Any) -> Expr:
        return self._call("xor", other)

    def __invert__(self) -> Expr:
        return self._call("not")
