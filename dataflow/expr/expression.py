"""`Expr`: the methods a user types on columns, spelled as in Polars. Each makes a new expression; nothing is computed.

>>> from dataflow import col
>>> (col("price") * (1 - col("discount"))).sum().alias("revenue")
<Expr (col('price') * (1 - col('discount'))).sum().alias('revenue')>
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dataflow.expr.aggregation import Aggregation
from dataflow.expr.built import Built, Sorted, as_node, as_nodes, sort_keys
from dataflow.expr.nodes import Alias, Apply, Cast, SortKey, show
from dataflow.expr.operators import Operators
from dataflow.expr.types import type_from

if TYPE_CHECKING:
    from dataflow.expr.binary import Binary
    from dataflow.expr.lists import Lists
    from dataflow.expr.maps import Maps
    from dataflow.expr.strings import Strings
    from dataflow.expr.structs import Structs
    from dataflow.expr.times import Times

__all__ = ["Expr", "as_node", "as_nodes", "sort_keys"]


class Expr(Operators, Aggregation):
    """A deferred value for every row, or of many rows. Made by `col`, `lit`, `when` and the methods here."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # `==` makes an expression, so expressions are no keys

    def __repr__(self) -> str:
        return f"<Expr {show(self.node)}>"

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value: use & | ~ with brackets, instead of and, or, not, and is_between for a < x < b")

    def __iter__(self) -> Any:
        raise TypeError("an expression is not a sequence; a collection's values are seen with collect()")

    # -- null, NaN, types, names

    def is_null(self) -> Expr:
        """Whether it is null."""
        return self._call("is_null")

    def is_not_null(self) -> Expr:
        """Whether it is not null."""
        return self._call("is_not_null")

    def is_nan(self) -> Expr:
        """Whether it is NaN; null stays null."""
        return self._call("is_nan")

    def is_finite(self) -> Expr:
        """Whether it is neither NaN nor infinite."""
        return self._call("is_finite")

    def fill_null(self, value: Any) -> Expr:
        """The value, or another where it is null."""
        return self._call("coalesce", value)

    def fill_nan(self, value: Any) -> Expr:
        """The value, or another where it is NaN."""
        return self._call("fill_nan", value)

    def null_if(self, value: Any) -> Expr:
        """Null where it equals ``value``."""
        return self._call("null_if", value)

    def replace(self, mapping: Mapping[Any, Any], default: Any = ...) -> Expr:
        """Values that are keys of the mapping replaced; others stay, or become ``default``. For a key None, null is replaced.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "N"}, {"x": "?"}, {"x": None}]).select(x=col("x").replace({"N": "north", None: "-"})).collect()
        [{'x': 'north'}, {'x': '?'}, {'x': '-'}]
        """
        return self._replace(mapping, default, strict=False)

    def replace_strict(self, mapping: Mapping[Any, Any], default: Any = ...) -> Expr:
        """As `replace`, but the result has the type of the new values: a value that is no key fails the run, or is ``default``.
        Null stays null, unless there is a default or a key None."""
        return self._replace(mapping, default, strict=True)

    def _replace(self, mapping: Mapping[Any, Any], default: Any, strict: bool) -> Expr:
        last = () if default is ... else (default,)
        return self._call("replace", *mapping.keys(), *mapping.values(), *last, n=len(mapping), strict=strict)

    def hash(self) -> Expr:
        """64 bits (uint64) of BLAKE2b of the bytes, or of the UTF-8 of the value as text: the same everywhere and in every version.

        Made in Python, about a microsecond a value. Null stays null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"id": "a"}, {"id": "b"}]).select(test=col("id").hash() % 10 < 2).collect()
        [{'test': ...}, {'test': ...}]
        """
        return self._call("hash")

    def cast(self, to: Any, strict: bool = True) -> Expr:
        """The value as another type: ``int``, ``"int32"``, ``"decimal(15, 2)"``, an Arrow type.

        A value that has no such form fails the run, or becomes null with ``strict=False``.
        """
        return Expr(Cast(self.node, type_from(to), strict))

    def alias(self, name: str) -> Expr:
        """The same under another name."""
        return Expr(Alias(self.node, name))

    def apply(self, fn: Callable[[Any], Any], returns: Any) -> Expr:
        """A Python function of every value; ``returns`` is the type of its results."""
        return Expr(Apply(fn, (self.node,), type_from(returns)))

    # -- order

    def asc(self, nulls_last: bool = False) -> Expr:
        """As a sort key: ascending."""
        return _SortExpr(SortKey(self.node, False, nulls_last))

    def desc(self, nulls_last: bool = False) -> Expr:
        """As a sort key: descending."""
        return _SortExpr(SortKey(self.node, True, nulls_last))

    # -- namespaces

    @property
    def str(self) -> Strings:
        """Operations on text."""
        from dataflow.expr.strings import Strings

        return Strings(self)

    @property
    def dt(self) -> Times:
        """Operations on dates, times and durations."""
        from dataflow.expr.times import Times

        return Times(self)

    @property
    def list(self) -> Lists:
        """Operations on lists."""
        from dataflow.expr.lists import Lists

        return Lists(self)

    @property
    def struct(self) -> Structs:
        """Operations on structs."""
        from dataflow.expr.structs import Structs

        return Structs(self)

    @property
    def map(self) -> Maps:
        """Operations on maps."""
        from dataflow.expr.maps import Maps

        return Maps(self)

    @property
    def bin(self) -> Binary:
        """Operations on bytes."""
        from dataflow.expr.binary import Binary

        return Binary(self)


class _SortExpr(Sorted, Expr):
    """An expression that knows its direction, good as a sort key only."""

    __slots__ = ()


Built._made = Expr
