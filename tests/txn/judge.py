"""The judge of a schedule: is what the store holds in the end, and what each transaction read, snapshot isolation to the letter?

    all write records there ever were ──> the versions of each cell, in the order of commit times
    1  a fresh reader finishes what the dead left; then no lock stands any more
    2  all or nothing: a transaction's records are all of its cells, at one time, after its start; a refused one's are none
    3  commit times are unique; of two transactions that wrote or held the same cell, the later began after the earlier committed
    4  every read, and every scan, of every transaction is the state at its start
    5  every change of an observed cell has its notification, or was acknowledged; no change has two committed runs

Nothing of the engine is asked but its records' form: times are compared, and that is all.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from dataflow.kv import pack, row_of
from dataflow.txn.collect import safe_point
from dataflow.txn.percolator import PercolatorEngine
from dataflow.txn.records import DELETE, HOLD, NEVER, PUT, ROLLBACK, lock_of, notification_key, timestamp_in, write_of
from dataflow.txn.resolve import resolve
from dataflow.txn.snapshot_read import committed
from dataflow.txn.values import decode
from tests.txn.worlds import Noted, World, _no_time

__all__ = ["acknowledged", "changes", "check", "finish"]

Versions = dict[bytes, list[tuple[int, int, bytes, Any]]]  # of a cell: commit time, start, kind, value


def finish(world: World) -> dict[bytes, Any]:
    """Let everything that is under way arrive, have a fresh reader resolve what is left, and give what it read."""
    if world.faulty is not None:
        world.faulty.deliver()
    for actor in world.turns.actors:
        if actor.error is not None:
            raise AssertionError(f"{actor.name} failed") from actor.error
    engine = PercolatorEngine(world.base, world.oracle, life=0.0, sync=False)
    engine.ground.clock, engine.ground.pause = _no_time, world.turns.pause
    snapshot = engine.begin()
    found = {key: decode(value) for key, value in snapshot.scan(b"\x01", b"\xff")}
    for key, packed in list(world.base.scan("lock", b"\x01", b"\xff")):  # those that hold are nothing to a reader
        resolve(engine.ground, key, lock_of(packed), packed)
    left = list(world.base.scan("lock", b"\x01", b"\xff"))
    assert not left, f"locks are left that nobody can resolve: {left}"
    return found


def check(world: World, observed: tuple[str, ...] = ()) -> None:
    """All that is said above. ``observed``: the keys of acknowledgements are those of observers of that name, column "x"."""
    seen = finish(world)
    assert not world.base.wrong, world.base.wrong
    versions = _versions(world)
    _whole(world, versions)
    _exclusive(versions)
    safe = safe_point(world.base)
    for t in world.transactions:
        if t.state == "too old" or (t.start < safe and t.state != "committed"):
            continue  # it was told that its reads are worth nothing, or did not live to hear it
        for key, value in t.reads:
            there = _at(versions.get(key, ()), t.start)
            assert value == there, f"{_name(t)} read {value!r} at {key!r}, and there was {there!r}"
        for low, high, found in t.scans:
            then = _state(versions, low, high, t.start)
            assert found == then, f"{_name(t)} scanned {found}, and there was {then}"
    for start, key, value in world.looks:
        there = _at(versions.get(key, ()), start)
        assert value == there, f"an observer's run of {start} saw {value!r} at {key!r}, and there was {there!r}"
    now = _state(versions, b"\x01", b"\xff", world.oracle.last + 1)
    assert seen == now, f"in the end {seen} is read, and what was committed is {now}"
    if observed:
        _noticed(world, versions, observed)


def _versions(world: World) -> Versions:
    versions: Versions = {}
    for found in sorted(world.base.records, reverse=True):  # of each cell the oldest first
        kind, start, value = write_of(world.base.records[found])
        if kind != ROLLBACK:
            if kind == PUT and value is None:
                raise AssertionError("the scenarios' values are short")
            versions.setdefault(found[:-8], []).append((timestamp_in(found), start, kind, None if value is None else decode(value)))
    return versions


def _whole(world: World, versions: Versions) -> None:
    made: dict[int, dict[bytes, tuple[int, bytes, Any]]] = {}
    for key, ones in versions.items():
        for commit, start, kind, value in ones:
            made.setdefault(start, {})[key] = (commit, kind, value)
    times: dict[int, int] = {}
    for t in world.transactions:
        cells = made.pop(t.start, {})
        if not cells:
            assert t.state != "committed" or not t.writes, f"{_name(t)} was told that it is committed, and nothing of it is there"
            continue
        assert t.state in ("committed", "committing", "unknown"), f"{_name(t)} was told {t.state}, and {sorted(cells)} is committed"
        commits = {commit for commit, _, _ in cells.values()}
        assert len(commits) == 1, f"{_name(t)} is committed at {commits}"
        (commit,) = commits
        assert t.state != "committed" or commit == t.committed, f"{_name(t)} was told {t.committed}, and its records say {commit}"
        assert commit > t.start, f"{_name(t)} is committed at {commit}, before it began"
        assert times.setdefault(commit, t.start) == t.start, f"two transactions are committed at {commit}"
        wanted = {key: (commit, DELETE if value is None else PUT, value) for key, value in t.writes.items()}
        wanted |= dict.fromkeys(t.holds - t.writes.keys(), (commit, HOLD, None))
        assert cells == wanted, f"{_name(t)} wrote {wanted}, and {cells} is there"
    assert not made or world.observers, f"records of nobody: {made}"
    for start, cells in made.items():
        commits = {commit for commit, _, _ in cells.values()}
        assert len(commits) == 1 and min(commits) > start, f"an observer's run of {start} is committed at {commits}"
        assert times.setdefault(min(commits), start) == start, f"two transactions are committed at {commits}"


def _exclusive(versions: Versions) -> None:
    for key, ones in versions.items():
        for (earlier, _, _, _), (later, start, _, _) in pairwise(ones):
            assert start > earlier, f"both write {key!r}: who committed at {earlier}, and who began at {start} and committed at {later}"


def _at(ones: Any, time: int) -> Any:
    value = None
    for commit, _, kind, written in ones:
        if commit > time:
            break
        if kind != HOLD:
            value = written
    return value


def _state(versions: Versions, low: bytes, high: bytes, time: int) -> dict[bytes, Any]:
    state = {key: _at(ones, time) for key, ones in versions.items() if low <= key < high}
    return {key: value for key, value in state.items() if value is not None}


def _noticed(world: World, versions: Versions, observers: tuple[str, ...]) -> None:
    column = cell_end("x")
    for key, ones in versions.items():
        if not key.endswith(column):
            continue
        changes = [commit for commit, _, kind, _ in ones if kind != HOLD]
        for name in observers:
            ack = versions.get(row_of(key) + pack((("ack", name, "x"),)), [])
            acked = ack[-1][3] if ack else 0
            for commit in changes:
                noted = world.base.get("notify", notification_key(key, commit)) is not None
                assert noted or acked >= commit, f"the change of {key!r} at {commit} is lost on {name}, who has seen those up to {acked}"
            before = 0
            for commit, start, _, seen in ack:
                newest = max((change for change in changes if change <= start), default=0)
                assert seen == newest, f"{name} acknowledged {seen} in a run of {start}, whose newest change was of {newest}"
                assert seen > before, f"{name} ran at {start} and committed at {commit}, and nothing had changed since {before}"
                before = seen


def cell_end(column: str) -> bytes:
    """How the keys of a column end."""
    return pack((column,))


def _name(t: Noted) -> str:
    return f"the transaction that began at {t.start}"


def changes(world: World) -> list[tuple[bytes, int]]:
    """The changes of column "x" there ever were."""
    found = [(record[:-8], timestamp_in(record)) for record, packed in world.base.records.items() if write_of(packed).kind != ROLLBACK]
    return [(key, commit) for key, commit in found if key.endswith(cell_end("x"))]


def acknowledged(world: World) -> dict[bytes, int]:
    """What the observer of column "x" has seen of each cell."""
    seen = {}
    for key in {key for key, _ in changes(world)}:
        version = committed(world.base, row_of(key) + pack((("ack", "copy", "x"),)), NEVER - 1)
        seen[key] = 0 if version is None or version.value is None else decode(version.value)
    return seen
