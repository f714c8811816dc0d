"""What every store must do, as `dataflow.kv.store` promises it to the transactions."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dataflow.errors import OutcomeUnknownError, StoreError
from dataflow.kv import Absent, Edit, Equals, MemoryStore, Mutation, Outcome, Range, Store, end_of_row, pack, pack_element, single
from dataflow.kv.faulty import FaultyStore
from dataflow.kv.store import FAMILIES

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"


def key(*parts: object) -> bytes:
    return pack(parts)


def row(name: str) -> bytes:
    return pack_element(name)


def fill(store: Store, edits: list[Edit]) -> None:
    if store.atomic == "store":
        store.write(edits, sync=False)
    else:
        for edit in edits:
            store.write([edit], sync=False)


def numbered(count: int, family: str = "data") -> list[Edit]:
    return [Edit(family, key("r", number), b"%d" % number) for number in range(count)]


def everything(name: str) -> tuple[bytes, bytes]:
    return row(name), end_of_row(row(name))


# Reading


def test_what_was_put_is_there_and_what_was_deleted_is_not(store: Store) -> None:
    store.write([Edit("data", key("r", 1), b"one"), Edit("data", key("r", 2), b""), Edit("lock", key("r", 1), b"mine")])
    assert [store.get("data", key("r", number)) for number in (1, 2, 3)] == [b"one", b"", None]
    assert store.get("lock", key("r", 1)) == b"mine"
    assert store.get("write", key("r", 1)) is None
    store.write([Edit("data", key("r", 1), None), Edit("data", key("r", 2), b"two"), Edit("data", key("r", 9), None)])
    assert store.get_many("data", [key("r", number) for number in (2, 1, 2, 3)]) == [b"two", None, b"two", None]
    assert store.get_many("data", []) == []
    assert store.get_many("data", (key("r", 2),)) == [b"two"]


def test_bytes_of_every_kind_come_back_and_sort_as_bytes(store: Store) -> None:
    values = [b"", b"\x00", b"\x00\x00", b"\x00\xff", b"\x7f", b"\x80", b"\xff", b"\xff\x00", b"\xff\xff", b"a" * 40, b"'\"\\%\n"]
    fill(store, [Edit("data", key("r", value), value) for value in values])
    assert list(store.scan("data", *everything("r"))) == [(key("r", value), value) for value in sorted(values)]


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_large_values_come_back(store: Store, size: int) -> None:
    value = random.Random(size).randbytes(size)
    store.write([Edit("data", key("r", 1), value), Edit("data", key("r", 2), b"small")])
    assert store.get("data", key("r", 1)) == value
    assert [len(found) for _, found in store.scan("data", *everything("r"))] == [size, 5]


@pytest.mark.parametrize("length", [300, 508, 509, 510, 511, 1900])
def test_long_keys_sort_among_short_ones(store: Store, length: int) -> None:
    def long(tail: str) -> bytes:
        return key("r", "x" * length + tail)

    made = [long("a"), long("b"), long("ab"), long(""), key("r", "x"), key("r", "y")]
    fill(store, [Edit("data", one, one[-3:]) for one in made])
    assert [found for found, _ in store.scan("data", *everything("r"))] == sorted(made)
    assert [found for found, _ in store.scan("data", *everything("r"), reverse=True)] == sorted(made, reverse=True)
    assert store.get("data", long("ab")) == long("ab")[-3:]
    assert store.get("data", long("c")) is None
    assert store.firsts([Range("data", long("aa"), long("c"))]) == [(long("ab"), long("ab")[-3:])]
    assert not store.mutate(Mutation(row("r"), (Absent("data", long("b"), long("c")),), ()))
    store.write([Edit("data", long("a"), None)])
    assert [found for found, _ in store.scan("data", long(""), long("b"))] == [long(""), long("ab")]


def test_a_scan_goes_over_the_borders_of_its_pages(store: Store) -> None:
    fill(store, [*numbered(600), Edit("data", key("q", 1), b"before"), Edit("data", key("s", 1), b"behind")])
    for count in (0, 1, 15, 16, 17, 79, 80, 81, 255, 256, 257, 600):
        keys = [key("r", number) for number in range(count)]
        span = row("r"), key("r", count)
        assert [found for found, _ in store.scan("data", *span)] == keys
        assert [found for found, _ in store.scan("data", *span, reverse=True)] == keys[::-1]
        for limit in {0, 1, 15, 16, 17, count - 1, count, count + 1} & set(range(1000)):
            assert [found for found, _ in store.scan("data", *span, limit=limit)] == keys[:limit]
            assert [found for found, _ in store.scan("data", *span, limit=limit, reverse=True)] == keys[::-1][:limit]


def test_a_range_holds_its_start_and_not_its_stop(store: Store) -> None:
    fill(store, numbered(10))
    for reverse in (False, True):
        found = [int(value) for _, value in store.scan("data", key("r", 3), key("r", 6), reverse=reverse)]
        assert sorted(found) == [3, 4, 5]
        assert list(store.scan("data", key("r", 6), key("r", 3), reverse=reverse)) == []
        assert list(store.scan("data", key("r", 3), key("r", 3), reverse=reverse)) == []
    assert store.firsts([Range("data", key("r", 6), key("r", 3)), single("data", key("r", 3))])[0] is None


def test_a_scan_goes_on_while_others_change_the_store(store: Store) -> None:
    fill(store, numbered(400))
    seen = []
    for found, _ in store.scan("data", *everything("r")):
        seen.append(found)
        store.write([Edit("data", found, None), Edit("data", key("r", -1), b"behind us")], sync=False)
    assert seen == [key("r", number) for number in range(400)]


def test_firsts_answers_in_the_order_asked_and_knows_its_borders(store: Store) -> None:
    fill(store, [*numbered(5), Edit("lock", key("r", 3), b"locked"), Edit("write", key("s", 1), b"w")])
    assert store.firsts([]) == []
    assert store.firsts(
        [
            single("lock", key("r", 3)),
            single("lock", key("r", 2)),
            Range("data", key("r", 1), key("r", 4)),
            Range("data", key("r", 4), key("r", 9)),
            Range("data", key("r", 5), key("s")),
            single("data", key("r", 2)),
            Range("write", *everything("r")),
            Range("write", *everything("s")),
            Range("lock", *everything("s")),
        ]
    ) == [
        (key("r", 3), b"locked"), None, (key("r", 1), b"1"), (key("r", 4), b"4"), None, (key("r", 2), b"2"),
        None, (key("s", 1), b"w"), None,
    ]  # fmt: skip
    assert store.firsts([single("data", key("r", 9)), single("data", key("r", 0))]) == [None, (key("r", 0), b"0")]


def test_a_seek_never_finds_a_key_that_its_own_begins(store: Store) -> None:
    """The newest version of ("r", "a") is sought from ("r", "a", time): ("r", "a\\0…") and ("r", "a", "b") are other cells."""
    for other in (key("r", "ab", -5), key("r", "a\x00", -5), key("r", "a", "b", -5), key("r", ("a", "b"), -5)):
        store.write([Edit("write", other, b"other")], sync=False)
    cell = pack_element("r") + pack_element("a")
    times = cell + pack_element(-9), cell + pack_element(0)
    assert store.firsts([Range("write", *times)]) == [None]
    store.write([Edit("write", key("r", "a", -5), b"mine")])
    assert store.firsts([Range("write", *times)]) == [(key("r", "a", -5), b"mine")]


def test_a_row_ends_before_one_that_goes_on_with_a_zero(store: Store) -> None:
    """Row "r\\0s" begins with the bytes of row "r": its entries are none of that row, in a scan and in a condition."""
    mine, longer = key("r", "z"), key("r\0s", "a")
    store.write([Edit("data", longer, b"other")])
    start, stop = row("r"), end_of_row(row("r"))
    assert list(store.scan("data", start, stop)) == []
    assert store.mutate(Mutation(row("r"), (Absent("data", start, stop),), (Edit("data", mine, b"mine"),)))
    assert not store.mutate(Mutation(row("r"), (Absent("data", start, stop),), (Edit("data", mine, b"again"),)))
    assert list(store.scan("data", start, stop)) == [(mine, b"mine")]
    assert list(store.scan("data", start, stop, reverse=True)) == [(mine, b"mine")]
    assert store.firsts([Range("data", start, stop)]) == [(mine, b"mine")]


# Changing


def test_of_two_edits_of_a_key_the_last_holds(store: Store) -> None:
    one = key("r", 1)
    store.write([Edit("data", one, b"a"), Edit("data", one, None), Edit("data", one, b"c")])
    assert store.get("data", one) == b"c"
    assert store.mutate(Mutation(row("r"), (), (Edit("data", one, b"d"), Edit("data", one, None))))
    assert store.get("data", one) is None
    store.write([])
    assert store.mutate(Mutation(row("r"), (), ()))
    assert store.mutate_many([]) == []


def test_a_mutation_is_made_only_if_all_its_conditions_hold(store: Store) -> None:
    cell, lock = key("r", 1), key("r", 1)
    absent = Absent("lock", *everything("r"))
    edit = (Edit("data", cell, b"new"), Edit("lock", lock, None))
    fill(store, [Edit("data", cell, b"old"), Edit("data", key("s", 1), b"other row"), Edit("lock", key("s", 1), b"other row")])
    held = [
        ((Equals("data", cell, b"old"),), True),
        ((Equals("data", cell, b"old"),), False),
        ((Equals("data", cell, b"new"), absent), True),
        ((Equals("data", cell, b"new"), Equals("lock", lock, None)), True),
        ((Equals("data", cell, None),), False),
        ((absent, Equals("data", cell, b"no")), False),
        ((Absent("data", *everything("r")),), False),
        ((Absent("data", cell, cell),), True),
        ((Absent("data", key("r", 2), key("r", 3)), Absent("write", *everything("r"))), True),
    ]
    for require, made in held:
        assert store.mutate(Mutation(row("r"), require, edit)) is made, require
        assert store.get("data", cell) == (b"new" if made or require else b"old")
    store.write([Edit("lock", lock, b"mine")])
    assert not store.mutate(Mutation(row("r"), (absent,), edit))
    assert store.mutate(Mutation(row("r"), (Equals("lock", lock, b"mine"),), edit))
    assert store.get("lock", lock) is None


def test_many_mutations_are_independent_and_of_one_row_in_order(store: Store) -> None:
    def take(name: str, was: bytes | None, now: bytes) -> Mutation:
        return Mutation(row(name), (Equals("lock", key(name), was),), (Edit("lock", key(name), now), Edit("data", key(name, now), b"")))

    wanted = [take("a", None, b"1"), take("b", b"?", b"1"), take("a", b"1", b"2"), take("c", None, b"1"), take("a", None, b"3")]
    wanted += [take(f"n{number}", None, b"1") for number in range(150)]
    assert store.mutate_many(wanted) == [True, False, True, True, False] + [True] * 150
    assert store.get_many("lock", [key("a"), key("b"), key("c"), key("n149")]) == [b"2", None, b"1", b"1"]
    assert [found for found, _ in store.scan("data", *everything("a"))] == [key("a", b"1"), key("a", b"2")]


def test_edits_of_many_rows_where_the_store_can(store: Store) -> None:
    edits = [Edit("data", key(f"row{number}"), b"v") for number in range(300)]
    if store.atomic == "store":
        store.write(edits)
        assert len(list(store.scan("data", b"", b"\x66"))) == 300
    else:
        with pytest.raises(ValueError, match="row"):
            store.write(edits)


def test_mutations_of_one_row_happen_one_after_the_other(store: Store) -> None:
    """A counter, added to by compare-and-set from four threads: every success counts once."""
    made = [0] * 4
    rounds = 200 if LARGE else 40

    def add(worker: int) -> None:
        while made[worker] < rounds:
            was = store.get("data", key("r"))
            now = b"%d" % (int(was or b"0") + 1)
            if store.mutate(Mutation(row("r"), (Equals("data", key("r"), was),), (Edit("data", key("r"), now),)), sync=False):
                made[worker] += 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    assert store.get("data", key("r")) == b"%d" % (4 * rounds)


def test_a_write_never_falls_between_the_conditions_and_the_edits_of_a_mutation(store: Store) -> None:
    """A notification is deleted if it is no newer than what was seen; one that is set meanwhile must stay."""
    seen: set[bytes] = set()
    rounds = 600 if LARGE else 150
    done = threading.Event()

    def clear() -> None:
        while not done.is_set():
            was = store.get("notify", key("r"))
            if was is not None and store.mutate(
                Mutation(row("r"), (Equals("notify", key("r"), was),), (Edit("notify", key("r"), None),)), sync=False
            ):
                seen.add(was)

    with ThreadPoolExecutor(2) as threads:
        workers = [threads.submit(clear) for _ in range(2)]
        for number in range(rounds):
            store.write([Edit("notify", key("r"), b"%d" % number)], sync=False)
        last = b"%d" % (rounds - 1)
        with contextlib.suppress(TimeoutError):
            workers[0].result(0.2)
        done.set()
    assert last in seen or store.get("notify", key("r")) == last


def test_the_edits_of_a_change_are_seen_together(store: Store) -> None:
    """While a lock gives way to a write record, `firsts` asks for the lock first: it finds the lock, or the record, never neither."""
    rounds = 400 if LARGE else 60
    done = threading.Event()
    neither: list[int] = []

    def look() -> None:
        while not done.is_set():
            lock, record = store.firsts([Range("lock", *everything("r")), Range("write", *everything("r"))])
            if lock is None and record is None:
                neither.append(1)

    store.write([Edit("lock", key("r"), b"")], sync=False)
    with ThreadPoolExecutor(2) as threads:
        workers = [threads.submit(look) for _ in range(2)]
        for _ in range(rounds):
            store.mutate(Mutation(row("r"), (), (Edit("lock", key("r"), None), Edit("write", key("r", 1), b""))), sync=False)
            # the lock comes back before the record goes, so that there is always one of them
            store.mutate(Mutation(row("r"), (), (Edit("lock", key("r"), b""),)), sync=False)
            store.mutate(Mutation(row("r"), (), (Edit("write", key("r", 1), None),)), sync=False)
        done.set()
        for worker in workers:
            worker.result()
    assert not neither


# Answers that get lost


def test_of_unknown_outcomes_half_were_made(store: Store) -> None:
    faulty = FaultyStore(store, random.Random(5), unknown=0.5)
    rows = [f"r{number}" for number in range(120)]
    answers: dict[str, Outcome] = {}
    for name in rows[:60]:
        try:
            answers[name] = faulty.mutate(Mutation(row(name), (), (Edit("data", key(name), b""),)), sync=False)
        except OutcomeUnknownError as reason:
            answers[name] = reason
    sent = [Mutation(row(name), (), (Edit("data", key(name), b""),)) for name in rows[60:]]
    answers |= dict(zip(rows[60:], faulty.mutate_many(sent, sync=False)))
    there = {name for name in rows if store.get("data", key(name)) is not None}
    unknown = {name for name in rows if isinstance(answers[name], OutcomeUnknownError)}
    assert there >= {name for name in rows if answers[name] is True}
    assert 40 < len(unknown) < 80
    assert len(unknown) / 4 < len(unknown & there) < 3 * len(unknown) / 4


def test_a_counter_that_looks_before_it_repeats_counts_right(store: Store) -> None:
    """Each increment leaves its name behind, so after an unknown outcome the row says whether it was made, late or not."""
    faulty = FaultyStore(store, random.Random(6), unknown=0.4, late=0.5, twice=0.2)
    for number in range(60):
        mark = key("r", "done", number)
        while store.get("data", mark) is None:
            was = faulty.get("data", key("r"))
            now = b"%d" % (int(was or b"0") + 1)
            require = (Equals("data", key("r"), was), Equals("data", mark, None))
            with contextlib.suppress(OutcomeUnknownError):
                faulty.mutate(Mutation(row("r"), require, (Edit("data", key("r"), now), Edit("data", mark, b""))), sync=False)
    faulty.deliver()
    assert store.get("data", key("r")) == b"60"


# Closing, opening again, dying


def test_closed_twice_is_no_error_and_used_after_it_is_one(store: Store) -> None:
    store.write([Edit("data", key("r"), b"v")])
    scan = store.scan("data", *everything("r"))
    store.close()
    store.close()
    if isinstance(store, MemoryStore):
        return
    change = Mutation(row("r"), (), (Edit("data", key("r"), b""),))
    for use in (
        lambda: store.get("data", key("r")),
        lambda: store.get_many("data", [key("r")]),
        lambda: list(store.scan("data", b"", b"\xff")),
        lambda: list(scan),
        lambda: store.firsts([single("data", key("r"))]),
        lambda: store.write([Edit("data", key("r"), b"v")]),
        lambda: store.mutate(change),
        lambda: store.mutate_many([change]),
    ):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_opened_again_everything_is_there(store: Store, backend: Any) -> None:
    if isinstance(store, MemoryStore):
        return
    fill(store, numbered(300))
    store.mutate(Mutation(row("r"), (), (Edit("lock", key("r"), b"held"), Edit("data", key("r", 7), None))))
    store.close()
    again = backend.open()
    try:
        assert len(list(again.scan("data", *everything("r")))) == 299
        assert again.get("lock", key("r")) == b"held"
    finally:
        again.close()


WRITER = """
import json, sys
from dataflow.kv import Edit, Mutation, open_store, pack, pack_element
store = open_store(sys.argv[1], **json.loads(sys.argv[2]))
sync = sys.argv[3] == "sync"
for number in range(100_000):
    edits = (Edit("data", pack(("r", number)), b"v" * 100), Edit("write", pack(("r", number)), b"v"))
    if number % 2:
        store.write(edits, sync=sync)
    else:
        store.mutate(Mutation(pack_element("r"), (), edits), sync=sync)
    print(number, flush=True)
