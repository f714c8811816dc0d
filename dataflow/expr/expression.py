"""`Expr`: the methods a user types on columns, spelled as in Polars. Each makes a new expression; nothing is computed.

>>> from dataflow import col
>>> (col("price") * (1 - col("discount"))).sum().alias("revenue")
<Expr (col('price') * (1 - col('discount'))).sum().alias('revenue')>
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dataflow.expr.built import Built, Sorted, as_node, as_nodes, sort_keys
from dataflow.expr.nodes import Alias, Apply, Cast, SortKey, show
from dataflow.expr.operators import Operators
from dataflow.expr.types import type_from
from dataflow.expr.windows import Windows

if TYPE_CHECKING:
    from dataflow.expr.binary import Binary
    from dataflow.expr.lists import Lists
    from dataflow.expr.maps import Maps
    from dataflow.expr.strings import Strings
    from dataflow.expr.structs import Structs
    from dataflow.expr.times import Times

__all__ = ["Expr", "as_node", "as_nodes", "sort_keys"]


class Expr(Operators, Windows):
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
        """Whether it is null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": None}]).select(y=col("x").is_null()).collect()
        [{'y': False}, {'y': False}, {'y': True}]
        """
        return self._call("is_null")

    def is_not_null(self) -> Expr:
        """Whether it is not null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 2}, {"x": None}]).select(y=col("x").is_not_null()).collect()
        [{'y': True}, {'y': True}, {'y': False}]
        """
        return self._call("is_not_null")

    def is_nan(self) -> Expr:
        """Whether it is NaN; null stays null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": float("nan")}, {"x": 1.0}, {"x": None}]).select(y=col("x").is_nan()).collect()
        [{'y': True}, {'y': False}, {'y': None}]
        """
        return self._call("is_nan")

    def is_finite(self) -> Expr:
        """Whether it is neither NaN nor infinite.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": float("inf")}, {"x": 1.0}]).select(y=col("x").is_finite()).collect()
        [{'y': False}, {'y': True}]
        """
        return self._call("is_finite")

    def fill_null(self, value: Any) -> Expr:
        """The value, or another where it is null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": None}]).select(y=col("x").fill_null(0)).collect()
        [{'y': 1}, {'y': 0}]
        """
        return self._call("coalesce", value)

    def fill_nan(self, value: Any) -> Expr:
        """The value, or another where it is NaN.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": float("nan")}, {"x": 1.0}]).select(y=col("x").fill_nan(None)).collect()
        [{'y': None}, {'y': 1.0}]
        """
        return self._call("fill_nan", value)

    def null_if(self, value: Any) -> Expr:
        """Null where it equals ``value``.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "n/a"}, {"x": "7"}]).select(y=col("x").null_if("n/a")).collect()
        [{'y': None}, {'y': '7'}]
        """
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
        Null stays null, unless there is a default or a key None.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}, {"x": 3}]).select(y=col("x").replace_strict({1: "one", 2: "two"}, default="many")).collect()
        [{'y': 'one'}, {'y': 'many'}]
        """
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

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "12"}, {"x": "?"}]).select(y=col("x").cast("int64", strict=False)).collect()
        [{'y': 12}, {'y': None}]
        """
        return Expr(Cast(self.node, type_from(to), strict))

    def alias(self, name: str) -> Expr:
        """The same under another name.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": 1}]).select((col("x") + 1).alias("next")).collect()
        [{'next': 2}]
        """
        return Expr(Alias(self.node, name))

    def apply(self, fn: Callable[[Any], Any], returns: Any) -> Expr:
        """A Python function of every value; ``returns`` is the type of its results.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": "b a"}]).select(y=col("x").apply(lambda text: sorted(text.split()), returns="list[string]")).collect()
        [{'y': ['a', 'b']}]
        """
        return Expr(Apply(fn, (self.node,), type_from(returns)))

    # -- order

    def asc(self, nulls_last: bool = False) -> Expr:
        """As a sort key: ascending.

        >>> from dataflow import Pipeline, col
        >>> rows = Pipeline().create([{"x": 2}, {"x": None}, {"x": 1}])
        >>> rows.sort(col("x").asc(nulls_last=True)).collect()
        [{'x': 1}, {'x': 2}, {'x': None}]
        """
        return _SortExpr(SortKey(self.node, False, nulls_last))

    def desc(self, nulls_last: bool = False) -> Expr:
        """As a sort key: descending.

        >>> from dataflow import Pipeline, col
        >>> rows = Pipeline().create([{"x": 1, "y": 1}, {"x": 1, "y": 2}, {"x": 2, "y": 3}])
        >>> rows.sort([col("x").desc(), "y"]).collect()
        [{'x': 2, 'y': 3}, {'x': 1, 'y': 1}, {'x': 1, 'y': 2}]
        """
        return _SortExpr(SortKey(self.node, True, nulls_last))

    # -- namespaces

    @property
    def str(self) -> Strings:
        """Operations on text.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "Ann"}]).select(s=col("s").str.to_uppercase()).collect()
        [{'s': 'ANN'}]
        """
        from dataflow.expr.strings import Strings

        return Strings(self)

    @property
    def dt(self) -> Times:
        """Operations on dates, times and durations.

        >>> import datetime as dt
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"d": dt.date(2024, 5, 17)}]).select(y=col("d").dt.year()).collect()
        [{'y': 2024}]
        """
        from dataflow.expr.times import Times

        return Times(self)

    @property
    def list(self) -> Lists:
        """Operations on lists.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2]}]).select(n=col("x").list.len()).collect()
        [{'n': 2}]
        """
        from dataflow.expr.lists import Lists

        return Lists(self)

    @property
    def struct(self) -> Structs:
        """Operations on structs.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": {"a": 1}}]).select(col("s").struct.field("a")).collect()
        [{'a': 1}]
        """
        from dataflow.expr.structs import Structs

        return Structs(self)

    @property
    def map(self) -> Maps:
        """Operations on maps.

        >>> import pyarrow as pa
        >>> from dataflow import Pipeline, col
        >>> table = pa.table({"m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))})
        >>> Pipeline().from_arrow(table).select(a=col("m").map.get("a")).collect()
        [{'a': 1}]
        """
        from dataflow.expr.maps import Maps

        return Maps(self)

    @property
    def bin(self) -> Binary:
        """Operations on bytes.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"b": b"abc"}]).select(n=col("b").bin.size()).collect()
        [{'n': 3}]
        """
        from dataflow.expr.binary import Binary

        return Binary(self)


class _SortExpr(Sorted, Expr):
    """An expression that knows its direction, good as a sort key only."""

    __slots__ = ()


Built._made = Expr
