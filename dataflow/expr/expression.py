"""`Expr`: the methods a user types on columns, spelled as in Polars. Each makes a new expression; nothing is computed.

>>> from dataflow import col
>>> (col("price") * (1 - col("discount"))).sum().alias("revenue")
<Expr (col('price') * (1 - col('discount'))).sum().alias('revenue')>
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dataflow.expr.nodes import (
    Aggregate,
    Alias,
    Apply,
    Call,
    Cast,
    ExprNode,
    Frame,
    Literal,
    Ranking,
    SortKey,
    Window,
    show,
)  # fmt: skip
from dataflow.expr.types import type_from

if TYPE_CHECKING:
    from dataflow.expr.binary import Binary
    from dataflow.expr.lists import Lists
    from dataflow.expr.maps import Maps
    from dataflow.expr.strings import Strings
    from dataflow.expr.structs import Structs
    from dataflow.expr.times import Times

__all__ = ["Expr", "as_node", "as_nodes", "sort_keys"]


class Expr:
    """A deferred value for every row, or of many rows. Made by `col`, `lit`, `when` and the methods here."""

    __slots__ = ("node",)
    __hash__ = None  # type: ignore[assignment]  # `==` makes an expression, so expressions are no keys

    def __init__(self, node: ExprNode) -> None:
        self.node = node

    def __repr__(self) -> str:
        return f"<Expr {show(self.node)}>"

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value: use & | ~ with brackets, instead of and, or, not, and is_between for a < x < b")

    def __iter__(self) -> Any:
        raise TypeError("an expression is not a sequence; a collection's values are seen with collect()")

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return Expr(Call(operation, (self.node, *map(as_node, args)), tuple(options.items())))

    def _aggregate(self, function: str, *args: Any, **options: Any) -> Expr:
        return Expr(Aggregate(function, (self.node, *map(as_node, args)), options=tuple(options.items())))

    # -- arithmetic

    def __add__(self, other: Any) -> Expr:
        return self._call("add", other)

    def __radd__(self, other: Any) -> Expr:
        return Expr(as_node(other))._call("add", self)

    def __sub__(self, other: Any) -> Expr:
        return self._call("subtract", other)

    def __rsub__(self, other: Any) -> Expr:
        return Expr(as_node(other))._call("subtract", self)

    def __mul__(self, other: Any) -> Expr:
        return self._call("multiply", other)

    def __rmul__(self, other: Any) -> Expr:
        return Expr(as_node(other))._call("multiply", self)

    def __truediv__(self, other: Any) -> Expr:
        return self._call("divide", other)

    def __rtruediv__(self, other: Any) -> Expr:
        return Expr(as_node(other))._call("divide", self)

    def __floordiv__(self, other: Any) -> Expr:
        return self._call("floor_divide", other)

    def __rfloordiv__(self, other: Any) -> Expr:
        return Expr(as_node(other))._call("floor_divide", self)

    def __mod__(self, other: Any) -> Expr:
        return self._call("modulo", other)

    def __rmod__(self, other: Any) -> Expr:
        return Expr(as_node(other))._call("modulo", self)

    def __pow__(self, other: Any) -> Expr:
        return self._call("power", other)

    def __neg__(self) -> Expr:
        return self._call("negate")

    def __abs__(self) -> Expr:
        return self._call("abs")

    def abs(self) -> Expr:
        return self._call("abs")

    def round(self, decimals: int = 0) -> Expr:
        """Halves go away from zero, as in SQL."""
        return self._call("round", decimals=decimals)

    def floor(self) -> Expr:
        return self._call("floor")

    def ceil(self) -> Expr:
        return self._call("ceil")

    def sqrt(self) -> Expr:
        return self._call("sqrt")

    def exp(self) -> Expr:
        return self._call("exp")

    def log(self, base: float | None = None) -> Expr:
        """The logarithm, natural by default."""
        return self._call("log", base=base)

    def sign(self) -> Expr:
        return self._call("sign")

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
        return Expr(as_node(other))._call("and", self)

    def __or__(self, other: Any) -> Expr:
        return self._call("or", other)

    def __ror__(self, other: Any) -> Expr:
        return Expr(as_node(other))._call("or", self)

    def __xor__(self, other: Any) -> Expr:
        return self._call("xor", other)

    def __invert__(self) -> Expr:
        return self._call("not")

    # -- null, NaN, types, names

    def is_null(self) -> Expr:
        return self._call("is_null")

    def is_not_null(self) -> Expr:
        return self._call("is_not_null")

    def is_nan(self) -> Expr:
        return self._call("is_nan")

    def is_finite(self) -> Expr:
        return self._call("is_finite")

    def fill_null(self, value: Any) -> Expr:
        return self._call("coalesce", value)

    def fill_nan(self, value: Any) -> Expr:
        return self._call("fill_nan", value)

    def null_if(self, value: Any) -> Expr:
        """Null where it equals ``value``."""
        return self._call("null_if", value)

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

    # -- aggregates

    def sum(self) -> Expr:
        """The sum, 0 of nothing. An integer sum beyond 64 bits fails the run."""
        return self._aggregate("sum")

    def mean(self) -> Expr:
        return self._aggregate("mean")

    def min(self) -> Expr:
        return self._aggregate("min")

    def max(self) -> Expr:
        return self._aggregate("max")

    def count(self) -> Expr:
        """How many are not null."""
        return self._aggregate("count")

    def len(self) -> Expr:
        """How many rows, null ones too."""
        return Expr(Aggregate("len"))

    def n_unique(self) -> Expr:
        """How many different values; null is not counted."""
        return self._aggregate("n_unique")

    def first(self, order_by: Any = None) -> Expr:
        return self._ordered("first", order_by)

    def last(self, order_by: Any = None) -> Expr:
        return self._ordered("last", order_by)

    def collect(self, order_by: Any = None) -> Expr:
        """All values as a list, null ones too."""
        return self._ordered("collect", order_by)

    def _ordered(self, function: str, order_by: Any) -> Expr:
        return Expr(Aggregate(function, (self.node,), order=sort_keys(order_by) if order_by is not None else ()))

    def any(self) -> Expr:
        return self._aggregate("any")

    def all(self) -> Expr:
        return self._aggregate("all")

    def std(self, ddof: int = 1) -> Expr:
        return self._aggregate("std", ddof=ddof)

    def var(self, ddof: int = 1) -> Expr:
        return self._aggregate("var", ddof=ddof)

    def median(self) -> Expr:
        return self._aggregate("median")

    def quantile(self, q: float, interpolation: str = "linear") -> Expr:
        return self._aggregate("quantile", q=q, interpolation=interpolation)

    def filter(self, predicate: Expr) -> Expr:
        """The aggregate of only those rows for which ``predicate`` is true: ``col("x").sum().filter(col("y") > 1)``."""
        if not isinstance(self.node, Aggregate):
            raise TypeError("filter() on an expression follows an aggregate; a collection's rows are filtered by its own filter()")
        node = self.node
        both = predicate.node if node.where is None else Call("and", (node.where, predicate.node))
        return Expr(Aggregate(node.function, node.args, both, node.order, node.options))

    # -- windows

    def over(
        self, *partition_by: Any, order_by: Any = None, rows: tuple[int | None, int | None] | None = None,
        range: tuple[Any, Any] | None = None,
    ) -> Expr:  # fmt: skip
        """An aggregate or ranking for every row, over the rows with the same ``partition_by``, in ``order_by``.

        ``rows=(-2, 0)``: from two rows before to the current one; None is unbounded. ``range``: the same in values.
        """
        if not isinstance(self.node, (Aggregate, Ranking)):
            raise TypeError("over() follows an aggregate or a ranking: col('x').sum().over('k')")
        frame = Frame("rows", *rows) if rows is not None else Frame("range", *range) if range is not None else None
        keys = sort_keys(order_by) if order_by is not None else ()
        return Expr(Window(self.node, as_nodes(partition_by), keys, frame))

    def shift(self, n: int = 1, fill: Any = None) -> Expr:
        """The value ``n`` rows before (after, if negative) in the window that ``over`` gives it."""
        function = "lag" if n >= 0 else "lead"
        args = (self.node,) if fill is None else (self.node, as_node(fill))
        return Expr(Ranking(function, args, (("n", abs(n)),)))

    lag = shift

    def lead(self, n: int = 1, fill: Any = None) -> Expr:
        return self.shift(-n, fill)

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


class _SortExpr(Expr):
    """An expression that knows its direction, good as a sort key only."""

    __slots__ = ("key",)

    def __init__(self, key: SortKey) -> None:
        super().__init__(key.expr)
        self.key = key


def as_node(value: Any) -> ExprNode:
    """An expression's node; any other value is a literal."""
    if isinstance(value, Expr):
        return value.node
    if isinstance(value, ExprNode):
        return value
    if isinstance(value, (set, frozenset)):
        raise TypeError("a set is no value of a column; is_in takes one")
    return Literal(value)


