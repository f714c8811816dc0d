"""Several transactions of one thread, committed in one write of the engine: each is committed or refused by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataflow.errors import TransactionError
from dataflow.txn.transaction import Transaction

if TYPE_CHECKING:
    from dataflow.txn.database import Database

__all__ = ["commit_together"]


def commit_together(database: Database, transactions: Sequence[Transaction]) -> list[TransactionError | None]:
    """Commit transactions in one write of the engine: for each what kept it from it."""
    failed: list[TransactionError | None] = [None] * len(transactions)
    intents, places = [], []
    for number, t in enumerate(transactions):
        try:
            intent = t.intent()
            if intent is None:
                t.commit()
            else:
                intents.append(intent)
                places.append(number)
        except TransactionError as error:
            failed[number] = error
    try:
        outcomes = database.engine.commit_many(intents) if intents else []
        for number, outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, TransactionError):
                failed[number] = outcome
                database.conflicts += 1
            else:
                transactions[number].committed = outcome
                database.commits += 1
    finally:
        for number in places:
            transactions[number].rollback()  # lets go of the snapshot; what is committed stays so
    return failed
