"""``.map``: operations on maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Maps"]


class Maps:
    """Operations on maps, as ``col("x").map``."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"map.{operation}", *args, **options)

    def len(self) -> Expr:
        """How many entries.

        >>> import pyarrow as pa
        >>> from dataflow import Pipeline, col
        >>> table = pa.table({"m": pa.array([[("a", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))})
        >>> Pipeline().from_arrow(table).select(n=col("m").map.len()).collect()
        [{'n': 2}]
        """
        return self._call("len")

    def keys(self) -> Expr:
        """The keys, as a list.

        >>> import pyarrow as pa
        >>> from dataflow import Pipeline, col
        >>> table = pa.table({"m": pa.array([[("a", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))})
        >>> Pipeline().from_arrow(table).select(k=col("m").map.keys()).collect()
        [{'k': ['a', 'b']}]
        """
        return self._call("keys")

    def values(self) -> Expr:
        """The values, as a list in the order of the keys.

        >>> import pyarrow as pa
        >>> from dataflow import Pipeline, col
        >>> table = pa.table({"m": pa.array([[("a", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))})
        >>> Pipeline().from_arrow(table).select(v=col("m").map.values()).collect()
        [{'v': [1, 2]}]
        """
        return self._call("values")

    def get(self, key: Any) -> Expr:
        """The value of a key; null if the map is without it.

        >>> import pyarrow as pa
        >>> from dataflow import Pipeline, col
        >>> table = pa.table({"m": pa.array([[("a", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))})
        >>> Pipeline().from_arrow(table).select(b=col("m").map.get("b"), z=col("m").map.get("z")).collect()
        [{'b': 2, 'z': None}]
        """
        return self._call("get", key)

    def contains_key(self, key: Any) -> Expr:
        """Whether the map has the key.

        >>> import pyarrow as pa
        >>> from dataflow import Pipeline, col
        >>> table = pa.table({"m": pa.array([[("a", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))})
        >>> Pipeline().from_arrow(table).select(b=col("m").map.contains_key("b")).collect()
        [{'b': True}]
        """
        return self._call("contains_key", key)
