"""What is particular to several stores as one."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import pytest
from conftest import emptied
from random_operations import same_answers
from servers import PostgresServer

from dataflow.errors import StoreError
from dataflow.kv import Absent, Edit, Equals, MemoryStore, Mutation, Range, open_store, pack, pack_element
from dataflow.kv.sharded import ShardedStore


def shards(count: int) -> list[MemoryStore]:
    return [MemoryStore() for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_random_operations_answer_as_in_one_store(count: int) -> None:
    for seed in range(10):
        same_answers(ShardedStore(shards(count)), seed, 200)


@pytest.mark.parametrize("seed", range(2))
def test_random_operations_on_servers_answer_as_in_memory(postgres_shards: list[PostgresServer], seed: int) -> None:
    store = open_store("sharded:" + "|".join(map(emptied, postgres_shards)))
    same_answers(store, seed, 200)
    store.close()


def test_rows_are_spread_and_stay_where_they_are() -> None:
    """The places are written out: they must be the same in every process and in every version."""
    store = ShardedStore(shards(3))
    assert [store.shard_of(pack_element(name)) for name in ("a", "b", "c", 1, 2, 3, None)] == [0, 1, 1, 1, 1, 0, 0]
    counts = [0, 0, 0]
    for number in range(3000):
        counts[store.shard_of(pack_element(number))] += 1
    assert min(counts) > 900


def test_a_scan_is_that_of_one_dictionary_and_lazy() -> None:
    parts = shards(4)
    store = ShardedStore(parts)
    whole = {pack((number % 97, number)): b"%d" % number for number in range(1000)}
    for key, value in whole.items():
        store.write([Edit("data", key, value)])
    ordered = sorted(whole.items())
    assert all(next(part.scan("data", b"", b"\xff"), None) for part in parts)
    assert list(store.scan("data", b"", b"\xff")) == ordered
    assert list(store.scan("data", b"", b"\xff", reverse=True)) == ordered[::-1]
    assert list(store.scan("data", b"", b"\xff", reverse=True, limit=7)) == ordered[::-1][:7]
    assert list(store.scan("data", ordered[10][0], ordered[500][0])) == ordered[10:500]
    assert list(islice(store.scan("data", b"", b"\xff"), 3)) == ordered[:3]
    low, high = pack_element(5), pack_element(5) + b"\xff"
    assert list(store.scan("data", low, high)) == [entry for entry in ordered if low <= entry[0] < high]
    assert store.get_many("data", [*whole, b"none"]) == [*whole.values(), None]


def test_the_same_stores_in_another_order_or_number_are_refused() -> None:
    a, b, c = shards(3)
    ShardedStore([a, b, c])
    ShardedStore([a, b, c])
    for wrong in ([b, a, c], [a, b], [a], [a, b, c, MemoryStore()], [a, b, MemoryStore()], [MemoryStore(), b, c], [a, c, b]):
        with pytest.raises(StoreError, match="shard"):
            ShardedStore(wrong)
    other = shards(3)
    ShardedStore(other)
    with pytest.raises(StoreError, match="shard"):
        ShardedStore([a, other[1], c])
    ShardedStore([a, b, c])


def test_a_store_with_entries_cannot_become_a_shard() -> None:
    used = MemoryStore()
    used.write([Edit("data", pack(("a",)), b"")])
    with pytest.raises(StoreError, match="holds entries"):
        ShardedStore([MemoryStore(), used])
    with pytest.raises(StoreError, match="holds entries"):
        ShardedStore([used])


def test_an_opening_that_was_stopped_half_way_goes_on() -> None:
    class StopError(Exception):
        pass

    class Stopping(MemoryStore):
        stopped = True

        def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
            if self.stopped:
                raise StopError
            return super().mutate(mutation)

    stores = [MemoryStore(), MemoryStore(), Stopping()]
    with pytest.raises(StopError):
        ShardedStore(stores)
    stores[2].stopped = False  # type: ignore[attr-defined]
    ShardedStore(stores).write([Edit("data", pack(("a",)), b"")])
    ShardedStore(stores)


def test_another_may_open_and_write_between_any_two_steps_of_an_opening() -> None:
    class Watched(MemoryStore):
        def __getattribute__(self, name: str):  # type: ignore[no-untyped-def]
            if name in {"get", "scan", "mutate"} and until:
                until.pop()
                if not until:
                    ShardedStore(stores).write([Edit("data", pack(("a",)), b"")])
                    done.append(name)
            return super().__getattribute__(name)

    done: list[str] = []
    until: list[None] = []
    for step in range(1, 100):
        stores = [Watched(), Watched(), Watched()]
        until = [None] * step
        ShardedStore(stores)
        if until:
            break
        ShardedStore(stores)
    assert step > 20 and len(done) == step - 1
    assert set(done) == {"get", "scan", "mutate"}


def test_one_row_at_once_and_meta_by_itself() -> None:
    store = ShardedStore(shards(3))
    a, b = pack(("a",)), pack(("b",))
    for wrong in (
        lambda: store.write([Edit("data", a, b""), Edit("data", b, b"")]),
        lambda: store.write([Edit("data", a, b""), Edit("meta", a, b"")]),
        lambda: store.mutate(Mutation(pack_element("a"), (), (Edit("data", b, b""),))),
        lambda: store.mutate(Mutation(pack_element("a"), (Equals("data", b, None),), (Edit("data", a, b""),))),
        lambda: store.mutate(Mutation(pack_element("a"), (Equals("meta", a, None),), (Edit("data", a, b""),))),
        lambda: store.mutate_many([Mutation(pack_element("a"), (Absent("data", b, b"\xff"),), ())]),
    ):
        with pytest.raises(ValueError):
            wrong()
    for name in range(20):
        key = pack((name,))
        assert store.mutate(Mutation(pack_element(name), (Equals("meta", key, None),), (Edit("meta", key, b""),)))
    assert len(list(store.shards[0].scan("meta", b"", b"\x66"))) == 20


def test_a_shard_that_fails_leaves_the_others_answers() -> None:
    class Failing(MemoryStore):
        def mutate_many(self, mutations, *, sync=True):  # type: ignore[no-untyped-def]
            raise StoreError("no disk")

    store = ShardedStore([MemoryStore(), Failing()])
    batch = [Mutation(pack_element(name), (), (Edit("data", pack((name,)), b""),)) for name in range(20)]
    homes = [store.shard_of(mutation.row) for mutation in batch]
    answers = store.mutate_many(batch)
    assert [answer is True for answer in answers] == [home == 0 for home in homes]
    assert {str(answer) for answer in answers if answer is not True} == {"no disk"}
    with pytest.raises(StoreError, match="no disk"):
        store.mutate_many([mutation for mutation, home in zip(batch, homes) if home])


FORKING = """
import os, signal, sys
from dataflow.kv import Edit, Mutation, open_store, pack, pack_element

