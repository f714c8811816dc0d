"""What text says, as another type: dates, numbers, JSON, bytes, the parts of an address. Part of ``.str``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dataflow.expr.types import type_from

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Parsing"]

_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*"


class Parsing:
    """Operations that read text."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"str.{operation}", *args, **options)

    # -- to other types

    def to_date(self, format: str = "%Y-%m-%d", *, strict: bool = True) -> Expr:
        """A date in chrono's format, as strftime's. A text of another form fails the run, or is null if not ``strict``.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "31.01.2024"}, {"s": "?"}]).select(d=col("s").str.to_date("%d.%m.%Y", strict=False)).collect()
        [{'d': datetime.date(2024, 1, 31)}, {'d': None}]
        """
        return self._call("to_date", format=format, strict=strict)

    def to_datetime(self, format: str, zone: str | None = None, *, unit: str = "us", strict: bool = True) -> Expr:
        """A datetime, of that zone if one is given: the clock there, or with %z in the format an instant.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "2024-03-31 12:00"}]).select(t=col("s").str.to_datetime("%Y-%m-%d %H:%M")).collect()
        [{'t': datetime.datetime(2024, 3, 31, 12, 0)}]
        """
        return self._call("to_datetime", format=format, zone=zone, unit=unit, strict=strict)

    def to_time(self, format: str = "%H:%M:%S", *, strict: bool = True) -> Expr:
        """A time of day.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "07:30:00"}]).select(t=col("s").str.to_time()).collect()
        [{'t': datetime.time(7, 30)}]
        """
        return self._call("to_time", format=format, strict=strict)

    def to_integer(self, base: int = 10, *, strict: bool = True) -> Expr:
        """An int64 written in this base, without a prefix: ``to_integer(16)`` of "ff" is 255.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "ff"}, {"s": "?"}]).select(n=col("s").str.to_integer(16, strict=False)).collect()
        [{'n': 255}, {'n': None}]
        """
        return self._call("to_integer", base=base, strict=strict)

    def to_decimal(self, precision: int, scale: int, *, strict: bool = True) -> Expr:
        """A decimal, rounded to ``scale`` digits.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "1.239"}]).select(d=col("s").str.to_decimal(10, 2)).collect()
        [{'d': Decimal('1.24')}]
        """
        return self._expr.cast(f"decimal({precision}, {scale})", strict)

    def json_path_match(self, path: str) -> Expr:
        """The value at a JSONPath as text, null if there is none or the text is no JSON.

        >>> from dataflow import Pipeline, col
        >>> rows = Pipeline().create([{"s": '{"user": {"id": 7}}'}, {"s": "{}"}])
        >>> rows.select(id=col("s").str.json_path_match("$.user.id").cast("int64")).collect()
        [{'id': 7}, {'id': None}]
        """
        return self._call("json_path_match", path=path)

    def json_decode(self, to: Any) -> Expr:
        """The JSON as a value of that type; a field that is missing is null, what does not fit fails the run.

        >>> from dataflow.expr.types import INT64, STRING, list_of, struct_of
        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": '{"id": 7, "tags": ["a"]}'}]).select(
        ...     v=col("s").str.json_decode(struct_of({"id": INT64, "tags": list_of(STRING)}))).collect()
        [{'v': {'id': 7, 'tags': ['a']}}]
        """
        return self._call("json_decode", to=type_from(to))

    def decode(self, encoding: str, *, strict: bool = True) -> Expr:
        """The bytes written as "hex" or "base64".

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "616263"}]).select(b=col("s").str.decode("hex")).collect()
        [{'b': b'abc'}]
        """
        return self._call("decode", encoding=encoding, strict=strict)

    def digest(self, algorithm: str = "sha256") -> Expr:
        """A cryptographic digest of the text as UTF-8, in hex: "md5", "sha1", "sha256", "sha512" or "blake2b". `Expr.hash` is a number.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "abc"}]).select(d=col("s").str.digest("md5")).collect()
        [{'d': '900150983cd24fb0d6963f7d28e17f72'}]
        """
        return self._call("digest", algorithm=algorithm)

    # -- addresses

    def _found(self, pattern: str) -> Expr:
        return self._call("extract", pattern=pattern, group=1)

    def url_scheme(self) -> Expr:
        """``https`` of an address.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"u": "https://example.org/a"}]).select(s=col("u").str.url_scheme()).collect()
        [{'s': 'https'}]
        """
        return self._found(f"^({_SCHEME})://")

    def url_host(self) -> Expr:
        """``example.org`` of an address, without user and port.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"u": "https://me@example.org:8080/a?q=1#x"}]).select(
        ...     host=col("u").str.url_host(), path=col("u").str.url_path(), q=col("u").str.url_parameter("q")).collect()
        [{'host': 'example.org', 'path': '/a', 'q': '1'}]
        """
        return self._found(f"^{_SCHEME}://(?:[^/?#@]*@)?(\\[[^\\]]*\\]|[^/?#:]*)")

    def url_path(self) -> Expr:
        """The path of an address, as it is written.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"u": "https://example.org/a/b?q=1"}]).select(p=col("u").str.url_path()).collect()
        [{'p': '/a/b'}]
        """
        return self._found(f"^{_SCHEME}://[^/?#]*([^?#]*)")

    def url_parameter(self, name: str) -> Expr:
        """The first value of a query parameter, as it is written; null if there is none.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"u": "https://example.org/?a=1&q=x%20y&q=z"}]).select(
        ...     q=col("u").str.url_parameter("q"), z=col("u").str.url_parameter("z")).collect()
        [{'q': 'x%20y', 'z': None}]
        """
        return self._found(f"^[^?#]*\\?(?:[^#]*?&)??{re.escape(name)}=([^&#]*)")
