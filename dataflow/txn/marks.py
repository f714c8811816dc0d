"""Marks of what is over: times in "meta" that only ever rise.

    safe point     versions that only snapshots before it could see may be missing
    cleared        no transaction that began before it has a lock, or will commit

They are written in this order by a collection (`collect.py`), each before what it says may be relied upon.

Why *cleared*: a request that locks a cell and comes twice is refused the second time by a record since its start, but that may have been
collected: of a delete nothing is kept. Then the lock stands there again, and its primary may still say that the transaction is committed.
To roll it forward would bring the old value back. All locks from before the mark were seen and resolved when it was written, and who then
still wanted to commit found himself older than the safe point; so such a lock is one that came again, and is taken away.

(If the request that commits the primary comes again as well, behind that one and before anybody met the lock, nothing here keeps it out. A
store may bring a request a second time, but not two of one transaction when its garbage is collected already.)

>>> from dataflow.kv import MemoryStore
>>> store = MemoryStore()
>>> raise_to(store, CLEARED, 7), raise_to(store, CLEARED, 5), mark(store, CLEARED), mark(store, SAFE_POINT)
(7, 7, 7, 0)
"""

from __future__ import annotations

from dataflow.kv import Edit, Equals, Mutation, Store, pack, row_of

__all__ = ["CLEARED", "SAFE_POINT", "mark", "raise_to"]

SAFE_POINT, CLEARED = pack(("safe point",)), pack(("cleared",))


def mark(store: Store, key: bytes) -> int:
    """The time of a mark; 0 if it was never made."""
    found = store.get("meta", key)
    return int.from_bytes(found, "big") if found else 0


def raise_to(store: Store, key: bytes, time: int) -> int:
    """Make a mark, if it is not higher already, and give the time that stands there then."""
    while True:
        packed = store.get("meta", key)
        old = int.from_bytes(packed, "big") if packed else 0
        if old >= time:
            return old
        if store.mutate(Mutation(row_of(key), (Equals("meta", key, packed),), (Edit("meta", key, time.to_bytes(8, "big")),))):
            return time