store = open_store(sys.argv[1], **eval(sys.argv[2]))

def change(begin):
    batch = [Mutation(pack_element(n), (), (Edit("data", pack((n,)), b""),)) for n in range(begin, begin + 1000)]
    assert store.mutate_many(batch) == [True] * 1000
    assert store.get_many("data", [pack((n,)) for n in range(begin, begin + 1000)]) == [b""] * 1000

change(0)
if not (child := os.fork()):
    signal.alarm(20)
    change(1000)
    store.close()
    os._exit(0)
status = os.waitpid(child, 0)[1]
change(2000)
store.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("where", ["memory shards", "postgres", "postgres shards"])
def test_a_forked_process_goes_on_with_the_store(where: str, request: pytest.FixtureRequest) -> None:
    """A child has none of its parent's threads, and would wait for them for ever."""
    servers = request.getfixturevalue("postgres_shards")[: 2 if "shards" in where else 1] if "postgres" in where else []
    addresses = [emptied(server) for server in servers] or ["memory:", "memory:"]
    address = f"sharded:{'|'.join(addresses)}" if len(addresses) > 1 else addresses[0]
    options = {"lanes": 4} if servers else {}
    done = subprocess.run([sys.executable, "-c", FORKING, address, repr(options)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "the child hung"


def test_firsts_are_looked_at_in_their_order() -> None:
    asked: list[tuple[int, int]] = []

    class Noting(MemoryStore):
        def firsts(self, ranges):  # type: ignore[no-untyped-def]
            asked.append((parts.index(self), len(ranges)))
            return super().firsts(ranges)

    parts = [Noting(), Noting(), Noting()]
    store = ShardedStore(parts)
    rows = [pack_element(name) for name in range(12)]
    homes = [store.shard_of(row) for row in rows]
    store.firsts([Range(family, row, row + b"\xff") for row in rows for family in ("lock", "write")])
    assert [home for home, count in asked for _ in range(count)] == [home for home in homes for _ in (0, 1)]
