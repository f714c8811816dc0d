"""What is particular to PostgreSQL: lost connections, killed servers, batches, the counter."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import emptied
from random_operations import same_answers
from servers import PostgresServer

from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import Absent, Edit, Equals, Mutation, Outcome, pack, pack_element

psycopg = pytest.importorskip("psycopg", reason="needs psycopg")
from dataflow.kv.postgres import PostgresStore


@pytest.fixture
def store(postgres: PostgresServer) -> Iterator[PostgresStore]:
    opened = PostgresStore.open(emptied(postgres))
    yield opened
    opened.close()


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server that may be killed."""
    server = PostgresServer()
    yield server
    server.stop()


def take(name: object, was: bytes | None, now: bytes) -> Mutation:
    key = pack((name,))
    return Mutation(pack_element(name), (Equals("lock", key, was),), (Edit("lock", key, now),))


def patient(store: PostgresStore, timeout: float) -> None:
    """From now on so many seconds are enough for a statement: not for those of opening the store, nor for those that are to succeed."""
    store._pool._timeout = timeout
    while store._pool._idle:
        store._pool._idle.pop().close()


def value(store: PostgresStore, name: object) -> bytes | None:
    return store.get("lock", pack((name,)))


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_answer_as_in_memory(store: PostgresStore, seed: int) -> None:
    same_answers(store, seed, 250)


def test_mutations_of_one_row_in_a_batch_are_applied_in_their_order(store: PostgresStore) -> None:
    batch: list[Mutation] = []
    wanted: list[bool] = []
    for turn in range(4):
        for name in range(250):
            was = b"%d" % (turn - 1) if turn else None
            lost = (name + turn) % 10 == 0
            batch += [take(name, was, b"%d" % turn)] + ([take(name, was, b"stolen")] if lost else [])
            wanted += [True] + ([False] if lost else [])
    assert store.mutate_many(batch) == wanted
    assert {value(store, name) for name in range(250)} == {b"3"}


def test_a_row_changed_a_thousand_times_in_a_batch(store: PostgresStore) -> None:
    assert store.mutate_many([take("hot", b"%d" % n if n else None, b"%d" % (n + 1)) for n in range(1000)]) == [True] * 1000
    assert value(store, "hot") == b"1000"


def test_a_mutation_of_several_rows_waits_for_those_before_it(store: PostgresStore) -> None:
    both = Mutation(
        pack_element("a"), (Equals("lock", pack(("a",)), b"1"),), (Edit("lock", pack(("a",)), b"2"), Edit("lock", pack(("b",)), b"2"))
    )
    assert store.mutate_many([take("b", None, b"1"), take("a", None, b"1"), both, take("b", b"2", b"3")]) == [True] * 4
    assert value(store, "b") == b"3"


WORKER = """
import sys
from dataflow.kv import Absent, Edit, Mutation, pack, pack_element, successor
from dataflow.kv.postgres import PostgresStore
store, me = PostgresStore.open(sys.argv[1]), int(sys.argv[2])
for turn in range(int(sys.argv[3])):
    batch = []
    for name in range(20):
        row = pack_element((turn, name))
        batch.append(Mutation(row, (Absent("write", row, row + bytes((255,))),), (Edit("write", row + pack((me,)), b""),)))
    print(*(int(bool(won)) for won in (store.mutate_many(batch[:15]) + [store.mutate(one) for one in batch[15:]])))
"""


def test_of_processes_that_want_one_row_exactly_one_wins(store: PostgresStore, postgres: PostgresServer) -> None:
    turns, workers = 40, 4
    running = [
        subprocess.Popen([sys.executable, "-c", WORKER, postgres.address, str(me), str(turns)], stdout=subprocess.PIPE, text=True)
        for me in range(workers)
    ]
    outputs = [process.communicate()[0].split() for process in running]
    assert [len(output) for output in outputs] == [20 * turns] * workers
    assert [sum(map(int, won)) for won in zip(*outputs)] == [1] * (20 * turns)
    assert len(list(store.scan("write", b"", b"\xff"))) == 20 * turns


