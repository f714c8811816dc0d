"""An ordered key-value store: what the transactions need of one, and nothing more.

A store is a few named families, each an ordered map of bytes to bytes. A key begins with its row (`keys.row_of`), so the entries of
a row lie together in every family, and one row is what every store can change at once, on a condition: that is all Percolator needs.

              family "lock"        family "write"             family "notify"
    row a     a,x                  a,x,9   a,x,4              a,x
    row b                          b,x,7

The life of a change: a `Mutation` names a row, what must hold there (`Absent`: no entry in a range; `Equals`: this entry is just so),
and the `Edit`s to make if it does. `mutate` says whether they were made. Over a network it may not know: it raises `OutcomeUnknownError`,
and then the change was made, or not, or *is still to be made*. So nobody may repeat it blindly; the transactions look at the row
instead. `write` makes edits without a condition, `mutate_many` many independent mutations in as few messages as the store can.

What a store promises, and `tests/kv` holds every one to:

- `get`, `get_many` and `scan` see every change that was acknowledged before they were called.
- The mutations of one row happen one after the other. If ``atomic`` is "store", `write` and `mutate` may edit any number of rows at
  once; if it is "row", those of one row.
- The ranges of `firsts` are looked at in the order given, or all at one moment.
- What was acknowledged survives a crash of the process; with ``sync`` also one of the machine. An engine for which acknowledged
  writes may vanish (Redis at failover) cannot hold locks: two transactions that exclude each other could both commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from dataflow.errors import OutcomeUnknownError, StoreError

__all__ = [
    "FAMILIES", "Absent", "Condition", "Edit", "Entry", "Equals", "Mutation", "Outcome", "Range", "Store", "single", "successor", "unknown",
]  # fmt: skip

FAMILIES = ("data", "lock", "write", "notify", "meta")
"""Every store has these; each may keep them apart (a locality group of Bigtable, a column family of RocksDB, a table of PostgreSQL)."""

Entry = tuple[bytes, bytes]


class Range(NamedTuple):
    """The keys from ``start`` up to, and without, ``stop``, in a family."""

    family: str
    start: bytes
    stop: bytes


class Edit(NamedTuple):
    """Put a value at a key; None: delete what is there."""

    family: str
    key: bytes
    value: bytes | None


class Absent(NamedTuple):
    """Holds if the family has no key from ``start`` up to, and without, ``stop``."""

    family: str
    start: bytes
    stop: bytes


class Equals(NamedTuple):
    """Holds if the key has this value; None: if it has none."""

    family: str
    key: bytes
    value: bytes | None


Condition = Absent | Equals


class Mutation(NamedTuple):
    """Edits of one row, made together if all conditions hold on that row."""

    row: bytes
    require: tuple[Condition, ...]
    edits: tuple[Edit, ...]


Outcome = bool | OutcomeUnknownError
"""Whether a mutation was made, or why nobody knows. Not to be asked for its truth: an error is true, too."""


@runtime_checkable
class Store(Protocol):
    """An ordered key-value store. Methods may be called from several threads.

    ``atomic``: what one change may cover. ``shared``: whether several processes may have it open.
    """

    @property
    def name(self) -> str:
        """How it is called in messages: ``rocksdb:folder``; without passwords."""
        ...

    @property
    def atomic(self) -> Literal["row", "store"]:
        """What one change may cover."""
        ...

    @property
    def shared(self) -> bool:
        """Whether several processes may have it open at once."""
        ...

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        ...

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order."""
        ...

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries with ``start <= key < stop``, in the order of their keys. May or may not see what changes meanwhile."""
        ...

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range, None where it is empty; looked at in the order of the ranges."""
        ...

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, together. Raises `ValueError` if they are of several rows and the store can change only one at once."""
        ...

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold, and say whether they did. Raises `OutcomeUnknownError`."""
        ...

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation, independently: whether it was made, or why nobody knows."""
        ...

    def close(self) -> None:
        """Let go of files and connections. Twice is no error."""
        ...


def unknown(reason: StoreError) -> OutcomeUnknownError:
    """What stands for the outcome of a mutation of several, when the store failed at it.

    >>> unknown(StoreError("the disk is full"))
    OutcomeUnknownError('the disk is full')
    """
    if isinstance(reason, OutcomeUnknownError):
        return reason
    stands = OutcomeUnknownError(reason.report)
    stands.__cause__ = reason
    return stands


def successor(prefix: bytes) -> bytes:
    """The least key above all keys that begin with a prefix.

    >>> successor(b"ab"), successor(b"a\\xff")
    (b'ac', b'b')
    """
    kept = prefix.rstrip(b"\xff")
    if not kept:
        raise ValueError("no key is above all keys that begin with nothing")
    return kept[:-1] + bytes((kept[-1] + 1,))


def single(family: str, key: bytes) -> Range:
    """The range that holds one key.

    >>> single("lock", b"k")
    Range(family='lock', start=b'k', stop=b'k\\x00')
    """
    return Range(family, key, key + b"\x00")
