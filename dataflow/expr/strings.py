"""``.str``: operations on text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflow.expr.types import type_from

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Strings"]

_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*"


class Strings:
    """Operations on text, as ``col("x").str``. Lengths and places are counted in characters (code points)."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"str.{operation}", *args, **options)

    # -- searching

    def contains(self, pattern: str, *, literal: bool = False) -> Expr:
        """Whether the regular expression (or the text itself, if ``literal``) occurs."""
        return self._call("contains", pattern=pattern, literal=literal)

    def starts_with(self, prefix: Any) -> Expr:
        """Whether it begins with this text, or with that of another column."""
        return self._call("starts_with", prefix)

    def ends_with(self, suffix: Any) -> Expr:
        """Whether it ends with this text, or with that of another column."""
        return self._call("ends_with", suffix)

    def like(self, pattern: str, escape: str | None = None) -> Expr:
        """SQL's LIKE: % is any text, _ any character."""
        return self._call("like", pattern=pattern, escape=escape)

    def find(self, text: Any) -> Expr:
        """The place, from 0, at which a text occurs first; null if it does not.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "déjà vu"}, {"s": "vu"}]).select(at=col("s").str.find("à"), n=col("s").str.find("v")).collect()
        [{'at': 3, 'n': 5}, {'at': None, 'n': 0}]
        """
        return self._call("find", text)

    def count_matches(self, pattern: str, *, literal: bool = False) -> Expr:
        """How often the regular expression (or the text) occurs, without overlaps."""
        return self._call("count_matches", pattern=pattern, literal=literal)

    def extract(self, pattern: str, group: int = 1) -> Expr:
        """A group of the regular expression's first match, null if there is none.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "v1.20"}]).select(minor=col("s").str.extract(r"v(\\d+)\\.(\\d+)", 2)).collect()
        [{'minor': '20'}]
        """
        return self._call("extract", pattern=pattern, group=group)

    def extract_all(self, pattern: str) -> Expr:
        """All matches of the regular expression, as a list.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "a1b22"}]).select(n=col("s").str.extract_all("[0-9]+")).collect()
        [{'n': ['1', '22']}]
        """
        return self._call("extract_all", pattern=pattern)

    # -- size and parts

    def len_chars(self) -> Expr:
        """How many characters."""
        return self._call("len_chars")

    def len_bytes(self) -> Expr:
        """How many bytes in UTF-8."""
        return self._call("len_bytes")

    def slice(self, offset: int, length: int | None = None) -> Expr:
        """Characters from ``offset`` (counted from the end if negative)."""
        return self._call("slice", offset=offset, length=length)

    def head(self, n: int = 5) -> Expr:
        """The first ``n`` characters; all but the last ``-n`` if negative."""
        return self._call("head", n=n)

    def tail(self, n: int = 5) -> Expr:
        """The last ``n`` characters; all but the first ``-n`` if negative."""
        return self._call("tail", n=n)

    def split(self, by: str) -> Expr:
        """The parts between occurrences of ``by``, as a list."""
        return self._call("split", by=by)

    # -- changing

    def to_lowercase(self) -> Expr:
        """In small letters."""
        return self._call("to_lowercase")

    def to_uppercase(self) -> Expr:
        """In capitals."""
        return self._call("to_uppercase")

    def to_titlecase(self) -> Expr:
        """Words with a capital first; a word begins behind anything that is no letter."""
        return self._call("to_titlecase")

    def strip_chars(self, characters: str | None = None) -> Expr:
        """Without these characters (white space by default) at both ends."""
        return self._call("strip_chars", characters=characters)

    def strip_chars_start(self, characters: str | None = None) -> Expr:
        """Without these characters (white space by default) at the beginning."""
        return self._call("strip_chars_start", characters=characters)

    def strip_chars_end(self, characters: str | None = None) -> Expr:
        """Without these characters (white space by default) at the end."""
        return self._call("strip_chars_end", characters=characters)

    def strip_prefix(self, prefix: str) -> Expr:
        """Without this text at the beginning, once."""
        return self._call("strip_prefix", prefix=prefix)

    def strip_suffix(self, suffix: str) -> Expr:
        """Without this text at the end, once."""
        return self._call("strip_suffix", suffix=suffix)

    def replace(self, pattern: str, value: str, *, literal: bool = False) -> Expr:
        """The first match of the regular expression replaced; $1 in ``value`` is its first group.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "2024-03"}]).select(s=col("s").str.replace(r"(\\d+)-(\\d+)", "$2/$1")).collect()
        [{'s': '03/2024'}]
        """
        return self._call("replace", pattern=pattern, value=value, literal=literal)

    def replace_all(self, pattern: str, value: str, *, literal: bool = False) -> Expr:
        """Every match of the regular expression replaced."""
        return self._call("replace_all", pattern=pattern, value=value, literal=literal)

    def pad_start(self, length: int, fill: str = " ") -> Expr:
        """At least ``length`` characters long, filled at the beginning."""
        return self._call("pad_start", length=length, fill=fill)

    def pad_end(self, length: int, fill: str = " ") -> Expr:
        """At least ``length`` characters long, filled at the end."""
        return self._call("pad_end", length=length, fill=fill)

    def zfill(self, length: int) -> Expr:
        """At least ``length`` characters long, filled with zeros behind a sign."""
        return self._call("zfill", length=length)

    def repeat(self, times: Any) -> Expr:
        """This many times behind each other."""
        return self._call("repeat", times)

    def reverse(self) -> Expr:
        """From the end to the beginning; accents stay with their letters."""
        return self._call("reverse")

    def concat(self, *others: Any) -> Expr:
        """This and the others put together; null if one of them is."""
        return self._call("concat", *others)

    def normalize(self, form: str = "NFC") -> Expr:
        """In a Unicode normal form: "NFC", "NFD", "NFKC", "NFKD". Texts that look equal then are.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "ﬁn ²"}]).select(s=col("s").str.normalize("NFKC")).collect()
        [{'s': 'fin 2'}]
        """
        return self._call("normalize", form=form)

    def escape_regex(self) -> Expr:
        """As a regular expression that matches just this text."""
        return self._call("escape_regex")

    # -- to other types

    def to_date(self, format: str = "%Y-%m-%d", *, strict: bool = True) -> Expr:
        """A date in chrono's format, as strftime's. A text of another form fails the run, or is null if not ``strict``.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "31.01.2024"}, {"s": "?"}]).select(d=col("s").str.to_date("%d.%m.%Y", strict=False)).collect()
        [{'d': datetime.date(2024, 1, 31)}, {'d': None}]
        """
        return self._call("to_date", format=format, strict=strict)

    def to_datetime(self, format: str, zone: str | None = None, *, unit: str = "us", strict: bool = True) -> Expr:
        """A datetime, of that zone if one is given: the clock there, or with %z in the format an instant."""
        return self._call("to_datetime", format=format, zone=zone, unit=unit, strict=strict)

    def to_time(self, format: str = "%H:%M:%S", *, strict: bool = True) -> Expr:
        """A time of day."""
        return self._call("to_time", format=format, strict=strict)

    def to_integer(self, base: int = 10, *, strict: bool = True) -> Expr:
        """An int64 written in this base, without a prefix: ``to_integer(16)`` of "ff" is 255."""
        return self._call("to_integer", base=base, strict=strict)

    def to_decimal(self, precision: int, scale: int, *, strict: bool = True) -> Expr:
        """A decimal, rounded to ``scale`` digits."""
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
        """The JSON as a value of that type; a field that is missing is null, what does not fit fails the run."""
        return self._call("json_decode", to=type_from(to))

    def decode(self, encoding: str, *, strict: bool = True) -> Expr:
        """The bytes written as "hex" or "base64"."""
        return self._call("decode", encoding=encoding, strict=strict)

    # -- addresses

    def url_scheme(self) -> Expr:
        """``https`` of an address."""
        return self.extract(f"^({_SCHEME})://")

    def url_host(self) -> Expr:
        """``example.org`` of an address, without user and port.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"u": "https://me@example.org:8080/a?q=1#x"}]).select(
        ...     host=col("u").str.url_host(), path=col("u").str.url_path(), q=col("u").str.url_parameter("q")).collect()
        [{'host': 'example.org', 'path': '/a', 'q': '1'}]
        """
        return self.extract(f"^{_SCHEME}://(?:[^/?#@]*@)?(\\[[^\\]]*\\]|[^/?#:]*)")

    def url_path(self) -> Expr:
        """The path of an address, as it is written."""
        return self.extract(f"^{_SCHEME}://[^/?#]*([^?#]*)")

    def url_parameter(self, name: str) -> Expr:
        """The first value of a query parameter, as it is written; null if there is none."""
        import re

        return self.extract(f"^[^?#]*\\?(?:[^#]*&)?{re.escape(name)}=([^&#]*)")

    # -- of many rows

    def join(self, separator: str = "", order_by: Any = None) -> Expr:
        """An aggregate: the texts of all rows, those that are null left out, put together; "" of nothing.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "b"}, {"s": "a"}]).group_by().agg(s=col("s").str.join("-", order_by="s")).collect()
        [{'s': 'a-b'}]
        """
        return self._expr._ordered("join", order_by, separator=separator)
