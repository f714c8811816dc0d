"""Runtime filters: a scan is asked for the keys of the side at hand, and every kind of join gives what it gave."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import PCollection, Pipeline, col
from dataflow.execution import leaves as at_work
from dataflow.execution import runtime_filters
from dataflow.expr.nodes import Call, Literal
from dataflow.plan.relational import Where
from dataflow.plan.traversal import topological

KEYS: dict[str, tuple[Any, list[Any]]] = {
    "int": (pa.int64(), [None, -5, 0, 7, 1 << 62]),
    "small int": (pa.int8(), [None, -5, 0, 7, 100]),
    "text": (pa.string(), [None, "", "a", "ä", "zz"]),
    "day": (pa.date32(), [None, dt.date(1970, 1, 1), dt.date(2024, 2, 29), dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "decimal": (pa.decimal128(9, 2), [None, Decimal("0.00"), Decimal("-1.50"), Decimal("3.25"), Decimal("99.99")]),
    "float": (pa.float64(), [None, float("nan"), 0.0, -0.0, 1.5]),
    "flag": (pa.bool_(), [None, True, False, True, False]),
}
HOW = ["inner", "left", "right", "full", "semi", "anti"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The conditions that were put on scans."""
    found: list[Any] = []
    real = runtime_filters.with_key_filters

    def recorded(root: Any, leaves: Any) -> Any:
        made = real(root, leaves)
        found.extend(node.predicate for node in topological((made,)) if isinstance(node, Where) and node.label.endswith(" keys"))
        return made

    monkeypatch.setattr(at_work, "with_key_filters", recorded)
    return found


def lines(folder: Path, kind: str, pipeline: Pipeline) -> PCollection[Any]:
    """A file in which every key comes four times, in a row group of its own."""
    arrow, values = KEYS[kind]
    keys = [value for value in values for _ in range(4)]
    return written(folder, pipeline, k=pa.array(keys, arrow), n=range(len(keys)))


def written(folder: Path, pipeline: Pipeline, **columns: Any) -> PCollection[Any]:
    pq.write_table(pa.table(columns), folder / "lines.parquet", row_group_size=4)
    return pipeline.read_parquet(str(folder / "lines.parquet"))


def few(kind: str, pipeline: Pipeline) -> PCollection[Any]:
    """Some of the keys, one of them twice, and one that is in no file."""
    arrow, values = KEYS[kind]
    chosen = [values[0], values[1], values[3], values[3]]
    return pipeline.from_arrow(pa.table({"k": pa.array(chosen, arrow), "m": range(len(chosen))}))


def bag(rows: list[Any]) -> list[str]:
    plain = [{name: value + 0.0 if isinstance(value, float) else value for name, value in row.items()} for row in rows]  # no -0.0
    return sorted(repr(sorted((name, repr(value)) for name, value in row.items())) for row in plain)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", KEYS)
def test_every_join_gives_what_the_reference_gives(tmp_path: Path, asked: list[Any], kind: str, how: Any) -> None:
    def query(swapped: bool) -> PCollection[Any]:
        p = Pipeline()
        one, two = lines(tmp_path, kind, p), few(kind, p)
        return two.join(one, "k", how=how) if swapped else one.join(two, "k", how=how)

    for swapped in (False, True):
        found = query(swapped).collect(progress=False, mode="in_process", placement="partitioned", memory="1GiB")
        assert bag(found) == bag(query(swapped).collect(runner="reference")), swapped
    if kind not in ("float", "flag") and how in ("inner", "semi"):
        assert asked


def broadcast(query: PCollection[Any]) -> list[Any]:
    return query.collect(progress=False, mode="in_process", placement="partitioned", memory="1GiB")


def test_few_keys_are_a_list_and_many_a_range(tmp_path: Path, asked: list[Any]) -> None:
    p = Pipeline()
    table = written(tmp_path, p, k=range(1000))
    some = p.from_arrow(pa.table({"k": [5, 50, 500]}))
    many = p.from_arrow(pa.table({"k": range(0, 600, 7)}))
    assert len(broadcast(table.join(some, "k"))) == 3
    assert asked[0].operation == "is_in" and [one.value for one in asked[0].args[1:]] == [5, 50, 500]
    asked.clear()
    assert len(broadcast(table.join(many, "k"))) == len(range(0, 600, 7))
    assert asked[0].operation == "and" and [one.args[1].value for one in asked[0].args] == [0, 595]


def test_nothing_is_asked_where_most_row_groups_hold_keys(tmp_path: Path, asked: list[Any]) -> None:
    p = Pipeline()
    table = written(tmp_path, p, k=[at * 377 % 1000 for at in range(1000)])
    assert len(broadcast(table.join(p.from_arrow(pa.table({"k": [3, 500, 990]})), "k"))) == 3
    assert asked == []


def test_no_keys_ask_for_nothing(tmp_path: Path, asked: list[Any]) -> None:
    p = Pipeline()
    none = p.from_arrow(pa.table({"k": pa.array([None], pa.int64())}))
    assert broadcast(written(tmp_path, p, k=range(8)).join(none, "k")) == []
    assert asked == [Literal(False)]


def test_a_key_made_of_two_columns_has_a_condition_for_each(tmp_path: Path, asked: list[Any]) -> None:
    p = Pipeline()
    table = written(tmp_path, p, a=range(20), b=[chr(97 + at) for at in range(20)])
    pairs = p.from_arrow(pa.table({"a": [1, 9], "b": ["b", "a"]}))
    assert broadcast(table.join(pairs, ["a", "b"])) == [{"a": 1, "b": "b"}]
    assert [call.operation for call in asked if isinstance(call, Call)] == ["is_in", "is_in"]


def test_a_function_sees_the_records_it_was_given(tmp_path: Path, asked: list[Any]) -> None:
    p = Pipeline()
    seen: list[int] = []
    table = written(tmp_path, p, k=range(20)).with_columns(x=col("k").apply(lambda k: seen.append(k) or k, int))
    assert len(broadcast(table.join(p.from_arrow(pa.table({"k": [2]})), "k"))) == 1
    assert sorted(seen) == list(range(20)) and asked == []


def test_keys_where_null_equals_null_are_not_asked_for(tmp_path: Path, asked: list[Any]) -> None:
    p = Pipeline()
    table = written(tmp_path, p, k=[1, None, *range(2, 20)]).join(p.from_arrow(pa.table({"k": [1, None]})), "k", null_equal=True)
    assert len(broadcast(table)) == 2 and asked == []
