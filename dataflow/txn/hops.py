"""Step *hops*: what chains of observers did lately, for whoever looks over a store that changes meanwhile.

    an observer's run commits      its changes are noted by other cells, here or on another shard: the chain hops
    before its own notification goes    meta: (slot) += (a time asked for now, where the chain began)
    the notification goes

Why: a look goes from page to page and from shard to shard. A chain may hop from where the look has yet to come to where it has been, and
again before each further look; so however often one looks, nothing may be found of a chain that never rested. Who looks asks for the time
first, then looks, then reads the hops since that time. Each chain that was not at its end at that time either stood still, and was found,
or hopped after its notification stood, and the hop is written: a hop that was written with an earlier time had left its next notification
before that time, and so before the look.

What is written must not grow, and old hops must not hold a frontier for ever. So the hops of a slot are kept like an exponential histogram
(Datar, Gionis, Indyk, Motwani 2002): the younger ones one by one, older ones in buckets of two, four, eight…, each with the youngest of
its times and the oldest of its origins. A look that took as long as a thousand hops takes at most two thousand into account.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from dataflow.errors import OutcomeUnknownError
from dataflow.kv import Edit, Equals, Mutation, pack, row_of
from dataflow.txn.ground import Ground
from dataflow.txn.records import NEVER

__all__ = ["hopped", "oldest_hop"]

_SLOTS = 16  # processes that write beside each other do not all change one row
_EACH = 2  # buckets of one size
_MOST = 40  # buckets: of a million hops and more
_BUCKET = struct.Struct(">QQQ")
_KEYS = [pack((f"hops {slot}",)) for slot in range(_SLOTS)]  # each in a row of its own


class _Bucket(NamedTuple):
    """So many hops: the youngest of their times, and the oldest change that their chains began with."""

    time: int
    origin: int
    many: int = 1


def hopped(ground: Ground, origin: int) -> None:
    """Write that a chain, whose first change was at ``origin``, has gone on, before its notification is dropped."""
    key = _KEYS[zlib.crc32(ground.owner) % _SLOTS]
    hop, attempt = _Bucket(ground.oracle.next(), origin), 0
    while True:
        before = ground.store.get("meta", key)
        after = b"".join(_BUCKET.pack(*bucket) for bucket in _joined([hop, *_buckets(before or b"")]))
        try:
            if ground.store.mutate(Mutation(row_of(key), (Equals("meta", key, before),), (Edit("meta", key, after),)), sync=ground.sync):
                return
        except OutcomeUnknownError:
            pass  # written twice is no harm
        attempt += 1
        ground.wait(attempt)


def oldest_hop(ground: Ground, since: int) -> int:
    """The oldest change whose chain may have gone on at a time or later; `NEVER` if none has.

    >>> from dataflow.kv import MemoryStore
    >>> from dataflow.txn.oracle import StoreOracle
    >>> ground = Ground(MemoryStore(), StoreOracle(MemoryStore()))
    >>> before = ground.oracle.next()
    >>> hopped(ground, 7)
    >>> oldest_hop(ground, before), oldest_hop(ground, ground.oracle.next()) == NEVER
    (7, True)
    """
    found = ground.store.get_many("meta", _KEYS)
    return min((bucket.origin for packed in found for bucket in _buckets(packed or b"") if bucket.time >= since), default=NEVER)


def _buckets(packed: bytes) -> list[_Bucket]:
    return [_Bucket(*one) for one in _BUCKET.iter_unpack(packed)]


def _joined(buckets: Sequence[_Bucket]) -> list[_Bucket]:
    """Buckets, the youngest first, of which no more than `_EACH` have one size.

    >>> kept = []
    >>> for time in range(1, 8):
    ...     kept = _joined([_Bucket(time, 100 - time), *kept])
    >>> kept
    [_Bucket(time=7, origin=93, many=1), _Bucket(time=6, origin=94, many=2), _Bucket(time=4, origin=96, many=4)]
    """
    kept: list[_Bucket] = []
    for bucket in buckets:
        kept.append(bucket)
        if len(kept) > _EACH and kept[-1].many == kept[-1 - _EACH].many:
            _join_last(kept)
    while len(kept) > _MOST:
        _join_last(kept)
    return kept


def _join_last(buckets: list[_Bucket]) -> None:
    older, younger = buckets.pop(), buckets.pop()
    buckets.append(_Bucket(max(younger.time, older.time), min(younger.origin, older.origin), younger.many + older.many))
