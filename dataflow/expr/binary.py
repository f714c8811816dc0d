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
        """How many bytes.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"b": "é".encode()}]).select(n=col("b").bin.size()).collect()
        [{'n': 2}]
        """
        return self._call("size")

    def contains(self, part: Any) -> Expr:
        """Whether these bytes occur.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"b": b"abc"}]).select(y=col("b").bin.contains(b"bc")).collect()
        [{'y': True}]
        """
        return self._call("contains", part)

    def starts_with(self, prefix: Any) -> Expr:
        """Whether it begins with these bytes.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"b": b"PK..."}]).select(zip=col("b").bin.starts_with(b"PK")).collect()
        [{'zip': True}]
        """
        return self._call("starts_with", prefix)

    def ends_with(self, suffix: Any) -> Expr:
        """Whether it ends with these bytes.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"b": b"abc"}]).select(y=col("b").bin.ends_with(b"c")).collect()
        [{'y': True}]
        """
        return self._call("ends_with", suffix)

    def encode(self, encoding: str) -> Expr:
        """As text, in "hex" or "base64"; ``.str.decode`` is the way back, ``.cast(str)`` reads UTF-8.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"b": b"abc"}]).select(h=col("b").bin.encode("hex"), s=col("b").bin.encode("base64")).collect()
        [{'h': '616263', 's': 'YWJj'}]
        """
        return self._call("encode", encoding=encoding)

    def digest(self, algorithm: str = "sha256") -> Expr:
        """A cryptographic digest of the bytes, in hex: "md5", "sha1", "sha256", "sha512" or "blake2b". `Expr.hash` is a number.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"b": b"abc"}]).select(d=col("b").bin.digest("md5")).collect()
        [{'d': '900150983cd24fb0d6963f7d28e17f72'}]
        """
        return self._call("digest", algorithm=algorithm)
