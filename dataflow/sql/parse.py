"""SQL text -> the syntax tree of one query, with limits on what a text may ask of the parser.

The dialect is DuckDB's. Long texts, deep nesting, several statements and statements that change something are refused before
the parser sees them: a recursive parser given 5,000 brackets would meet the end of Python's stack.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

from dataflow.sql.errors import SqlError, refuse
from dataflow.sql.marking import MarkingParser

__all__ = ["parse"]

MOST_CHARACTERS = 500_000  # the tokenizer takes 17 seconds for a million of the worst kind
MOST_NESTED = 40  # brackets within brackets: the parser takes about 24 Python frames for each, of 1,000
MOST_CHAINED = 120  # operands of one chain of + - * /: later floors walk such a tree recursively
_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
_PREFIX = {TokenType.NOT, TokenType.DASH, TokenType.TILDE, TokenType.PLUS}
_BEGINNINGS = ("SELECT", "WITH", "FROM", "VALUES", "(")
_FLAT = (exp.And, exp.Or, exp.DPipe, exp.SetOperation)  # chains that are built and walked without recursion


def parse(text: str) -> exp.Expr:
    """The one query that the text is."""
    if not isinstance(text, str):
        raise SqlError(f"SQL is a string, not {type(text).__name__}")
    if len(text) > MOST_CHARACTERS:
        hint = "put long lists of values into a table and join it"
        raise SqlError(f"this SQL is {len(text):,} characters long, more than {MOST_CHARACTERS:,}", hint=hint)
    dialect = Dialect.get_or_raise("duckdb")
    dialect.INDEX_OFFSET = 0  # or it would count items from 0 instead of 1, and those of what it takes for text not
    try:
        tokens = dialect.tokenize(text)
    except TokenError as error:
        raise _not_words(text, error) from None
    tokens = _one_statement(tokens)
    _check_nesting(tokens)
    parser = MarkingParser(dialect=dialect)
    try:
        trees = parser.parse(tokens, text)
    except ParseError as error:
        raise _not_grammar(error) from None
    except RecursionError:
        raise SqlError("this SQL nests too deeply to be read", *parser.place, "name inner queries with WITH") from None
    except (
        AssertionError,
        AttributeError,
        TypeError,
        ValueError,
        IndexError,
        KeyError,
    ) as error:  # the parser meets some malformed texts with these
        raise SqlError(f"this SQL cannot be read: {error}", *parser.place) from None
    tree = trees[0] if trees else None
    if not isinstance(tree, (exp.Query, exp.Values)):
        refuse(tree, "this is not a query", "sql() takes one SELECT; outputs are written with write_parquet() and its like")
    _check_depth(tree)
    return tree


def _at(token: Token) -> tuple[int, int]:
    return token.line, max(1, token.col - (token.end - token.start))


def _one_statement(tokens: list[Token]) -> list[Token]:
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens = tokens[:-1]
    if not tokens:
        raise SqlError("there is no SQL in this text", hint='sql("select …")')
    first = tokens[0]
    if first.text.upper() not in _BEGINNINGS:
        line, column = _at(first)
        hint = "sql() takes one SELECT (or WITH, FROM, VALUES); outputs are written with write_parquet() and its like"
        raise SqlError(f"a query cannot begin with {first.text[:40]!r}", line, column, hint)
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            line, column = _at(token)
            raise SqlError("there is more than one statement in this text", line, column, "call sql() once for each")
    return tokens


def _check_nesting(tokens: list[Token]) -> None:
    depth = run = 0
    for token in tokens:
        kind = token.token_type
        depth += (kind in _OPENING) - (kind in _CLOSING)
        run = run + 1 if kind in _PREFIX else 0
        if depth + run > MOST_NESTED:
            line, column = _at(token)
            hint = "name inner queries with WITH, and leave out brackets that change nothing"
            raise SqlError(f"more than {MOST_NESTED} levels of brackets, CASE, NOT or signs within each other", line, column, hint)


def _check_depth(tree: exp.Expr) -> None:
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > 2 * MOST_CHAINED:
            refuse(node, f"an expression of more than {MOST_CHAINED} operators in a chain", "compute it in parts, in a subquery's columns")
        for child in node.iter_expressions():
            stack.append((child, depth + (not (isinstance(node, _FLAT) and type(child) is type(node)))))


def _not_words(text: str, error: TokenError) -> SqlError:
    """The tokenizer says what is missing, as "Missing ' from 2:8", in the cause."""
    import re

    found = re.search(r"Missing (.+?) from (\d+):(\d+)", f"{error} {error.__cause__ or ''} {error.__context__ or ''}")
    if found:
        return SqlError(f"{found[1]} is opened here and not closed", int(found[2]), max(1, int(found[3])))
    lines = text.splitlines() or [""]
    return SqlError("this text ends inside a string, a name or a comment", len(lines), max(1, len(lines[-1])), "close the quotes")


def _not_grammar(error: ParseError) -> SqlError:
    first: dict[str, Any] = error.errors[0] if error.errors else {}
    word = str(first.get("highlight") or "")
    what = _in_words(str(first.get("description") or error).rstrip(".").splitlines()[0])
    column = int(first.get("col") or 1) - max(0, len(word) - 1)
    sentence = f"SQL syntax: {what[0].lower()}{what[1:]}" if what else "SQL syntax"
    return SqlError(f"{sentence}, at {word[:40]!r}" if word else sentence, int(first.get("line") or 1), max(1, column))


def _in_words(said: str) -> str:
    """What the parser says, without its classes: "required keyword: 'this' missing for <class …>" names no word of the text."""
    if said.startswith("Required keyword"):
        return "an operand or a name is missing"
    said = said.split(" but got ")[0]
    return "unexpected word" if "Unexpected token" in said else said or "unexpected word"
