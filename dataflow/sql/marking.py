"""The parser with a memory: every operand, table, join and set operation knows the word at which it begins.

sqlglot itself marks names, literals, stars and some functions. An error about `CURRENT_DATE`, a placeholder, a CASE or a join would
else point at whatever marked word is near. What the parser reads otherwise than DuckDB is put right here as well.

    select a, case when … end from t left join u …
              ^                      ^
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

__all__ = ["MarkingParser"]


class MarkingParser(DuckDB.Parser):  # type: ignore[misc, valid-type]
    """DuckDB's, in which each method marks what it read with the word that came first."""

    def _parse_unary(self) -> exp.Expr | None:
        first = self._curr
        return _marked(super()._parse_unary(), first)

    def _parse_type(self, *args: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        found = super()._parse_type(*args, **options)
        return _of_the_constant(found) if first and first.token_type in self.TYPE_TOKENS else found

    def _parse_select(self, *args: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        return _marked(super()._parse_select(*args, **options), first)

    def _parse_table(self, *args: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        return _marked(super()._parse_table(*args, **options), first)

    def _parse_table_sample(self, *args: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        return _marked(super()._parse_table_sample(*args, **options), first)

    def _parse_pivot(self) -> exp.Expr | None:
        first = self._curr
        return _marked(super()._parse_pivot(), first)

    def _parse_lateral(self) -> exp.Expr | None:
        first = self._curr
        return _marked(super()._parse_lateral(), first)

    def _parse_join(self, *args: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        found = super()._parse_join(*args, **options)
        return found if first is None or first.token_type == TokenType.COMMA else _marked(found, first)

    def _parse_limit(self, *args: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        found = super()._parse_limit(*args, **options)  # what it was given, where no LIMIT follows
        return _marked(found, first) if isinstance(found, (exp.Limit, exp.Fetch)) else found

    def parse_set_operation(self, *args: Any, **options: Any) -> exp.Expr | None:
        first = self._curr
        found = super().parse_set_operation(*args, **options)
        if found is not None:  # it stands between its sides, the first of which begins before it
            found.meta["at"] = _place(first)
        return found

    @property
    def place(self) -> tuple[int, int]:
        """Line and column of the word that is read next, or of the last."""
        word = self._curr or self._prev
        return _place(word) if word else (1, 1)


def _place(token: Token) -> tuple[int, int]:
    return token.line, max(1, token.col - (token.end - token.start))


def _of_the_constant(found: exp.Expr | None) -> exp.Expr | None:
    """DATE '2000-02-29'::TIMESTAMP casts the date. The parser has cast the text first, and what that gave to a date."""
    casts: list[exp.Expr] = []
    one: Any = found
    while isinstance(one, exp.Cast):
        casts.append(one)
        one = one.this
    if len(casts) < 2 or not (isinstance(one, exp.Literal) and one.is_string):
        return found
    first, last = casts[0], casts[-1]
    last.set("this", first)
    first.set("this", one)
    return casts[1]


def _marked(found: exp.Expr | None, first: Token | None) -> exp.Expr | None:
    """The node, marked if it is not; what begins before ``first`` (a table that was there) is left alone."""
    if found is not None and first and "start" not in found.meta:
        found.update_positions(first)
    return found
