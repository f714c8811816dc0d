"""What cells and keys may hold, the same on every engine: every kind comes back as it was, and what cannot is refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

import pytest

from dataflow.errors import KeyTypeError, TransactionError, TransactionLimitError
from dataflow.txn import Database

VALUES: list[Any] = [
    b"", b"raw\x00\xff", "", "text", "nul \x00 in it", "ünï \U0001f600", "\ud800 alone", 0, -1, 255, 256, -(2**63), 2**200, True, False,
    0.0, -0.0, 1.5, math.inf, -math.inf, [], {}, [1, "a", None, [2.5]], {"a": {"b": [1, None]}, "": "x"}, b"x" * 100_000, "y" * 300,
]  # fmt: skip
REFUSED: list[Any] = [None, object(), {1, 2}, decimal.Decimal("1.5"), dt.date(2020, 1, 1), [math.nan], [b"bytes"], 1j, int]
ROWS: list[Any] = [
    "a", "", "a\x00", "a\x00b", "\x00", "ab", b"", b"a", b"\x00\xff", 0, 1, -1, 2**70, -(2**70), 1.5, -1.5, math.inf, None, (), ("a",),
    ("a", ""), ("a", "b"), ("a", 1), ("a", ("b", None)), ("a\x00", "b"), dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, 12),
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "ü", "\U0001f600",
]  # fmt: skip
COLUMNS = ["x", "", "x\x00", "x\x00y", "xy", "ü"]


def test_values_of_every_kind(db: Database) -> None:
    with db.transaction() as t:
        for number, value in enumerate(VALUES):
            t[number, "x"] = value
            assert same(t[number, "x"], value)
        t["nan", "x"] = math.nan
    with db.snapshot() as s:
        for number, value in enumerate(VALUES):
            assert same(s[number, "x"], value)
        assert math.isnan(s["nan", "x"])
        assert [value for _, value in s.scan(0, len(VALUES))] == VALUES


def same(found: Any, given: Any) -> bool:
    return type(found) is type(given) and found == given and (found != 0 or str(found) == str(given))


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: "an object" if type(value) is object else repr(value))
def test_values_that_are_refused(value: Any) -> None:
    db = Database.open("memory:")
    with pytest.raises(TransactionError, match="a cell cannot hold"), db.transaction() as t:
        t["a", "x"] = value
    assert not list(db.snapshot().scan())


def test_keys_of_every_kind_are_cells_of_their_own(db: Database) -> None:
    wanted = {}
    with db.transaction() as t:
        for number, row in enumerate(ROWS):
            for column in COLUMNS:
                t[row, column] = wanted[row, column] = f"{number} {column}"
    for row, column in wanted:
        db.run(lambda t, row=row, column=column: t.__setitem__((row, column), t[row, column] + "!"))
    with db.snapshot() as s:
        assert {cell: value for cell, value in s.scan()} == {cell: value + "!" for cell, value in wanted.items()}  # noqa: C416
        for row in ROWS:
            assert s.row(row) == {column: wanted[row, column] + "!" for column in COLUMNS}
        rows = [cell[0] for cell, _ in s.scan(column="x")]
        assert rows == [cell[0] for cell, _ in s.scan(column="x", reverse=True)][::-1]
        assert sorted(row for row in rows if type(row) is str) == [row for row in rows if type(row) is str]
    for row, column in wanted:
        db.run(lambda t, row=row, column=column: t.delete(row, column))
    assert not list(db.snapshot().scan())


def test_observers_see_keys_of_every_kind(db: Database) -> None:
    seen = []
    db.observer("x\x00")(lambda t, row, value: seen.append((row, value)))
    with db.transaction() as t:
        for number, row in enumerate(ROWS):
            t[row, "x\x00"] = number
            t[row, "x"] = -1
    assert db.run_observers() == len(ROWS)
    assert sorted(seen, key=lambda found: found[1]) == [(row, number) for number, row in enumerate(ROWS)]
    assert len(list(db.snapshot().scan())) == 2 * len(ROWS)  # and what observers note of themselves is not among them


@pytest.mark.parametrize("cell", [("a",), "a", ("a", "b", "c"), 7, ("a", 1), ("a", None), (["list"], "x"), ({}, "x"), ("\ud800", "x")])
def test_cells_that_are_none(cell: Any) -> None:
    db = Database.open("memory:")
    with pytest.raises(KeyTypeError), db.transaction() as t:
        t[cell] = 1


@pytest.mark.parametrize("cell", [("x" * 70_000, "c"), ("a", "c" * 70_000)])
def test_a_name_that_no_lock_has_room_for_is_refused_in_words(cell: Any) -> None:
    db = Database.open("memory:", engine="percolator")
    with pytest.raises(TransactionLimitError, match="a lock has room for"), db.transaction() as t:
        t[cell] = 1
    assert not db.locks()
    with db.transaction() as t:
        t["a", "c"] = 1
