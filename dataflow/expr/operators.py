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

    def __rpow__(self, other: Any) -> Expr:
        return self._new(as_node(other))._call("power", self)

    def __neg__(self) -> Expr:
        return self._call("negate")

    def __abs__(self) -> Expr:
        return self._call("abs")

    def abs(self) -> Expr:
        """Without its sign.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": -2}]).select(y=col("x").abs()).collect()
        [{'y': 2}]
        """
        return self._call("abs")

    def round(self, decimals: int = 0) -> Expr:
        """Halves go away from zero, as in SQL.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 2.345}, {"x": -2.5}]).select(one=col("x").round(), two=col("x").round(2)).collect()
        [{'one': 2.0, 'two': 2.35}, {'one': -3.0, 'two': -2.5}]
        """
        return self._call("round", decimals=decimals)

    def floor(self) -> Expr:
        """Down to the whole number.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": -1.5}]).select(y=col("x").floor()).collect()
        [{'y': -2.0}]
        """
        return self._call("floor")

    def ceil(self) -> Expr:
        """Up to the whole number.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": -1.5}]).select(y=col("x").ceil()).collect()
        [{'y': -1.0}]
        """
        return self._call("ceil")

    def sqrt(self) -> Expr:
        """The square root, NaN of a negative number.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 9}, {"x": -1}]).select(y=col("x").sqrt()).collect()
        [{'y': 3.0}, {'y': nan}]
        """
        return self._call("sqrt")

    def exp(self) -> Expr:
        """e to this power.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 0}]).select(y=col("x").exp()).collect()
        [{'y': 1.0}]
        """
        return self._call("exp")

    def log(self, base: float | None = None) -> Expr:
        """The logarithm, natural by default.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 8}]).select(y=col("x").log(2)).collect()
        [{'y': 3.0}]
        """
        return self._call("log", base=base)

    def log10(self) -> Expr:
        """The decimal logarithm.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 100}]).select(y=col("x").log10()).collect()
        [{'y': 2.0}]
        """
        return self._call("log10")

    def log1p(self) -> Expr:
        """The natural logarithm of 1 + x, exact for small x.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1e-12}]).select(y=col("x").log1p()).collect()
        [{'y': 9.999999999995e-13}]
        """
        return self._call("log1p")

    def sign(self) -> Expr:
        """-1, 0 or 1.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": -3.5}, {"x": 0.0}]).select(y=col("x").sign()).collect()
        [{'y': -1.0}, {'y': 0.0}]
        """
        return self._call("sign")

    def truncate(self, decimals: int = 0) -> Expr:
        """Digits behind these cut off, toward zero.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": -2.78}]).select(y=col("x").truncate(1)).collect()
        [{'y': -2.7}]
        """
        return self._call("truncate", decimals=decimals)

    def clip(self, low: Any = None, high: Any = None) -> Expr:
        """Within bounds: what is below ``low`` becomes it, what is above ``high`` that. A null bound is none; NaN stays.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": -5}, {"x": 3}, {"x": 12}]).select(y=col("x").clip(0, 10)).collect()
        [{'y': 0}, {'y': 3}, {'y': 10}]
        """
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
        """Equality in which null equals null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": None}]).select(one=col("x") == None, two=col("x").eq_missing(None)).collect()
        [{'one': None, 'two': False}, {'one': None, 'two': True}]
        """
        return self._call("equal_missing", other)

    def ne_missing(self, other: Any) -> Expr:
        """Inequality in which null equals null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": None}]).select(y=col("x").ne_missing(None)).collect()
        [{'y': True}, {'y': False}]
        """
        return self._call("not_equal_missing", other)

    def is_between(self, low: Any, high: Any, closed: str = "both") -> Expr:
        """``closed``: "both", "left", "right" or "none".

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 3}]).select(
        ...     closed=col("x").is_between(1, 3), left=col("x").is_between(1, 3, "left")).collect()
        [{'closed': True, 'left': True}, {'closed': True, 'left': False}]
        """
        return self._call("is_between", low, high, closed=closed)

    def is_in(self, values: Iterable[Any]) -> Expr:
        """Whether the value is one of these. Null is in nothing: the result is null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "a"}, {"x": "b"}, {"x": None}]).select(y=col("x").is_in(["a", "c"])).collect()
        [{'y': True}, {'y': False}, {'y': None}]
        """
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
