"""A store in a PostgreSQL server, for several machines; several servers are joined by `sharded`.

    mutate_many ──► waves ──► one call of mutate_1 for a thousand mutations ──► guards, conditions, edits, one commit
    scan        ──► pages by key: where the last one ended, the next begins
    firsts      ──► one statement, so one moment

A family is a table, ordered by key (`bytea` compares byte by byte). What is laid down in the server, and how a change waits for
others of its rows, is told in `postgres_schema`; what a lost connection means, in `postgres_pool`. The server must run with
``fsync`` on, as it does unless told otherwise; with synchronous standbys an acknowledged change survives the server's machine too.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from psycopg import errors as pg
from psycopg import sql

from dataflow.errors import OutcomeUnknownError, Report, StoreError, redact
from dataflow.kv.embedded import WRONG_ADDRESS
from dataflow.kv.postgres_batch import arguments, blobs, guards, waves
from dataflow.kv.postgres_lives import Lives
from dataflow.kv.postgres_pool import Connection, OutOfLocksError, Pool
from dataflow.kv.postgres_schema import FORMAT, FORMAT_KEY, laying_down
from dataflow.kv.postgres_session import Session
from dataflow.kv.rows import row_or_key
from dataflow.kv.store import FAMILIES, Edit, Entry, Mutation, Outcome, Range, unknown
from dataflow.kv.threads import Threads

__all__ = ["PostgresStore"]

_MOST_BYTES = 16 << 20  # of a statement: a message may be 1 GiB, but the server holds it several times
_PAGE = (256, 8192)  # rows of the first page of a scan, and of the largest
_PAGE_BYTES = 4 << 20
_MOST_KEYS = 10_000
_MUTATION_ARGUMENTS = 22
_LANE = 250  # mutations that are worth a connection of their own


class PostgresStore:
    """An ordered key-value store in a PostgreSQL server.

    .. code:: python

        store = PostgresStore.open("postgresql://ann@db.example:5432/app")
        store.mutate(Mutation(row, (Absent("write", row, end_of_row(row)),), (Edit("data", key, b"text"),)))

    ``schema``: where its tables are; made at first use if the user may, and not if ``create`` is False.
    ``connections``: at most so many at once, for as many threads.
    ``timeout``: seconds for a statement. ``patience``: seconds in which a lost server may come back before an error is raised.
    ``batch``: mutations of a statement; each holds a lock in the server, which has ``max_locks_per_transaction * max_connections``
    of them for all sessions, and where they do not suffice, batches are made smaller. ``lanes``: connections that share a batch.
    """

    atomic: Literal["row", "store"] = "store"
    shared = True

    def __init__(
        self,
        address: str,
        *,
        schema: str = "dataflow",
        create: bool = True,
        connections: int = 8,
        timeout: float = 60.0,
        patience: float = 15.0,
        batch: int = 1000,
        lanes: int = 2,
    ) -> None:
        self._pool = Pool(address, size=connections, timeout=timeout, patience=patience)
        self._schema, self._batch, self._lanes = schema, batch, lanes
        self._threads = Threads(max(1, connections - 1), "dataflow postgres")
        self._tables = {family: sql.Identifier(schema, family) for family in FAMILIES}
        self._statements: dict[Any, bytes] = {}
        self._lives = Lives(schema)
        holes = sql.SQL(", ").join(sql.SQL(f"${n}") for n in range(1, _MUTATION_ARGUMENTS + 1))  # pyright: ignore[reportArgumentType]
        self._mutate = sql.SQL("select {}({})").format(sql.Identifier(schema, f"mutate_{FORMAT}"), holes).as_bytes(None)
        self._next = sql.SQL("select {}($1::int8)").format(sql.Identifier(schema, f"next_timestamps_{FORMAT}")).as_bytes(None)
        self._prepare(create)

    @classmethod
    def open(cls, address: str, **options: Any) -> PostgresStore:
        """The store at an address, ``postgresql://user@host:port/database``; options as of the class."""
        return cls(address, **options)

    @property
    def name(self) -> str:
        """The address, without password."""
        return self._pool.name

    def _prepare(self, create: bool) -> None:
        """Check the format, or lay it down."""
        try:
            found = self._pool.using(self._format, read=True)
            if found is None and not create:
                raise StoreError(Report(f"{self.name} holds no store in schema {self._schema!r}", hint=WRONG_ADDRESS))
            if found is None:
                self._pool.using(self._lay_down, read=True)
                found = self._pool.using(self._format, read=True)
            if found != str(FORMAT).encode():
                has = (found or b"unknown").decode(errors="replace")
                raise StoreError(
                    Report(
                        f"{self.name} has format {has!r} in schema {self._schema!r}; this version writes {FORMAT}",
                        hint="a newer version of dataflow wrote it, or another program: use that one, or another schema",
                    )
                )
        except BaseException:
            self._pool.close()
            raise

    def _format(self, connection: Connection) -> bytes | None:
        try:
            statement = sql.SQL("select value from {} where key = $1").format(self._tables["meta"]).as_bytes(None)
            row = connection.execute(statement, (FORMAT_KEY,), binary=True).fetchone()
        except (pg.UndefinedTable, pg.InvalidSchemaName):
            return None
        return bytes(row[0]) if row else b"unknown"

    def _lay_down(self, connection: Connection) -> None:
        with connection.transaction():
            for statement in laying_down(self._schema):
                connection.execute(statement.as_bytes(connection))

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        rows = self._pool.run(self._said("select value from {} where key = $1", family), (key,), read=True)
        return rows[0][0] if rows else None

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order."""
        statement = self._said("select key, value from {} where key = any($1)", family)
        found: dict[bytes, bytes] = {}
        for at in range(0, len(keys), _MOST_KEYS):
            found.update(self._pool.run(statement, (blobs(keys[at : at + _MOST_KEYS]),), read=True))
        return [*map(found.get, keys)]

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries from ``start`` up to ``stop``, page by page."""
        order = "desc" if reverse else "asc"
        statement = self._said(f"select key, value from {{}} where key >= $1 and key < $2 order by key {order} limit $3::int8", family)
        left = limit if limit is not None else 1 << 62
        size = _PAGE[0]
        while left > 0 and start < stop:
            asked = min(left, size)
            page = self._pool.run(statement, (start, stop, asked), read=True)
            yield from page  # type: ignore[misc]
            left -= len(page)
            if len(page) < asked:
                return
            start, stop = (start, page[-1][0]) if reverse else (page[-1][0] + b"\x00", stop)
            mean = sum(len(key) + len(value) for key, value in page) // len(page) + 1
            size = max(1, min(2 * size, _PAGE[1], _PAGE_BYTES // mean))

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range, all at one moment (of ten thousand ranges)."""
        found: list[Entry | None] = [None] * len(ranges)
        for begin in range(0, len(ranges), _MOST_KEYS):
            places: dict[str, list[int]] = {}
            for place, each in enumerate(ranges[begin : begin + _MOST_KEYS], begin):
                places.setdefault(each.family, []).append(place)
            statement = self._firsts(tuple(places))
            values = [blobs([ranges[at][part] for at in listed]) for listed in places.values() for part in (1, 2)]  # type: ignore[misc]
            for branch, at, key, value in self._pool.run(statement, values, read=True):
                found[places[ranges[begin].family if len(places) == 1 else [*places][branch]][at - 1]] = key, value
        return found

    def _firsts(self, families: tuple[str, ...]) -> bytes:
        if families not in self._statements:
            branches = [
                f"select {n}::int4, r.n, t.key, t.value from unnest(${2 * n + 1}::bytea[], ${2 * n + 2}::bytea[])"
                " with ordinality r(start, stop, n)"
                " cross join lateral (select key, value from {} where key >= r.start and key < r.stop order by key limit 1) t"
                for n in range(len(families))
            ]
            self._statements[families] = self._composed(" union all ".join(branches), *families)
        return self._statements[families]

    def _said(self, text: str, family: str) -> bytes:
        if (text, family) not in self._statements:
            self._statements[text, family] = self._composed(text, family)
        return self._statements[text, family]

    def _composed(self, text: str, *families: str) -> bytes:
        return sql.SQL(text).format(*(self._tables[family] for family in families)).as_bytes(None)  # pyright: ignore[reportArgumentType]

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, together."""
        rows = {row_or_key(edit.key) for edit in edits}
        if rows:
            self.mutate(Mutation(min(rows), (), tuple(edits)), sync=sync)

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold; they may be of several rows, the conditions are of the mutation's row."""
        return self._one_wave([mutation], waves([mutation])[1], sync)[0]

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation; about a thousand are one statement and one commit.

        When the server refuses a part (a full disk), it raises `StoreError` if that is the first; else the rest is unknown.
        """
        answers: list[Outcome] = []
        at = 0
        while at < len(mutations):
            part = self._part(mutations, at)
            try:
                answers += self._apply(part, sync)
            except OutcomeUnknownError as reason:
                answers += [reason] * len(part)
            except OutOfLocksError:
                if len(part) == 1:
                    raise
                self._batch = (len(part) + 1) // 2
                continue
            except StoreError as reason:
                if at == 0:
                    raise
                return answers + [unknown(reason)] * (len(mutations) - at)
            at += len(part)
        return answers

    def _part(self, mutations: Sequence[Mutation], at: int) -> Sequence[Mutation]:
        room = _MOST_BYTES
        for place in range(at, min(at + self._batch, len(mutations))):
            for edit in mutations[place].edits:
                room -= len(edit.key) + len(edit.value or b"")
            if room < 0 and place > at:
                return mutations[at:place]
        return mutations[at : at + self._batch]

    def _apply(self, mutations: Sequence[Mutation], sync: bool) -> list[Outcome]:
        found, besides = waves(mutations)
        if len(found) > 1:
            return self._in_turn(mutations, found, besides, sync)
        lanes = max(1, min(self._lanes, len(mutations) // _LANE))
        if lanes == 1:
            return [*self._one_wave(mutations, besides, sync)]
        size = -(-len(mutations) // lanes)

        def lane(low: int) -> list[bool] | StoreError:
            here = {place - low: rows for place, rows in besides.items() if low <= place < low + size}
            try:
                return self._one_wave(mutations[low : low + size], here, sync)
            except StoreError as reason:
                return reason

        begun = [self._threads.submit(lane, low) for low in range(size, len(mutations), size)]
        replies = [lane(0), *(each.result() for each in begun)]
        failed = [reply for reply in replies if isinstance(reply, StoreError)]
        if len(failed) == len(replies) and not any(isinstance(reply, OutcomeUnknownError) for reply in failed):
            raise failed[0]
        answers: list[Outcome] = []
        for reply in replies:
            answers += reply if isinstance(reply, list) else [unknown(reply)] * min(size, len(mutations) - len(answers))
        return answers

    def _one_wave(self, mutations: Sequence[Mutation], besides: dict[int, list[bytes]], sync: bool) -> list[bool]:
        """Mutations of different rows: one statement, or several if the server has no room for their locks."""
        locks = guards([*(mutation.row for mutation in mutations), *(row for rows in besides.values() for row in rows)])
        try:
            return self._pool.run(self._mutate, (locks, sync, *arguments(mutations)), read=False)[0][0]
        except OutOfLocksError:
            if len(mutations) == 1:
                raise
        half = len(mutations) // 2
        self._batch = min(self._batch, len(mutations) - half)
        later = {place - half: rows for place, rows in besides.items() if place >= half}
        return self._one_wave(mutations[:half], besides, sync) + self._one_wave(mutations[half:], later, sync)

    def _in_turn(self, mutations: Sequence[Mutation], found: list[list[int]], besides: dict[int, list[bytes]], sync: bool) -> list[Outcome]:
        """Waves one after the other in one transaction, whose guards are those of all."""
        locks = guards([*(mutation.row for mutation in mutations), *(row for rows in besides.values() for row in rows)])
        made: list[Outcome] = [False] * len(mutations)

        def together(connection: Connection) -> None:
            with connection.pipeline(), connection.transaction():
                cursors = [
                    connection.execute(
                        self._mutate,
                        (guards(()) if n else locks, sync, *arguments([mutations[place] for place in places])),
                        binary=True,
                    )
                    for n, places in enumerate(found)
                ]
                for places, cursor in zip(found, cursors):
                    for place, done in zip(places, (cursor.fetchone() or ((),))[0], strict=True):
                        made[place] = done

        self._pool.using(together, read=False)
        return made

    def next_timestamps(self, n: int = 1) -> int:
        """The first of ``n`` numbers in a row that nobody was given before, or will be again; durable when it returns.

        Asking again after a lost connection is safe: it only leaves a gap.
        """
        if n < 1:
            raise ValueError(f"at least one timestamp can be asked for, not {n}")
        return self._pool.run(self._next, (n,), read=True)[0][0]

    @contextmanager
    def session(self, *, sync: bool = True) -> Generator[Session]:
        """A connection for one transaction of the server's own, until the block ends."""

        def spelled(text: str) -> bytes:
            if (text, "") not in self._statements:
                names = {family: self._tables[family] for family in FAMILIES}
                self._statements[text, ""] = sql.SQL(text).format(**names).as_bytes(None)  # pyright: ignore[reportArgumentType]
            return self._statements[text, ""]

        with self._pool.lent() as connection:
            try:
                life = self._lives.of(connection)
                if not sync:
                    connection.execute(b"set synchronous_commit = off")
            except pg.Error as reason:
                raise StoreError(Report(f"{self.name} was lost before a transaction began", hint=redact(str(reason))[:300])) from reason
            try:
                yield Session(self.name, connection, spelled, life)
            finally:
                if not sync and not connection.closed:
                    try:
                        connection.execute(b"set synchronous_commit = on")
                    except pg.Error:
                        connection.close()  # it broke, and what was said of that before counts

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=False)
        self._pool.close()
