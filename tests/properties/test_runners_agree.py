"""Generated pipelines over generated data: every runner gives what the reference runner gives."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow import PCollection, Pipeline
from dataflow.aggregators import AllOf, Collect, Count, Max, Mean, Min, Sum, Top
from dataflow.algebra.order import canonical, order_key

EXAMPLES = 400 if os.environ.get("DATAFLOW_TEST_SIZE") == "large" else 60
RELAXED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

numbers = st.one_of(st.integers(-5, 5), st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([-0.0, 0.0, 1.0, True, False]))
texts = st.text(st.sampled_from("ab\x00é日 \ud800"), max_size=4)
scalars = st.one_of(st.none(), numbers, texts, st.binary(max_size=3))
keys = st.one_of(scalars, st.tuples(scalars, scalars), st.sampled_from(["a", "b"]))
values = st.one_of(scalars, st.lists(st.integers(0, 3), max_size=3), st.dictionaries(texts, numbers, max_size=2), st.tuples(keys))
elements = st.one_of(
    st.lists(keys, max_size=25),
    st.lists(st.integers(-3, 3), max_size=40),
    st.lists(texts, max_size=40),
    st.lists(st.none(), max_size=5),
    st.just([]),
)
tables = st.lists(st.tuples(keys, values), max_size=25)


def same(value: Any) -> Any:
    """A stand-in equal for equal results: NaN is NaN, floats up to rounding, lists of a group as bags."""
    if isinstance(value, bool) or value is None:
        return (type(value).__name__, value)
    if isinstance(value, (int, float)):
        if isinstance(value, float) and math.isnan(value):
            return ("nan",)
        return ("number", value if abs(value) > 2**53 or math.isinf(value) else round(float(value), 6))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, tuple(map(same, value)))
    if isinstance(value, dict):
        return ("dict", tuple(sorted((repr(k), repr(same(v))) for k, v in value.items())))
    return (type(value).__name__, value)


def bag(rows: list[Any]) -> list[str]:
    return sorted(repr(same(row)) for row in rows)


def both(build: Callable[[Pipeline], PCollection[Any]], **options: Any) -> tuple[list[Any], list[Any]]:
    judged = build(Pipeline()).collect(runner="reference")
    found = build(Pipeline()).collect(mode="in_process", progress=False, **options)
    return judged, found


def key_text(value: Any) -> str:
    return repr(value)


@RELAXED
@given(elements)
def test_count_and_distinct(items: list[Any]) -> None:
    judged, found = both(lambda p: p.create(items).count())
    assert bag([(canonical(k), n) for k, n in judged]) == bag([(canonical(k), n) for k, n in found])
    judged, found = both(lambda p: p.create(items).distinct())
    assert bag(list(map(canonical, judged))) == bag(list(map(canonical, found)))


@RELAXED
@given(tables)
def test_group_by_key_keeps_every_value_and_their_order(pairs: list[Any]) -> None:
    judged, found = both(lambda p: p.create(pairs).as_table().group_by_key())
    assert bag([(canonical(k), list(v)) for k, v in judged]) == bag([(canonical(k), list(v)) for k, v in found])


@RELAXED
@given(st.lists(st.tuples(keys, keys), max_size=25))
def test_grouped_values_in_order(pairs: list[Any]) -> None:
    judged, found = both(lambda p: p.create(pairs).as_table().group_by_key(sort_values=True))
    left = [(canonical(k), [order_key(x) for x in v]) for k, v in judged]
    right = [(canonical(k), [order_key(x) for x in v]) for k, v in found]
    assert sorted(map(repr, left)) == sorted(map(repr, right)) or sorted(left, key=repr) == sorted(right, key=repr)


@RELAXED
@given(st.lists(st.tuples(keys, st.integers(-(2**66), 2**66)), max_size=30))
def test_aggregates_per_key(pairs: list[Any]) -> None:
    for make in (Sum, Count, Min, Max, Mean, lambda: Top(2), lambda: AllOf(Sum(), Max())):
        judged, found = both(lambda p, make=make: p.create(pairs).as_table().combine_per_key(make()))
        assert bag([(canonical(k), v) for k, v in judged]) == bag([(canonical(k), v) for k, v in found]), make


@RELAXED
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(-1e6, 1e6)), max_size=30))
def test_float_aggregates_per_key(pairs: list[Any]) -> None:
    for make in (Sum, Min, Max, Mean, Collect):
        judged, found = both(lambda p, make=make: p.create(pairs).as_table().combine_per_key(make()))
        assert bag(judged) == bag(found), make


@RELAXED
@given(elements, st.booleans())
def test_sort_gives_the_order(items: list[Any], descending: bool) -> None:
    judged, found = both(lambda p: p.create(items).sort(descending=descending))
    assert [order_key(x) for x in judged] == [order_key(x) for x in found]
    assert bag(judged) == bag(found)


@RELAXED
@given(elements)
def test_sort_by_a_function(items: list[Any]) -> None:
    judged, found = both(lambda p: p.create(items).sort(key=key_text))
    assert [key_text(x) for x in judged] == [key_text(x) for x in found]


@RELAXED
@given(tables, tables)
def test_joins(left: list[Any], right: list[Any]) -> None:
    for how in ("inner", "left", "right", "full", "semi", "anti"):

        def build(p: Pipeline, how: Any = how) -> PCollection[Any]:
            return p.create(left).as_table().join(p.create(right).as_table(), how)

        judged, found = both(build)
        assert bag([(canonical(k), v) for k, v in judged]) == bag([(canonical(k), v) for k, v in found]), how


@RELAXED
@given(elements, elements)
def test_sets(left: list[Any], right: list[Any]) -> None:
    for verb in ("union", "intersect", "subtract"):
        judged, found = both(lambda p, verb=verb: getattr(p.create(left), verb)(p.create(right)))
        assert bag(list(map(canonical, judged))) == bag(list(map(canonical, found))), verb


STEPS: dict[str, Callable[[PCollection[Any]], PCollection[Any]]] = {
    "map": lambda c: c.map(lambda x: (x, x)),
    "flat_map": lambda c: c.flat_map(lambda x: [x, x]),
    "filter": lambda c: c.filter(lambda x: len(repr(x)) % 2 == 0),
    "key_by": lambda c: c.key_by(lambda x: len(repr(x)) % 3),
    "swap": lambda c: c.key_by(lambda x: len(repr(x)) % 3).swap().map(lambda pair: pair[1]),
    "map_values": lambda c: c.key_by(lambda x: len(repr(x))).map_values(lambda x: [x]),
    "self_union": lambda c: c.union(c),
    "total": lambda c: c.map(lambda x, n: (len(repr(x)), n), c.size()),
    "listed": lambda c: c.map(lambda x, all_: len(all_), c.as_list()),
    "group": lambda c: c.key_by(lambda x: len(repr(x)) % 3).group_by_key().map(lambda pair: (pair[0], sorted(map(repr, pair[1])))),
    "count": lambda c: c.map(lambda x: repr(x)).count(),
    "top": lambda c: c.map(lambda x: len(repr(x))).top(3),
    "partition": lambda c: c.partition(2, lambda x: len(repr(x)) % 2)[1],
    "redistribute": lambda c: c.redistribute(3),
    "branches": lambda c: c.map(repr).union(c.filter(lambda x: x is not None).map(repr), c.key_by(repr).keys()),
}


@RELAXED
@given(st.lists(st.integers(-3, 12), max_size=30), st.lists(st.sampled_from(sorted(STEPS)), max_size=4))
def test_any_chain_of_steps(items: list[Any], names: list[str]) -> None:
    def build(p: Pipeline) -> PCollection[Any]:
        collection: PCollection[Any] = p.create(items)
        for name in names:
            collection = STEPS[name](collection)
        return collection

    judged, found = both(build)
    assert bag(judged) == bag(found)


@pytest.mark.parametrize("memory", [1 << 16, 1 << 18])
@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.integers(0, 4), texts), st.integers(0, 10**6)), min_size=50, max_size=400), st.integers(1, 40))
def test_little_memory_changes_nothing(memory: int, pairs: list[Any], times: int) -> None:
    """Budgets far below the data: spilled runs, merges by rounds, groups on disk."""
    pairs = pairs * times

    def grouped(p: Pipeline) -> PCollection[Any]:
        return p.create(pairs).as_table().group_by_key().map(lambda pair: (pair[0], len(list(pair[1])), sum(pair[1])))

    judged, found = both(grouped, memory=memory)
    assert bag(judged) == bag(found)
    judged, found = both(lambda p: p.create(pairs).sort(key=lambda pair: pair[1]), memory=memory)
    assert [pair[1] for pair in judged] == [pair[1] for pair in found]
    assert bag(judged) == bag(found)
    judged, found = both(lambda p: p.create(pairs).as_table().combine_per_key(Collect()).map_values(len), memory=memory)
    assert bag(judged) == bag(found)


def test_worker_processes_agree() -> None:
    """The same by worker processes, once: they run the same tasks."""
    items = [(i * 7919) % 101 for i in range(5000)]

    def build(p: Pipeline) -> PCollection[Any]:
        c = p.create(items).redistribute(3)
        joined = c.key_by(lambda x: x % 7).join(c.distinct().key_by(lambda x: x % 7), "inner")
        return joined.map(lambda pair: (pair[0], pair[1][0] - pair[1][1])).count()

    judged = build(Pipeline()).collect(runner="reference")
    found = build(Pipeline()).collect(mode="processes", workers=2, progress=False)
    assert bag(judged) == bag(found)


@RELAXED
@given(st.lists(st.tuples(texts, st.one_of(texts, st.floats(), st.none(), st.integers())), max_size=30))
def test_extremes_of_any_values(pairs: list[Any]) -> None:
    for make in (Min, Max, Count, lambda: Top(1)):
        judged, found = both(lambda p, make=make: p.create(pairs).as_table().combine_per_key(make()))
        assert bag([(canonical(k), same(v)) for k, v in judged]) == bag([(canonical(k), same(v)) for k, v in found]), make


Steps = list[tuple[str, int, int]]  # what it does, and the collections before it that it reads: as input, and as side input
doing = st.sampled_from(["beside", "beside", "beside", "step", "distinct", "flatten"])
tangles = st.lists(st.tuples(doing, st.integers(0, 7), st.integers(0, 7)), min_size=5, max_size=9)


def tangled(p: Pipeline, steps: Steps) -> PCollection[Any]:
    """Every collection of a plan in which steps of one input are side inputs of steps of another, in any direction that has an order."""
    roots: list[PCollection[Any]] = [p.create([1, 2, 3], label="a"), p.create([4, 5], label="b").distinct(), p.create([6], label="c")]
    made = [*roots, *(root.map(lambda v: v + 10) for root in roots)]
    for what, one, other in steps:
        x, y = made[one % len(made)], made[other % len(made)]
        if what == "step":
            made.append(x.map(lambda v: (v * 3 + 1) % 101))
        elif what == "beside":
            made.append(roots[one % 3].map(lambda v, all_: (v * 7 + sum(all_)) % 101, y.as_list()))
        else:
            made.append(x.distinct() if what == "distinct" else x.flatten(y))
    first, *others = [c.map(lambda v, n=n: (n, v)) for n, c in enumerate(made)]
    return first.flatten(*others)


@RELAXED
@given(tangles)
def test_side_inputs_of_any_tangle(steps: Steps) -> None:
    judged, found = both(lambda p: tangled(p, steps))
    assert bag(judged) == bag(found)