"""


@pytest.mark.parametrize("sync", ["sync", "unsynced"])
def test_what_was_acknowledged_survives_kill_9(store: Store, backend: Any, sync: str) -> None:
    if isinstance(store, MemoryStore):
        return
    store.close()
    process = subprocess.Popen([sys.executable, "-c", WRITER, backend.address, json.dumps(backend.options), sync], stdout=subprocess.PIPE)
    assert process.stdout is not None
    last = -1
    for line in process.stdout:
        last = int(line)
        if last == (2000 if LARGE else 200):
            process.send_signal(signal.SIGKILL)
            break
    last = max([last, *map(int, process.stdout.read().split())])  # acknowledged while we killed
    process.wait()
    process.stdout.close()
    assert last >= 200  # else it died by itself
    again = backend.open()
    try:
        there = [found for found, _ in again.scan("data", *everything("r"))]
        assert len(there) in (last + 1, last + 2)
        assert there == [key("r", number) for number in range(len(there))]
        assert [found for found, _ in again.scan("write", *everything("r"))] == there
    finally:
        again.close()


COUNTER = """
import json, sys
from dataflow.kv import Edit, Equals, Mutation, open_store, pack, pack_element
store = open_store(sys.argv[1], **json.loads(sys.argv[2]))
made = 0
while made < int(sys.argv[3]):
    was = store.get("data", pack(("r",)))
    now = b"%d" % (int(was or b"0") + 1)
    made += store.mutate(Mutation(pack_element("r"), (Equals("data", pack(("r",)), was),), (Edit("data", pack(("r",)), now),)), sync=False)
"""


def test_mutations_of_one_row_from_several_processes(store: Store, backend: Any) -> None:
    if not store.shared:
        return
    rounds = 1000 if LARGE else 100
    command = [sys.executable, "-c", COUNTER, backend.address, json.dumps(backend.options), str(rounds)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0] * 3
    assert store.get("data", key("r")) == b"%d" % (3 * rounds)  # and this process sees what others committed


def test_every_family_is_there_and_no_other(store: Store) -> None:
    for family in FAMILIES:
        store.write([Edit(family, key("r"), family.encode())], sync=False)
    assert [store.get(family, key("r")) for family in FAMILIES] == [family.encode() for family in FAMILIES]
    with pytest.raises((KeyError, StoreError)):
        store.get("nothing", key("r"))
