"""Fault 51: with ``check_determinism`` some tasks run twice, and a step that is no function of its input is named."""

from __future__ import annotations

import datetime as dt
import random
import time

import pytest

from dataflow import Pipeline
from dataflow.aggregators import Aggregator, CollectSet, Mean, Sum
from dataflow.counters import counter
from dataflow.errors import NotDeterministicError

HERE = {"mode": "in_process", "progress": False}
AWAY = {"mode": "processes", "workers": 2, "progress": False}
BOTH = pytest.mark.parametrize("where", [pytest.param(HERE, id="in_process"), pytest.param(AWAY, id="processes")])
ALL = {"check_determinism": 1.0}


def draws(x):
    return x, random.random()


@BOTH
def test_fault_51_an_unseeded_random_number_is_found_and_its_step_named(where):
    c = Pipeline().create(range(100)).map(str).map(draws, label="draw").map(str)
    with pytest.raises(NotDeterministicError) as caught:
        c.collect(**where, check_determinism=0.01)
    text = str(caught.value)
    sentence, path = text.splitlines()[:2]
    assert sentence == "draw gave something else for the same input when its task ran again", text
    assert path == "  in       create > map str > draw", text
    assert "declared test_determinism.py" in text and "map(draws" in text and "record   \"('0', 0." in text and "hint" in text
    assert len(text.splitlines()) <= 20


def test_fault_51_without_the_option_nothing_runs_twice():
    assert len(Pipeline().create(range(100)).map(draws).collect(**HERE)) == 100


@BOTH
@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "text", "ipc", "avro"])
def test_fault_51_every_format_is_compared_and_a_failed_run_leaves_no_output(tmp_path, form, where):
    if where is AWAY and form != "jsonl":
        pytest.skip("the comparison is the driver's")
    for function, fails in ((lambda x: x, False), (lambda x: time.perf_counter_ns(), True)):
        p = Pipeline()
        c = p.create(range(100)).map(function, label="stamp")
        getattr(c.map(str) if form == "text" else c.map(lambda x: {"n": x}), f"write_{form}")(str(tmp_path / f"{fails}"))
        if fails:
            with pytest.raises(NotDeterministicError, match="stamp gave something else"):
                p.run(**where, **ALL)
        else:
            assert p.run(**where, **ALL).compared == 1
    assert (tmp_path / "False").exists() and not (tmp_path / "True").exists()
    assert {path.name.rpartition("-")[0] for path in tmp_path.iterdir() if ".dataflow" in path.name} == set()


@BOTH
def test_fault_51_the_same_again_is_no_error_and_counts_each_record_once(tmp_path, where):
    def odd(n):
        counter("seen").inc()
        if n % 10 == 7:
            raise ValueError("seven")
        return {"n": n, "when": dt.datetime(2026, 1, 1) + dt.timedelta(n), "tags": {str(n), "x"}, "nan": float("nan")}

    p = Pipeline()
    rows = p.create(range(1000)).map(odd, on_error="skip")
    rows.key_by(lambda r: r["n"] % 3).map_values(lambda r: r["n"]).combine_per_key(Sum()).write_jsonl(str(tmp_path / "sums"))
    rows.key_by(lambda r: r["n"] % 3).map_values(lambda r: str(r["n"])).combine_per_key(CollectSet()).map(str).write_text(
        str(tmp_path / "sets")
    )
    rows.sort(key=lambda r: -r["n"]).map(lambda r: {"n": r["n"], "when": r["when"]}).write_avro(str(tmp_path / "avro"))
    result = p.run(**where, **ALL, skipped_to=str(tmp_path / "skipped"))
    assert result.compared == result.tasks and result.counters["seen"] == 1000
    assert result.skipped == 100 == len(list(result.skipped_records()))
    assert sum(out.rows for out in result.outputs if out.path.endswith("avro")) == 900
    assert f"{result.compared} tasks ran twice and gave the same" in str(result)


def test_fault_51_a_share_of_the_tasks_of_each_phase_runs_twice(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.txt").write_text("a b\n" * 60_000)
    p = Pipeline()
    p.read_text(str(tmp_path / "*.txt")).flat_map(str.split).count().write_jsonl(str(tmp_path / "out"))
    result = p.run(mode="in_process", progress=False, check_determinism=0.01, memory="64MiB")
    assert 2 <= result.compared < result.tasks


def test_fault_51_the_order_of_a_set_differs_in_another_process():
    c = Pipeline().create(["the quick brown fox jumps over the lazy dog"]).flat_map(lambda line: set(line.split()), label="unordered")
    with pytest.raises(NotDeterministicError, match="unordered gave something else"):
        c.collect(**AWAY, **ALL)


@BOTH
def test_fault_51_an_aggregator_that_is_no_function_of_its_values_is_named(where):
    class Stamped(Aggregator):
        def create(self):
            return 0

        def add(self, acc, value):
            return acc + value

        def merge(self, left, right):
            return left + right

        def present(self, acc):
            return acc, random.random()

    table = Pipeline().create([(i % 5, i) for i in range(100)]).as_table()
    assert sorted(table.combine_per_key(Mean()).collect(**where, **ALL)) == [(i, 47.5 + i) for i in range(5)]
    with pytest.raises(NotDeterministicError, match="stamping gave something else"):
        table.combine_per_key(Stamped(), label="stamping").collect(**where, **ALL)


class Custom:
    """An accumulator that is equal only to itself."""

    def __init__(self):
        self.total = 0


class Opaque(Aggregator):
    def __init__(self, noise=0):
        self.noise = noise

    def create(self):
        return Custom()

    def add(self, acc, value):
        acc.total += value + self.noise * random.random()
        return acc

    def merge(self, left, right):
        left.total += right.total
        return left

    def present(self, acc):
        return acc.total


def test_fault_51_accumulators_without_equality_are_compared_by_what_they_hold():
    table = Pipeline().create([(i % 5, i) for i in range(100)]).as_table()
    assert len(table.combine_per_key(Opaque()).collect(**HERE, **ALL)) == 5
    with pytest.raises(NotDeterministicError, match="noisy gave something else"):
        table.combine_per_key(Opaque(1), label="noisy").collect(**HERE, **ALL)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_fault_51_a_share_is_from_0_to_1(share):
    with pytest.raises(Exception, match="from 0 to 1"):
        Pipeline().create([1]).collect(**HERE, check_determinism=share)
