"""Oracles: every timestamp is larger than all that anybody was given before, whatever dies between persisting and serving."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import MemoryStore, Mutation
from dataflow.txn import oracle as oracles
from dataflow.txn.oracle import FileOracle, Oracle, RequestedOracle, StoreOracle


def store_oracles(folder: Path) -> Callable[[], Oracle]:
    store = MemoryStore()
    return lambda: StoreOracle(store, size=3)


def file_oracles(folder: Path) -> Callable[[], Oracle]:
    return lambda: FileOracle(folder / "oracle", size=3)


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


def test_file_oracle_after_the_machine_went_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's page with the next number was lost, the limit was forced to the disk; the boot identity tells."""
    path = tmp_path / "oracle"
    first = FileOracle(path, size=100)
    first.next()
    on_disk = path.read_bytes()
    given = [first.next() for _ in range(50)]
    path.write_bytes(on_disk)
    monkeypatch.setattr(oracles, "_boot", lambda: b"another boot")
    assert FileOracle(path, size=100).next() > max(given)


def test_file_oracle_where_nobody_says_when_the_machine_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracles.Path, "read_bytes", lambda self: (_ for _ in ()).throw(OSError()))
    path = tmp_path / "oracle"
    first, last = FileOracle(path, size=100), 0
    with path.open("rb") as file:
        last = first.next()
        on_disk = file.read()
    given = [first.next() for _ in range(50)]
    path.write_bytes(on_disk)
    second = FileOracle(path, size=100)
    assert second.next() > max([last, *given])


def test_file_oracles_of_many_threads_and_openings(tmp_path: Path) -> None:
    shared = [FileOracle(tmp_path / "oracle", size=7) for _ in range(3)]

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
