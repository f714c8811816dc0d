"""`SqlError`: what is wrong in a SQL text, where, and what to write instead. And the place of a part of the text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

from dataflow.errors import nearest

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["SqlError", "did_you_mean", "place_of", "refuse"]


LONGEST = 400


class SqlError(Exception):
    """A SQL text that means nothing here. ``line`` and ``column`` count from 1; ``hint`` says what to use instead.

    >>> print(SqlError("there is no column 'prize'", 2, 8, "did you mean 'price'?"))
    there is no column 'prize' (line 2, column 8); did you mean 'price'?
    """

    def __init__(self, sentence: str, line: int = 1, column: int = 1, hint: str = "") -> None:
        super().__init__(sentence, line, column, hint)
        self.sentence, self.line, self.column, self.hint = _short(sentence), line, column, _short(hint)

    def __str__(self) -> str:
        text = f"{self.sentence} (line {self.line}, column {self.column})"
        return f"{text}; {self.hint}" if self.hint else text


def _short(text: str) -> str:
    """A name in the text may be as long as the text."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 4 :]}"


def place_of(node: exp.Expr | None) -> tuple[int, int]:
    """Line and column where a part of the text begins: its own mark (`marking`), else its first word that has one, else that of
    what is around it. Marks hold the column where a word ends."""
    while node is not None:
        if (at := node.meta.get("at")) is not None:
            line, column = at
            return line, column
        marks = [node.meta] if "start" in node.meta else [one.meta for one in node.walk() if "start" in one.meta and one.key != "star"]
        if marks:
            first = min(marks, key=lambda mark: mark["start"])
            return first["line"], max(1, first["col"] - (first["end"] - first["start"]))
        node = node.parent
    return 1, 1


def refuse(node: exp.Expr | None, sentence: str, hint: str = "") -> NoReturn:
    """The error that a part of the text is."""
    line, column = place_of(node)
    raise SqlError(sentence, line, column, hint)


def did_you_mean(name: str, known: Iterable[str], what: str) -> str:
    """A hint that names the closest of what there is, else all."""
    names = list(dict.fromkeys(known))
    folded = {one.lower(): one for one in names}
    if (close := nearest(name.lower(), folded)) is not None:
        return f"did you mean {folded[close]!r}?"
    return f"{what}: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}" if names else f"there are no {what}"
