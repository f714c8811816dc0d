"""``.str``: operations on text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Strings"]


class Strings:
    """Operations on text, as ``col("x").str``."""

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, operation: str, *args: Any, **options: Any) -> Expr:
        return self._expr._call(f"str.{operation}", *args, **options)

    def contains(self, pattern: str, *, literal: bool = False) -> Expr:
        """Whether the regular expression (or the text itself, if ``literal``) occurs."""
        return self._call("contains", pattern=pattern, literal=literal)

    def starts_with(self, prefix: Any) -> Expr:
        return self._call("starts_with", prefix)

    def ends_with(self, suffix: Any) -> Expr:
        return self._call("ends_with", suffix)

    def like(self, pattern: str, escape: str | None = None) -> Expr:
        """SQL's LIKE: % is any text, _ any character."""
        return self._call("like", pattern=pattern, escape=escape)

    def len_chars(self) -> Expr:
        return self._call("len_chars")

    def len_bytes(self) -> Expr:
        return self._call("len_bytes")

    def to_lowercase(self) -> Expr:
        return self._call("to_lowercase")

    def to_uppercase(self) -> Expr:
        return self._call("to_uppercase")

    def strip_chars(self, characters: str | None = None) -> Expr:
        """Without these characters (white space by default) at both ends."""
        return self._call("strip_chars", characters=characters)

    def strip_chars_start(self, characters: str | None = None) -> Expr:
        return self._call("strip_chars_start", characters=characters)

    def strip_chars_end(self, characters: str | None = None) -> Expr:
        return self._call("strip_chars_end", characters=characters)

    def slice(self, offset: int, length: int | None = None) -> Expr:
        """Characters from ``offset`` (counted from the end if negative)."""
        return self._call("slice", offset=offset, length=length)

    def replace(self, pattern: str, value: str, *, literal: bool = False) -> Expr:
        """The first match of the regular expression replaced; $1 in ``value`` is its first group."""
        return self._call("replace", pattern=pattern, value=value, literal=literal)

    def replace_all(self, pattern: str, value: str, *, literal: bool = False) -> Expr:
        return self._call("replace_all", pattern=pattern, value=value, literal=literal)

    def extract(self, pattern: str, group: int = 1) -> Expr:
        """A group of the regular expression's first match, null if there is none."""
        return self._call("extract", pattern=pattern, group=group)

    def split(self, by: str) -> Expr:
        """The parts between occurrences of ``by``, as a list."""
        return self._call("split", by=by)

    def concat(self, *others: Any) -> Expr:
        """This and the others put together."""
        return self._call("concat", *others)
