"""``.list``: operations on lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Lists"]


class Lists:
    """Operations on lists, as ``col("x").list``. Aggregates treat null items as those of columns do."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"list.{operation}", *args, **options)

    def len(self) -> Expr:
        """How many items, null ones too.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, None]}, {"x": []}]).select(n=col("x").list.len()).collect()
        [{'n': 2}, {'n': 0}]
        """
        return self._call("len")

    def get(self, index: int) -> Expr:
        """The item at that place, counted from the end if negative; null if there is none.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2]}, {"x": []}]).select(a=col("x").list.get(0), z=col("x").list.get(-1)).collect()
        [{'a': 1, 'z': 2}, {'a': None, 'z': None}]
        """
        return self._call("get", index=index)

    def first(self) -> Expr:
        """The first item, null of an empty list.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2]}, {"x": []}]).select(a=col("x").list.first()).collect()
        [{'a': 1}, {'a': None}]
        """
        return self._call("first")

    def last(self) -> Expr:
        """The last item, null of an empty list.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2]}, {"x": []}]).select(z=col("x").list.last()).collect()
        [{'z': 2}, {'z': None}]
        """
        return self._call("last")

    def slice(self, offset: int, length: int | None = None) -> Expr:
        """Items from ``offset`` (counted from the end if negative).

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2, 3]}]).select(a=col("x").list.slice(1), b=col("x").list.slice(-2, 1)).collect()
        [{'a': [2, 3], 'b': [2]}]
        """
        return self._call("slice", offset=offset, length=length)

    def contains(self, item: Any) -> Expr:
        """Whether this item is among them; null is looked for like any value.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2], "y": 2}, {"x": [], "y": 2}]).select(there=col("x").list.contains(col("y"))).collect()
        [{'there': True}, {'there': False}]
        """
        return self._call("contains", item)

    def sort(self, *, descending: bool = False, nulls_last: bool = False) -> Expr:
        """The items in order.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [2, None, 3]}]).select(x=col("x").list.sort(descending=True, nulls_last=True)).collect()
        [{'x': [3, 2, None]}]
        """
        return self._call("sort", descending=descending, nulls_last=nulls_last)

    def reverse(self) -> Expr:
        """The items from the last to the first.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2]}]).select(x=col("x").list.reverse()).collect()
        [{'x': [2, 1]}]
        """
        return self._call("reverse")

    def unique(self) -> Expr:
        """Each different item once, where it stands first.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [2, 1, 2]}]).select(x=col("x").list.unique()).collect()
        [{'x': [2, 1]}]
        """
        return self._call("unique")

    def n_unique(self) -> Expr:
        """How many different items; null is not counted.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [2, 1, 2, None]}]).select(n=col("x").list.n_unique()).collect()
        [{'n': 2}]
        """
        return self._call("n_unique")

    def drop_nulls(self) -> Expr:
        """The items that are not null.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, None]}]).select(x=col("x").list.drop_nulls()).collect()
        [{'x': [1]}]
        """
        return self._call("drop_nulls")

    def concat(self, *others: Any) -> Expr:
        """The items of this list and of the others behind each other; null if one of the lists is.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1], "y": [2, 3]}]).select(x=col("x").list.concat(col("y"))).collect()
        [{'x': [1, 2, 3]}]
        """
        return self._call("concat", *others)

    def join(self, separator: str = "") -> Expr:
        """Texts put together, null ones left out.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": ["a", None, "b"]}]).select(s=col("x").list.join("-")).collect()
        [{'s': 'a-b'}]
        """
        return self._call("join", separator=separator)

    def sum(self) -> Expr:
        """The sum, 0 of nothing.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2]}, {"x": []}]).select(s=col("x").list.sum()).collect()
        [{'s': 3}, {'s': 0}]
        """
        return self._call("sum")

    def mean(self) -> Expr:
        """The mean, null of nothing.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2]}, {"x": []}]).select(m=col("x").list.mean()).collect()
        [{'m': 1.5}, {'m': None}]
        """
        return self._call("mean")

    def min(self) -> Expr:
        """The least item.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [2, 1, None]}]).select(m=col("x").list.min()).collect()
        [{'m': 1}]
        """
        return self._call("min")

    def max(self) -> Expr:
        """The greatest item.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [2, 1, None]}]).select(m=col("x").list.max()).collect()
        [{'m': 2}]
        """
        return self._call("max")

    def any(self) -> Expr:
        """Whether one item is true.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [False, True]}, {"x": []}]).select(y=col("x").list.any()).collect()
        [{'y': True}, {'y': False}]
        """
        return self._call("any")

    def all(self) -> Expr:
        """Whether no item is false.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [False, True]}, {"x": []}]).select(y=col("x").list.all()).collect()
        [{'y': False}, {'y': True}]
        """
        return self._call("all")
