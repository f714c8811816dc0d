"""Ctrl-C may come behind any call: whatever it interrupts, others go on, and what was acknowledged counts.

An alarm stands for it, whose handler raises; it comes some hundred times, at moments that differ.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import OutcomeUnknownError
from dataflow.kv import Edit, MemoryStore, Mutation, pack, pack_element
from dataflow.kv.lmdb_map import Gate
from dataflow.txn import Database, Transaction
from dataflow.txn.embedded import EmbeddedEngine
from tests.txn.conftest import needs

SECONDS = 1.5


class Interrupted(KeyboardInterrupt):
    """What the alarm raises."""


@contextmanager
def alarm(seconds: float) -> Iterator[list[bool]]:
    """Comes every so many seconds, and raises if it is set; then it is not any more."""
    armed = [False]

    def ring(*_: object) -> None:
        if armed[0]:
            armed[0] = False
            raise Interrupted

    before, reporting = signal.signal(signal.SIGALRM, ring), sys.unraisablehook
    sys.unraisablehook = lambda _: None  # one that came into a callback is lost; pytest would keep it, and all that its frames refer to
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield armed
    finally:
        armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = reporting


def interrupt_often(do: Callable[[], Any], after: Callable[[], Any] = lambda: None) -> int:
    """Do something over and over, and interrupt it; say how often that was."""
    times, end = 0, time.monotonic() + SECONDS
    with alarm(0.00173) as armed:
        while time.monotonic() < end:
            try:
                while time.monotonic() < end:
                    armed[0] = True
                    do()
            except Interrupted:
                times += 1
            armed[0] = False
            after()  # when nothing refers to the exception, and to what it came into, any more
    return times


def embedded(kind: str, folder: Path) -> Database:
    if kind != "memory":
        needs("rocksdict" if kind == "rocksdb" else "lmdb")
    options: dict[str, Any] = {"durable": False} if kind == "lmdb" else {}
    return Database.open("memory:" if kind == "memory" else f"{kind}:{folder}/cells", sync=False, **options)


@pytest.mark.parametrize("kind", ["memory", "rocksdb", "lmdb"])
def test_an_interrupted_commit_holds_nothing_back(kind: str, tmp_path: Path) -> None:
    acknowledged = 0

    def count(t: Transaction) -> None:
        t["a", "x"] = t.get("a", "x", 0) + 1

    def once() -> None:
        nonlocal acknowledged
        db.run(count)
        acknowledged += 1

    def free() -> None:
        assert not db.engine._mutex.locked()  # type: ignore[attr-defined]

    with embedded(kind, tmp_path) as db:
        times = interrupt_often(once, free)
        with db.snapshot() as s:
            assert acknowledged <= s["a", "x"] <= acknowledged + times
        db.run(count)


def test_an_interrupted_reader_leaves_the_gate_of_lmdb(tmp_path: Path) -> None:
    def read() -> None:
        with db.snapshot() as s:
            s["a", "x"]

    def left() -> None:
        gate: Gate = db.engine.store._gate  # type: ignore[attr-defined]
        assert not gate.inside
        assert not gate.staying

    with embedded("lmdb", tmp_path) as db:
        db.run(lambda t: t.__setitem__(("a", "x"), 1))
        interrupt_often(read, left)
        interrupt_often(lambda: db.engine.store.get("data", b"k"), left)


def test_who_is_interrupted_is_so_alone() -> None:
    """Others that commit in one group with it are told nothing of the interrupt."""
    db, stop = Database.open("memory:"), threading.Event()
    told: set[type[BaseException]] = set()

    def put(row: str) -> None:
        db.run(lambda t: t.__setitem__((row, "x"), 1))

    def putting(row: str) -> None:
        while not stop.is_set():
            try:
                put(row)
            except BaseException as error:
                told.add(type(error))

    threads = [threading.Thread(target=putting, args=(f"r{number}",), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    interrupt_often(lambda: put("main"))
    stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert told <= {OutcomeUnknownError}


@pytest.mark.parametrize("written", [False, True])
def test_a_group_whose_leader_is_interrupted(written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it writes, another of the group commits; once it writes, what became of the group is not known to the others."""
    db = Database.open(MemoryStore())
    engine = db.engine
    assert isinstance(engine, EmbeddedEngine)
    page, leaders = engine._ledger.page, [True]

    def interrupted(do: Callable[[Any], Any], sync: bool) -> Any:
        if not leaders:
            return page(do, sync)
        leaders.pop()
        if written:
            page(do, sync)
        raise Interrupted

    outcomes: dict[int, Any] = {}

    def commit(number: int) -> None:
        try:
            outcomes[number] = db.run(lambda t: t.__setitem__((number, "x"), 1))
        except BaseException as error:
            outcomes[number] = type(error)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(4)]
    with engine._mutex:  # so that all must stand in line
        for thread in threads:
            thread.start()
        while len(engine._line) < len(threads):
            time.sleep(0.001)
        monkeypatch.setattr(engine._ledger, "page", interrupted)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    told = list(outcomes.values())
    assert told.count(Interrupted) == 1
    assert told.count(OutcomeUnknownError if written else None) == 3
    assert len(dict(db.snapshot().scan())) == (4 if written else 3)
    db.run(lambda t: t.__setitem__(("after", "x"), 1))
    assert not engine._line


def test_workers_have_ended_when_an_interrupt_comes_out_of_their_run() -> None:
    db = Database.open("memory:")
    running: list[int] = []

    @db.observer("x")
    def slow(t: Transaction, row: Any, value: Any) -> None:
        running.append(row)
        time.sleep(0.2)
        running.remove(row)

    db.each(lambda t, row: t.__setitem__((row, "x"), 1), range(40))
    with alarm(0.3) as armed, pytest.raises(Interrupted):
        armed[0] = True
        db.run_observers(workers=4)
    assert not [thread for thread in threading.enumerate() if thread.name == "dataflow-observer"]
    assert not running


def test_an_interrupted_change_of_several_rows_lets_go_of_all_of_them(tmp_path: Path) -> None:
    needs("rocksdict")
    from dataflow.kv.rocksdb import RocksStore

    with RocksStore(tmp_path / "cells") as store:
        edits = [Edit("data", pack((name, "x")), b"") for name in range(20)]
        several = [Mutation(pack_element(name), (), (edits[name],)) for name in range(20)]

        def change() -> None:
            store.write(edits, sync=False)
            store.mutate_many(several, sync=False)

        free: list[bool] = []
        times = interrupt_often(change, lambda: free.append(not any(latch.locked() for latch in store._latches._all)))
        assert times > 20
        assert all(free)


def test_an_interrupted_change_of_the_memory_store_is_made_whole() -> None:
    store, turn = MemoryStore(), 0

    def change() -> None:
        nonlocal turn
        turn += 1
        store.write([Edit("data", b"%d" % name, b"%d" % turn if (turn + name) % 3 else None) for name in range(30)])

    def whole() -> None:
        values = [store.get("data", b"%d" % name) for name in range(30)]
        told = {value for value in values if value is not None}
        assert len(told) == 1
        assert [value is None for value in values] == [(int(*told) + name) % 3 == 0 for name in range(30)]
        assert [key for key, _ in store.scan("data", b"", b"\xff")] == sorted(b"%d" % n for n in range(30) if values[n] is not None)

    assert interrupt_often(change, whole) > 20
