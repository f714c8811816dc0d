"""What is particular to Bigtable."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from random_operations import same_answers
from servers import BigtableEmulator

from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import Absent, Edit, Equals, Mutation, Outcome, Range, pack, pack_element

pytest.importorskip("google.cloud.bigtable_v2", reason="needs google-cloud-bigtable")
from google.cloud.bigtable_admin_v2 import BigtableTableAdminClient

from dataflow.kv.bigtable import BigtableStore


@pytest.fixture
def store(bigtable_table: str) -> Iterator[BigtableStore]:
    opened = BigtableStore.open(bigtable_table)
    yield opened
    opened.close()


@pytest.mark.parametrize("seed", range(6))
def test_random_operations_answer_as_in_memory(store: BigtableStore, seed: int) -> None:
    same_answers(store, seed, 200)


def test_ranges_that_begin_and_end_inside_rows(store: BigtableStore) -> None:
    keys = sorted(pack((row, column)) for row in ("a", "a\x00", "a\x00b", "ab", "b") for column in range(5))
    for key in keys:
        store.write([Edit("data", key, key)])
    bounds = [*keys[::3], *(key[:-2] for key in keys[::4]), b"", b"\xff", pack_element("a"), pack_element("a") + b"\xff"]
    for low in bounds:
        for high in bounds:
            wanted = [(key, key) for key in keys if low <= key < high]
            assert list(store.scan("data", low, high)) == wanted
            assert list(store.scan("data", low, high, reverse=True)) == wanted[::-1]
            assert store.firsts([Range("data", low, high)]) == [wanted[0] if wanted else None]


def test_conditions_of_both_kinds_hold_together(store: BigtableStore) -> None:
    row = pack_element("r")
    one, two, three = (pack(("r", number)) for number in range(3))
    store.write([Edit("data", one, b"1"), Edit("data", two, b"")])
    kinds = {
        Equals("data", one, b"1"): True, Equals("data", one, b""): False, Equals("data", one, None): False,
        Equals("data", two, b""): True, Equals("data", two, b"\x00"): False, Equals("data", three, None): True,
        Equals("data", three, b""): False, Equals("lock", three, b"x"): False,
        Absent("lock", row, row + b"\xff"): True, Absent("data", two, three): False, Absent("data", three, row + b"\xff"): True,
    }  # fmt: skip
    for first in kinds:
        for second in kinds:
            for third in list(kinds)[::2]:
                require = (first, second, third)
                holds = all(kinds[each] for each in require)
                assert store.mutate(Mutation(row, require, (Edit("notify", one, b""),))) is holds, require
                assert store.mutate(Mutation(row, require, ())) is holds, require
    empty = pack_element("empty")  # a row without any cell
    key = pack(("empty",))
    assert not store.mutate(Mutation(empty, (Equals("lock", key, b""), Absent("data", empty, empty + b"\xff")), (Edit("lock", key, b""),)))
    assert store.mutate(Mutation(empty, (Equals("lock", key, None), Absent("data", empty, empty + b"\xff")), (Edit("lock", key, b""),)))


def test_a_put_replaces_whatever_the_clock_says(store: BigtableStore) -> None:
    row, key = pack_element("r"), pack(("r",))
    for number in range(50):
        store.write([Edit("data", key, b"%d" % number)])
        assert store.get("data", key) == b"%d" % number
        assert store.mutate(Mutation(row, (Equals("data", key, b"%d" % number),), (Edit("data", key, None), Edit("data", key, b"x"))))
        assert store.get("data", key) == b"x"


def test_wide_rows_and_many_rows_come_in_pages(store: BigtableStore) -> None:
    keys = [pack(("wide", number)) for number in range(2500)]
    store.write([Edit("data", key, b"") for key in keys])
    assert [key for key, _ in store.scan("data", keys[3], keys[2400])] == keys[3:2400]
    assert [key for key, _ in store.scan("data", keys[3], keys[2400], limit=700)] == keys[3:703]
    assert store.get_many("data", [*keys[:300], b"none"]) == [b""] * 300 + [None]
    assert store.firsts([Range("data", key, key + b"\x00") for key in keys[:300]]) == [(key, b"") for key in keys[:300]]


def test_of_threads_that_want_one_row_exactly_one_wins(store: BigtableStore, bigtable_table: str) -> None:
    def want(me: int) -> list[Outcome]:
        mine = BigtableStore.open(bigtable_table)
        batch = []
        for name in range(60):
            row = pack_element(name)
            batch.append(Mutation(row, (Absent("write", row, row + b"\xff"),), (Edit("write", pack((name, me)), b""),)))
        won = mine.mutate_many(batch)
        mine.close()
        return won

    with ThreadPoolExecutor(4) as threads:
        assert [sum(map(bool, won)) for won in zip(*threads.map(want, range(4)))] == [1] * 60


def test_timestamps_are_never_given_twice(store: BigtableStore) -> None:
    with ThreadPoolExecutor(4) as threads:
        given = list(threads.map(lambda n: (store.next_timestamps(n), n), range(1, 40)))
    spread = [stamp for first, n in given for stamp in range(first, first + n)]
    assert sorted(spread) == list(range(1, sum(range(1, 40)) + 1))


def test_a_change_without_an_answer_is_unknown_and_a_read_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = BigtableEmulator()
    monkeypatch.setenv("BIGTABLE_EMULATOR_HOST", emulator.host)
    store = BigtableStore.open("bigtable://p/i/t", patience=0.3, timeout=5)
    emulator.kill()
    row, key = pack_element("r"), pack(("r",))
    change = Mutation(row, (Equals("lock", key, None),), (Edit("lock", key, b""),))
    with pytest.raises(OutcomeUnknownError):
        store.mutate(change)
    assert all(isinstance(answer, OutcomeUnknownError) for answer in store.mutate_many([change, change]))
    with pytest.raises(StoreError, match="cannot be reached"):
        store.get("lock", key)
    store.close()


def test_two_may_open_a_table_without_families_at_once(store: BigtableStore, bigtable_table: str) -> None:
    """Another opens the table between our look at its families and our making them."""
    place, name = bigtable_table.rpartition("/")[0], "made_in_advance"
    admin = store._calls.admin()
    admin.create_table(request={"parent": store._parent, "table_id": name, "table": {}})
    look = BigtableTableAdminClient.get_table
    opened: list[BigtableStore] = []
    looks: list[None] = []

    def looked(self: BigtableTableAdminClient, **request: object) -> object:
        found = look(self, **request)  # type: ignore[arg-type]
        if not looks:
            looks.append(None)
            opened.append(BigtableStore.open(f"{place}/{name}"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BigtableTableAdminClient, "get_table", looked)
        opened.append(BigtableStore.open(f"{place}/{name}"))
    first, second = opened
    first.write([Edit("data", pack(("a",)), b"1")])
    assert second.get("data", pack(("a",))) == b"1"
    first.close()
    second.close()
    admin.delete_table(request={"name": f"{store._parent}/tables/{name}"})
    admin.transport.close()


def test_a_newer_format_and_a_missing_table_are_refused(store: BigtableStore, bigtable_table: str) -> None:
    store.write([Edit("meta", b"format", b"2")])
    with pytest.raises(StoreError, match="format '2'"):
        BigtableStore.open(bigtable_table)
    with pytest.raises(StoreError):
        BigtableStore.open("bigtable://project/instance/none", create=False)
    with pytest.raises(StoreError, match="address"):
        BigtableStore.open("bigtable://project/instance")
