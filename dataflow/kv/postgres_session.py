"""A connection for one transaction of the server's own, statement by statement; see `dataflow.txn.native`.

An answer that refuses a statement because of another transaction is a `ConflictError`. A connection that breaks before ``commit`` was
sent has rolled back; after that nobody knows, and it is an `OutcomeUnknownError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import pq

from dataflow.errors import ConflictError, OutcomeUnknownError, Report, StoreError
from dataflow.kv.postgres_batch import blobs
from dataflow.kv.postgres_pool import Connection

__all__ = ["Session"]

_CONFLICTS = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available


class Session:
    """Statements of one transaction. ``spelled``: a statement with the names of the families' tables. ``life``: of the server, in which
    the number of the transaction is its own."""

    blobs = staticmethod(blobs)

    def __init__(self, name: str, connection: Connection, spelled: Callable[[str], bytes], life: bytes) -> None:
        self._name, self._connection, self._spelled, self.life = name, connection, spelled, life

    def run(self, statement: str | bytes, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows a statement gives; ``{family}`` in it stands for the table of a family."""
        said = statement if isinstance(statement, bytes) else self._spelled(statement)
        try:
            cursor = self._connection.execute(said, values, binary=True)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as reason:
            if reason.sqlstate in _CONFLICTS:
                raise ConflictError("another transaction changed it first") from reason
            if said == b"commit" and (reason.sqlstate is None or self._connection.closed):
                raise OutcomeUnknownError(f"{self._name} was lost while it committed") from reason
            raise StoreError(Report(f"{self._name} refused a statement", hint=" ".join(str(reason).split())[:300])) from reason

    def roll_back(self) -> None:
        """End the transaction if it has not ended."""
        if not self._connection.closed and self._connection.info.transaction_status != pq.TransactionStatus.IDLE:
            try:
                self._connection.execute(b"rollback")
            except psycopg.Error:
                self._connection.close()  # the server rolls back what it is told nothing of
