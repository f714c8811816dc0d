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
        """How many items, null ones too."""
        return self._call("len")

    def get(self, index: int) -> Expr:
        """The item at that place, counted from the end if negative; null if there is none."""
        return self._call("get", index=index)

    def first(self) -> Expr:
        """The first item, null of an empty list."""
        return self._call("first")

    def last(self) -> Expr:
        """The last item, null of an empty list."""
        return self._call("last")

    def slice(self, offset: int, length: int | None = None) -> Expr:
        """Items from ``offset`` (counted from the end if negative)."""
        return self._call("slice", offset=offset, length=length)

    def contains(self, item: Any) -> Expr:
        """Whether this item is among them; null is looked for like any value.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"x": [1, 2], "y": 2}, {"x": [], "y": 2}]).select(there=col("x").list.contains(col("y"))).collect()
        [{'there': True}, {'there': False}]
        """
        return self._call("contains", item)

    def sort(self, *, descending: bool = False, nulls_last: bool = False) -> Expr:
        """The items in order."""
        return self._call("sort", descending=descending, nulls_last=nulls_last)

    def reverse(self) -> Expr:
        """The items from the last to the first."""
        return self._call("reverse")

    def unique(self) -> Expr:
        """Each different item once, where it stands first."""
        return self._call("unique")

    def n_unique(self) -> Expr:
        """How many different items; null is not counted."""
        return self._call("n_unique")

    def drop_nulls(self) -> Expr:
        """The items that are not null."""
        return self._call("drop_nulls")

    def concat(self, *others: Any) -> Expr:
        """The items of this list and of the others behind each other; null if one of the lists is."""
        return self._call("concat", *others)

    def join(self, separator: str = "") -> Expr:
        """Texts put together, null ones left out."""
        return self._call("join", separator=separator)

    def sum(self) -> Expr:
        """The sum, 0 of nothing."""
        return self._call("sum")

    def mean(self) -> Expr:
        """The mean, null of nothing."""
        return self._call("mean")

    def min(self) -> Expr:
        """The least item."""
        return self._call("min")

    def max(self) -> Expr:
        """The greatest item."""
        return self._call("max")

    def any(self) -> Expr:
        """Whether one item is true."""
        return self._call("any")

    def all(self) -> Expr:
        """Whether no item is false."""
        return self._call("all")