def test_of_threads_that_want_one_row_exactly_one_wins(store: PostgresStore) -> None:
    def want(me: int) -> list[Outcome]:
        names = list(range(300))
        random.Random(me).shuffle(names)
        won = dict(zip(names, store.mutate_many([take(name, None, b"%d" % me) for name in names], sync=False)))
        return [won[name] for name in range(300)]

    with ThreadPoolExecutor(8) as threads:
        assert [sum(map(bool, won)) for won in zip(*threads.map(want, range(8)))] == [1] * 300


def test_a_session_ended_in_the_middle_of_a_batch_leaves_known_and_unknown_outcomes(store: PostgresStore, own: PostgresServer) -> None:
    cut = PostgresStore.open(own.address, batch=50)
    stop, again = threading.Event(), threading.Event()

    def end_sessions() -> None:
        """One that is at work, each time it is told to."""
        with psycopg.connect(own.address, autocommit=True) as connection:
            while not stop.is_set():
                ended = connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where query like '%mutate_1%' and state = 'active' and pid <> pg_backend_pid()"
                ).fetchall()
                if ended:
                    again.clear()
                    while not (again.wait(0.05) or stop.is_set()):
                        pass
                time.sleep(0.001)

    killer = threading.Thread(target=end_sessions)
    killer.start()
    answers: list[Outcome] = []
    deadline = time.monotonic() + 60
    try:
        while len(answers) < 5000 or (all(answer is True for answer in answers) and time.monotonic() < deadline):
            again.set()
            answers += cut.mutate_many([take(len(answers) + n, None, b"x" * 200) for n in range(500)])
    finally:
        stop.set()
        killer.join()
    lost = [answer for answer in answers if isinstance(answer, OutcomeUnknownError)]
    assert lost and answers.count(True) == len(answers) - len(lost) > 0
    there = [found is not None for found in cut.get_many("lock", [pack((n,)) for n in range(len(answers))])]
    assert all(found for found, answer in zip(there, answers) if answer is True)
    for at in range(0, len(answers), 50):  # a statement is done or not, as a whole
        assert len(set(there[at : at + 50])) == 1
    cut.close()


def test_a_change_of_a_killed_session_is_unknown_and_a_read_is_repeated(store: PostgresStore, postgres: PostgresServer) -> None:
    def later(text: str) -> None:
        with psycopg.connect(postgres.address, autocommit=True) as other:
            while not other.execute(
                f"select pg_terminate_backend(pid) from pg_stat_activity where query like '%{text}%' and wait_event_type = 'Lock'"
            ).fetchall():
                time.sleep(0.01)

    with psycopg.connect(postgres.address) as blocker:
        blocker.execute('lock table dataflow."lock" in access exclusive mode')
        killer = threading.Thread(target=later, args=("mutate_1",))
        killer.start()
        with pytest.raises(OutcomeUnknownError):
            store.mutate(take("a", None, b"1"))
        killer.join()
        killer = threading.Thread(target=lambda: (later("select key"), blocker.rollback()))
        killer.start()
        assert store.get_many("lock", [pack(("a",))]) == [None]
        killer.join()


def test_what_was_acknowledged_is_there_after_the_server_was_killed(own: PostgresServer) -> None:
    store = PostgresStore.open(own.address)
    acknowledged: list[int] = []
    stamps: list[int] = []

    def change(first: int) -> None:
        number = first
        while not stop.is_set():
            stamps.append(store.next_timestamps(10))
            if store.mutate_many([take((number, n), None, b"") for n in range(20)]) != [True] * 20:
                return
            acknowledged.append(number)
            number += 4

    for turn in range(3):
        stop = threading.Event()
        workers = [threading.Thread(target=change, args=(turn * 1_000_000 + me,)) for me in range(4)]
        for worker in workers:
            worker.start()
        enough, deadline = len(acknowledged) + 40, time.monotonic() + 60
        while len(acknowledged) < enough and time.monotonic() < deadline and all(worker.is_alive() for worker in workers):
            time.sleep(0.01)
        own.kill()
        stop.set()
        own.start()
        assert len(acknowledged) >= enough
        for worker in workers:
            worker.join()
        found = {key for key, _ in store.scan("lock", b"", b"\xff")}
        assert {pack(((number, n),)) for number in acknowledged for n in range(20)} <= found
        assert len(found) % 20 == 0  # a batch is there or not
    assert len(set(stamps)) == len(stamps)
    assert store.next_timestamps() >= max(stamps) + 10
    store.close()


