"""Oracles: every timestamp is larger than all that anybody was given before, whatever dies between persisting and serving."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import Edit, MemoryStore, Mutation
from dataflow.txn import oracle as oracles
from dataflow.txn.oracle import FileOracle, Oracle, RequestedOracle, StoreOracle


def store_oracles(folder: Path) -> Callable[[], Oracle]:
    store = MemoryStore()
    return lambda: StoreOracle(store, size=3)


def file_oracles(folder: Path) -> Callable[[], Oracle]:
    store = MemoryStore()
    return lambda: FileOracle(folder / "oracle", store, size=3)


def requested_oracles(folder: Path) -> Callable[[], Oracle]:
    last = [1]

    def ask(count: int) -> int:
        first, last[0] = last[0], last[0] + count
        return first

    return lambda: RequestedOracle(ask)


@pytest.mark.parametrize("make", [store_oracles, file_oracles, requested_oracles])
def test_time_never_goes_back_over_restarts(make: Callable[[Path], Callable[[], Oracle]], tmp_path: Path) -> None:
    opened, last = make(tmp_path), 0
    for served in (0, 1, 2, 3, 4, 7, 0, 1):
        oracle = opened()
        for _ in range(served):
            time = oracle.next()
            assert time > last
            last = time


class Dies(Exception):
    pass


def test_store_oracle_that_dies_between_persisting_and_serving() -> None:
    store = MemoryStore()
    first = StoreOracle(store, size=10)
    given = [first.next() for _ in range(10)]
    mutate = store.mutate

    def dying(mutation: Mutation, *, sync: bool = True) -> bool:
        mutate(mutation)
        raise Dies

    store.mutate = dying  # type: ignore[method-assign]
    with pytest.raises(Dies):
        first.next()
    del store.mutate
    assert StoreOracle(store, size=10).next() > max(given)


def test_store_oracle_goes_on_after_a_request_without_an_answer() -> None:
    store = MemoryStore()
    oracle = StoreOracle(store, size=2)
    given, mutate = [oracle.next(), oracle.next()], store.mutate

    def unanswered(mutation: Mutation, *, sync: bool = True) -> bool:
        mutate(mutation)
        del store.mutate
        raise OutcomeUnknownError("no answer")

    store.mutate = unanswered  # type: ignore[method-assign]
    given += [oracle.next() for _ in range(5)]
    assert given == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(StoreError, match="another process"):
        other = StoreOracle(store, size=2)
        for _ in range(10):
            oracle.next()
            other.next()


class Disk(MemoryStore):
    """Knows what of it is on the disk, and so would be there if the machine went down. ``fails``: a change that reaches memory only."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.there = MemoryStore()

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        made = super().mutate(mutation)
        if self.fails:
            raise Dies
        if made and sync:
            self.there.write([Edit("meta", key, value) for key, value in self.scan("meta", b"", b"\xff")])
        return made


def test_file_oracle_after_the_machine_went_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's page with the next number was lost, the limit was forced to the disk; the boot identity tells."""
    path, disk = tmp_path / "oracle", Disk()
    first = FileOracle(path, disk, size=100)
    first.next()
    on_disk = path.read_bytes()
    given = [first.next() for _ in range(50)]
    path.write_bytes(on_disk)
    monkeypatch.setattr(oracles, "_boot", lambda: b"another boot")
    assert FileOracle(path, disk.there, size=100).next() > max(given)


