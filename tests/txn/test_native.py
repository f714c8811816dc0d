"""What only the engine promises that uses the server's own transactions: what it tells of a commit, and how few connections it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dataflow.errors import ConflictError, OutcomeUnknownError, StoreError
from dataflow.txn import Transaction

pytestmark = pytest.mark.parametrize("opening", ["native/postgres"], indirect=True)
FEW: dict[str, Any] = {"connections": 1, "timeout": 2.0, "patience": 1.0}  # a wait for a second one ends after three seconds


def losing_the_answer(t: Transaction) -> None:
    """The connection breaks when the commit was made and not yet acknowledged."""
    session: Any = t._snapshot.session  # type: ignore[attr-defined]
    run = session.run

    def lost(statement: str | bytes, values: Sequence[Any] = ()) -> Any:
        rows = run(statement, values)
        if statement == b"commit":
            raise OutcomeUnknownError("the connection was lost while it committed")
        return rows

    session.run = lost


def test_a_conflict_is_told_though_no_connection_is_free(opening: Any) -> None:
    db, other = opening(**FEW), opening()
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1
    with other.transaction() as before:
        before["a", "x"] = 5
    with pytest.raises(ConflictError, match=f"committed it at {before.committed}"):
        t.commit()
    assert db.snapshot()["a", "x"] == 5


def test_what_became_of_a_commit_is_asked_though_no_connection_is_free(opening: Any) -> None:
    db = opening(**FEW)
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1
    losing_the_answer(t)
    assert t.commit() == t.committed
    assert db.snapshot()["a", "x"] == 1


def test_a_server_that_is_away_when_it_is_asked_leaves_the_outcome_unknown(opening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    db = opening()
    t = db.transaction()
    t["a", "x"] = t.get("a", "x", 0) + 1
    losing_the_answer(t)

    def away() -> Any:
        raise StoreError("it cannot be reached")

    monkeypatch.setattr(db.engine, "session", away)
    with pytest.raises(OutcomeUnknownError, match="cannot be reached"):
        t.commit()
    monkeypatch.undo()
    assert db.snapshot()["a", "x"] == 1