def test_timestamps_are_never_given_twice(store: PostgresStore, postgres: PostgresServer) -> None:
    other = PostgresStore.open(postgres.address)
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda n: ((store, other)[n % 2].next_timestamps(n + 1), n + 1), range(60)))
    spread = [stamp for first, n in given for stamp in range(first, first + n)]
    assert len(spread) == len(set(spread))
    assert store.next_timestamps() == max(spread) + 1
    assert min(spread) == 1
    other.close()


def test_a_server_that_hangs_is_given_up(own: PostgresServer) -> None:
    store = PostgresStore.open(own.address, patience=1.0)
    store._pool._timeout = 0.5  # only now: to open it takes what it takes; and on the connection that is there
    own.pause(True)
    try:
        began = time.monotonic()
        with pytest.raises(OutcomeUnknownError):
            store.mutate(take("a", None, b"1"))
        assert time.monotonic() - began < 30
    finally:
        own.pause(False)
    patient(store, 60)
    assert value(store, "a") in (None, b"1")
    store.close()


def test_a_statement_that_takes_too_long_is_refused_and_not_unknown(store: PostgresStore, postgres: PostgresServer) -> None:
    quick = PostgresStore.open(postgres.address)
    patient(quick, 0.3)
    with psycopg.connect(postgres.address) as blocker:
        blocker.execute('lock table dataflow."lock" in access exclusive mode')
        with pytest.raises(StoreError, match="timeout") as raised:
            quick.mutate(take("a", None, b"1"))
        assert not isinstance(raised.value, OutcomeUnknownError)
    patient(quick, 60)
    assert quick.mutate(take("a", None, b"1"))
    quick.close()


def test_a_batch_with_more_locks_than_the_server_has_is_made_smaller() -> None:
    server = PostgresServer("max_locks_per_transaction=10", "max_connections=10")
    try:
        store = PostgresStore.open(server.address)
        assert store.mutate_many([take(n, None, b"1") for n in range(3000)]) == [True] * 3000
        assert store._batch < 1000
        assert store.mutate_many([take(n // 2, b"1", b"2") for n in range(3000)]) == [True, False] * 1500
        store.close()
    finally:
        server.stop()


def test_the_password_is_never_shown(postgres: PostgresServer) -> None:
    server = PostgresServer(password="hunter2")
    try:
        store = PostgresStore.open(server.address)
        assert "hunter2" not in store.name
        assert store.name == f"postgresql://dataflow@127.0.0.1:{server.port}/postgres"
        store.close()
        wrong = server.address.replace("hunter2", "letmein")
        with pytest.raises(StoreError) as raised:
            PostgresStore.open(wrong)
        shown = f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
        assert "letmein" not in shown and "password authentication failed" in shown
    finally:
        server.stop()
    with pytest.raises(StoreError) as raised:
        PostgresStore.open(server.address, patience=0.2)
    assert "hunter2" not in str(raised.value) and "cannot be reached" in str(raised.value)
    with pytest.raises(StoreError) as raised:
        PostgresStore.open("postgresql://ann:hunter2@host:port:1/x y?a")
    assert "hunter2" not in str(raised.value)


def test_a_newer_format_is_refused(store: PostgresStore, postgres: PostgresServer) -> None:
    assert store.get("meta", b"format") == b"1"
    store.write([Edit("meta", b"format", b"2")])
    with pytest.raises(StoreError, match="format '2'"):
        PostgresStore.open(postgres.address)


def test_several_that_open_at_once_lay_down_one_schema(postgres: PostgresServer) -> None:
    emptied(postgres)
    with ThreadPoolExecutor(6) as threads:
        stores = list(threads.map(lambda _: PostgresStore.open(postgres.address), range(6)))
    assert sorted(store.next_timestamps() for store in stores) == [1, 2, 3, 4, 5, 6]
    for store in stores:
        store.close()


def test_schemas_are_apart(store: PostgresStore, postgres: PostgresServer) -> None:
    other = PostgresStore.open(postgres.address, schema='an "other" {} schema %s')
    try:
        assert other.mutate(take("a", None, b"1")) and store.mutate(take("a", None, b"1"))
        assert other.next_timestamps(3) == 1 and store.next_timestamps() == 1
        row = pack_element("a")
        assert not other.mutate(Mutation(row, (Absent("lock", row, row + b"\xff"),), ()))
    finally:
        other.close()
