"""Random operations on a store and on the one in memory, answer by answer."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from dataflow.errors import StoreError
from dataflow.kv import Absent, Edit, Equals, MemoryStore, Mutation, Range, Store, pack, pack_element, row_of, single
from dataflow.kv.mirror import Mirror

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
ROWS = ["", "a", "a\x00", "b", "x" * 520]
COLUMNS: list[Any] = ["", "c", "c\x00", 1, -1, b"\xff", "y" * 600]
KEYS = [pack((row,)) for row in ROWS] + [pack((row, column)) for row in ROWS for column in COLUMNS]
FAMILIES = ["data", "lock"]

families = st.sampled_from(FAMILIES)
rows = st.sampled_from(ROWS)
keys = st.sampled_from(KEYS)
values = st.sampled_from([b"", b"1", b"2", b"v" * 300])
bounds = st.one_of(keys, st.sampled_from([b"", b"\x66", *(pack_element(row) for row in ROWS)]))
ranges = st.one_of(st.builds(Range, families, bounds, bounds), st.builds(single, families, keys))


def keys_of(row: str) -> list[bytes]:
    return [key for key in KEYS if row_of(key) == pack_element(row)]


@st.composite
def mutations(draw: Any) -> Mutation:
    row = draw(rows)
    cells = st.sampled_from(keys_of(row))
    equals = st.builds(Equals, families, cells, st.one_of(st.none(), values))
    absent = st.builds(Absent, families, cells, st.one_of(cells, st.just(pack_element(row) + b"\xff")))
    edit = st.builds(Edit, families, cells, st.one_of(st.none(), values))
    require = draw(st.lists(st.one_of(equals, absent), max_size=3))
    return Mutation(pack_element(row), tuple(require), tuple(draw(st.lists(edit, max_size=4))))


class Lockstep(RuleBasedStateMachine):
    """Both stores under one mirror, which raises where they differ."""

    store: Store  # set by the test: one for all runs, emptied before each

    @initialize()
    def empty(self) -> None:
        for family in FAMILIES:
            for key, _ in list(self.store.scan(family, b"", b"\x66")):
                self.store.write([Edit(family, key, None)], sync=False)
        self.both = Mirror(MemoryStore(), self.store)

    @rule(row=rows, data=st.data())
    def write(self, row: str, data: Any) -> None:
        cells = keys if self.store.atomic == "store" else st.sampled_from(keys_of(row))
        edits = data.draw(st.lists(st.builds(Edit, families, cells, st.one_of(st.none(), values)), max_size=25))
        self.both.write(edits, sync=False)

    @rule(mutation=mutations())
    def mutate(self, mutation: Mutation) -> None:
        self.both.mutate(mutation, sync=False)

    @rule(several=st.lists(mutations(), max_size=6))
    def mutate_many(self, several: list[Mutation]) -> None:
        self.both.mutate_many(several, sync=False)

    @rule(family=families, asked=st.lists(keys, max_size=6))
    def get(self, family: str, asked: list[bytes]) -> None:
        for key in asked:
            self.both.get(family, key)
        self.both.get_many(family, asked)

    @rule(asked=st.lists(ranges, max_size=6))
    def firsts(self, asked: list[Range]) -> None:
        self.both.firsts(asked)

    @rule(asked=ranges, reverse=st.booleans(), limit=st.one_of(st.none(), st.integers(0, 20)))
    def scan(self, asked: Range, reverse: bool, limit: int | None) -> None:
        list(self.both.scan(*asked, reverse=reverse, limit=limit))

    @rule(family=families)
    def snapshot(self, family: str) -> None:
        if not hasattr(self.store, "snapshot"):
            return
        before = list(self.store.scan(family, b"", b"\x66"))
        with closing(self.store.snapshot(family)) as frozen:
            self.both.write([Edit(family, key, None) for key, _ in before[::2]] + [Edit(family, KEYS[0], b"new")], sync=False)
            assert list(frozen.scan(b"", b"\x66")) == before
            assert list(frozen.scan(b"", b"\x66", reverse=True)) == before[::-1]
            assert frozen.get_many(KEYS) == [dict(before).get(key) for key in KEYS]


def test_random_operations_agree_with_the_store_in_memory(store: Store) -> None:
    class Run(Lockstep):
        pass

    Run.store = store
    sizes = settings(
        max_examples=500 if LARGE else 15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(Run, settings=sizes)


def test_a_mirror_says_where_two_stores_differ() -> None:
    left, right = MemoryStore(), MemoryStore()
    both = Mirror(left, right)
    right.write([Edit("data", b"k", b"v")])
    for ask in (
        lambda: both.get("data", b"k"),
        lambda: both.get_many("data", [b"k"]),
        lambda: list(both.scan("data", b"", b"z")),
        lambda: both.firsts([single("data", b"k")]),
        lambda: both.mutate(Mutation(b"k", (Equals("data", b"k", None),), ())),
        lambda: both.mutate_many([Mutation(b"k", (Equals("data", b"k", None),), ())]),
    ):
        with pytest.raises(StoreError, match="two stores differ"):
            ask()
    with pytest.raises(KeyError):  # what both refuse is no difference
        both.get("nothing", b"k")