def as_nodes(values: Any) -> tuple[ExprNode, ...]:
    """Expressions where strings are names of columns: ``"a"``, ``["a", col("b") + 1]``."""
    from dataflow.expr.nodes import Column

    flat: list[Any] = []
    for value in values:
        flat.extend(value if isinstance(value, (list, tuple)) else [value])
    return tuple(Column(value) if isinstance(value, str) else as_node(value) for value in flat)


def sort_keys(by: Any, descending: bool | Sequence[bool] = False, nulls_last: bool | Sequence[bool] = False) -> tuple[SortKey, ...]:
    """Sort keys from names, expressions and ``.desc()``; ``descending`` and ``nulls_last`` for all or one by one."""
    given = list(by) if isinstance(by, (list, tuple)) else [by]
    down = [descending] * len(given) if isinstance(descending, bool) else list(descending)
    last = [nulls_last] * len(given) if isinstance(nulls_last, bool) else list(nulls_last)
    if not len(given) == len(down) == len(last):
        raise ValueError(f"{len(given)} sort keys, {len(down)} in descending, {len(last)} in nulls_last")
    return tuple(
        one.key if isinstance(one, _SortExpr) else SortKey(as_nodes([one])[0], d, n) for one, d, n in zip(given, down, last, strict=True)
    )