@pytest.mark.parametrize("left", ["as it was", "empty", "of zeros", "nothing"])
def test_file_oracle_serves_nothing_from_a_limit_that_is_not_on_the_disk(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process dies, or its disk fails, while it raises the limit; others go on, and then the machine goes down."""
    path, disk = tmp_path / "oracle", Disk()
    first, second = (FileOracle(path, disk, size=10) for _ in range(2))
    given = [first.next() for _ in range(10)]
    disk.fails = True
    with pytest.raises(Dies):
        first.next()
    with pytest.raises(Dies):
        second.next()
    disk.fails = False
    given += [second.next() for _ in range(5)] + [first.next() for _ in range(12)]
    assert given == sorted(set(given))
    if left == "nothing":
        path.unlink()
    elif left != "as it was":
        path.write_bytes(bytes(60) if left == "of zeros" else b"")
    monkeypatch.setattr(oracles, "_boot", lambda: b"another boot")
    assert FileOracle(path, disk.there, size=10).next() > max(given)


def test_file_oracles_of_two_files_give_no_time_twice(tmp_path: Path) -> None:
    """Somebody removed the file while a process had it open, or copied the store without it."""
    store = MemoryStore()
    first, second = (FileOracle(tmp_path / name, store, size=3) for name in ("oracle", "another"))
    given = [(first if number % 3 else second).next() for number in range(30)]
    assert len(set(given)) == 30


def test_file_oracle_tells_the_store_the_limit_of_an_older_version(tmp_path: Path) -> None:
    path, store = tmp_path / "oracle", MemoryStore()
    path.write_bytes(FileOracle._FORM.pack(b"oracle1\n", 70, 100, oracles._boot()))
    assert FileOracle(path, store).next() == 71
    path.unlink()
    assert FileOracle(path, store).next() == 101


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs a list of open files")
def test_file_oracle_lets_go_of_its_file(tmp_path: Path) -> None:
    def files() -> int:
        return sum(os.path.realpath(f"/proc/self/fd/{name}") == str(tmp_path / "oracle") for name in os.listdir("/proc/self/fd"))

    oracle = FileOracle(tmp_path / "oracle", MemoryStore())
    assert oracle.next() == 1 and files() > 0
    for _ in range(2):
        oracle.close()
    assert files() == 0
    with pytest.raises(StoreError, match="closed"):
        oracle.next()
    (tmp_path / "oracle").write_bytes(b"something else" * 10)
    with pytest.raises(StoreError, match="no file of timestamps"):
        FileOracle(tmp_path / "oracle", MemoryStore())
    assert files() == 0


def test_file_oracle_where_nobody_says_when_the_machine_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracles.Path, "read_bytes", lambda self: (_ for _ in ()).throw(OSError()))
    path, store = tmp_path / "oracle", MemoryStore()
    first, last = FileOracle(path, store, size=100), 0
    with path.open("rb") as file:
        last = first.next()
        on_disk = file.read()
    given = [first.next() for _ in range(50)]
    path.write_bytes(on_disk)
    second = FileOracle(path, store, size=100)
    assert second.next() > max([last, *given])


def test_file_oracles_of_many_threads_and_openings(tmp_path: Path) -> None:
    store = MemoryStore()
    shared = [FileOracle(tmp_path / "oracle", store, size=7) for _ in range(3)]

    def ask(number: int) -> list[int]:
        return [shared[number % 3].next() for _ in range(200)]

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(ask, range(6)))
    assert all(times == sorted(times) for times in found)
    assert len({time for times in found for time in times}) == 1_200


def test_requested_oracle_never_gives_a_number_smaller_than_one_seen_before_asking() -> None:
    counter, mutex = [1], threading.Lock()
    seen, requests = [0], [0]

    def ask(count: int) -> int:
        with mutex:
            requests[0] += 1
            first = counter[0]
            counter[0] += count
        time.sleep(0.0005)  # on its way back: who asks now must not get it
        return first

    oracle, wrong = RequestedOracle(ask), []

    def asking(worker: int) -> None:
        for _ in range(60):
            before = seen[0]
            number = oracle.next()
            if number <= before:
                wrong.append((before, number))
            with mutex:
                seen[0] = max(seen[0], number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(asking, range(8)))
    assert not wrong
    assert requests[0] < 8 * 60 / 2, "requests are shared"


def test_requested_oracle_survives_a_request_that_fails() -> None:
    failing, last = [True], [1]

    def ask(count: int) -> int:
        time.sleep(0.002)
        if failing and failing.pop():
            raise StoreError("no connection")
        first, last[0] = last[0], last[0] + count
        return first

    oracle, found, failed = RequestedOracle(ask), [], []

    def asking(worker: int) -> None:
        try:
            found.append(oracle.next())
        except StoreError:
            failed.append(worker)

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(asking, range(5)))
    assert len(failed) == 1
    assert sorted(found) == [1, 2, 3, 4]
