"""Which of a server's lives a connection belongs to: a server that crashed begins another one.

    "lives"    one row, a random name, in an *unlogged* table: the server empties it when it recovers from a crash
    connect ──> the name that stands there, or a new one

Why it is asked: a transaction whose records had not reached the disk leaves no trace, and the server gives its number to another
one. So what became of the transaction of a number can be asked only in the life in which it had that number; `dataflow.txn.native` does.
"""

from __future__ import annotations

import os
from weakref import WeakKeyDictionary

from psycopg import sql
from psycopg.errors import UndefinedTable

from dataflow.kv.postgres_pool import Connection

__all__ = ["Lives", "table_of_lives"]

_NAME = (
    "with new as (insert into {} (one, name) values (true, $1) on conflict do nothing returning name) "
    "select name from new union all select name from {} limit 1"
)


def table_of_lives(schema: str) -> sql.Composed:
    """The statement that makes the table, if it is not there.

    >>> table_of_lives("dataflow").as_string(None)
    'create unlogged table if not exists "dataflow"."lives" (one bool primary key, name bytea not null)'
    """
    table = sql.Identifier(schema, "lives")
    return sql.SQL("create unlogged table if not exists {} (one bool primary key, name bytea not null)").format(table)


class Lives:
    """The names of the lives that connections to a server belong to."""

    def __init__(self, schema: str) -> None:
        table = sql.Identifier(schema, "lives")
        self._table = table_of_lives(schema).as_bytes(None)
        self._statement = sql.SQL(_NAME).format(table, table).as_bytes(None)
        self._known: WeakKeyDictionary[Connection, bytes] = WeakKeyDictionary()

    def of(self, connection: Connection) -> bytes:
        """The name of a connection's life; asked when it is in no transaction. Raises `psycopg.Error`."""
        while (name := self._known.get(connection)) is None:  # who came second sees what the first has written when he looks again
            try:
                rows = connection.execute(self._statement, (os.urandom(16),), binary=True).fetchall()
            except UndefinedTable:  # the store was made by a version without it
                connection.execute(self._table)
                continue
            for (found,) in rows:
                self._known[connection] = bytes(found)
        return name
