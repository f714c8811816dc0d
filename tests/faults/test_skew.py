"""Keys of which there are far too many: the sizes seen at a shuffle split the piece, and the result is that of the reference."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pytest

from dataflow import Pipeline, col
from dataflow.expr.functions import len_

CUT = {"mode": "in_process", "progress": False, "placement": "partitioned", "memory": "2MiB"}
HOT, ROWS, FEW = 7, 500, 80  # the reference compares every record of a join with every other
HOWS = ["inner", "left", "right", "full", "semi", "anti"]


def table(rows, keys, hot, name, key=HOT):
    """Records of 3,000 bytes, nine in ten of one key if ``hot``."""
    draw = np.random.default_rng(rows)
    own = [key if hot and draw.random() < 0.9 else int(draw.integers(0, keys)) for _ in range(rows)]
    return pa.table({"k": pa.array(own, pa.int64()), name: range(rows), "text": [f"{name}{at:03000d}" for at in range(rows)]})


def joined(p, how, hot, key=HOT):
    left = p.from_arrow(table(ROWS if hot == "left" else FEW, 50, hot == "left", "x", key))
    right = p.from_arrow(table(ROWS if hot == "right" else FEW, 50, hot == "right", "y", key))
    both = col("text") != col("text_right") if how in ("semi", "anti") else None  # else of the right only keys are read, which are small
    return left.join(right, "k", how=how, where=both)


def bag(records):
    return Counter(tuple(sorted(record.items())) for record in records)


def agrees(query, **options):
    """What a run measured, once its records are those of the reference."""
    p = Pipeline()
    found = query(p).collect(**{**CUT, **options})
    assert bag(found) == bag(query(Pipeline()).collect(runner="reference"))
    return p.measured


@pytest.mark.parametrize("hot", ["left", "right"])
@pytest.mark.parametrize("how", HOWS)
def test_a_join_with_a_heavy_key_is_split_by_the_side_that_it_distributes_over(how, hot):
    measured = agrees(lambda p: joined(p, how, hot))
    splits = how == "inner" or how == {"left": how if how in ("left", "semi", "anti") else "", "right": "right"}[hot]
    assert (f"on the {hot}" in measured) == splits, measured
    assert ("cannot be split" in measured) == (not splits), measured


@pytest.mark.parametrize("how", ["left", "anti", "inner"])
def test_nulls_are_a_key_that_may_be_heavy(how):
    assert "on the left" in agrees(lambda p: joined(p, how, "left", key=None))


def test_a_key_that_is_heavy_on_both_sides_is_split_on_both():
    def query(p):
        sides = [pa.table({"k": [HOT] * 40 + list(range(60)), name: range(100), f"t{name}": ["z" * 25_000] * 100}) for name in "xy"]
        both = p.from_arrow(sides[0]).join(p.from_arrow(sides[1]), "k")
        return both.with_columns(tx=col("tx").str.len_chars(), ty=col("ty").str.len_chars())

    measured = agrees(query)
    assert "on the left" in measured
    assert "on the right" in measured


def test_what_works_on_any_part_of_a_join_is_done_in_its_shares():
    def query(p):
        kept = joined(p, "left", "left").filter(col("x") % 3 != 0).with_columns(size=col("text_right").str.len_chars() + col("y"))
        return kept.group_by("y").agg(n=len_(), total=col("size").sum(), mean=col("x").mean())

    p = Pipeline()
    assert "splittable by left" in query(p).explain(**CUT)
    assert "split" in agrees(query)


def test_a_grouping_on_the_pieces_of_a_join_is_not_torn_apart():
    def query(p):
        return joined(p, "inner", "left").group_by("k").agg(longest=col("text").max(), n=len_(), median=col("x").median())

    assert "splittable" not in query(Pipeline()).explain(**CUT)
    assert "cannot be split" in agrees(query)


def test_an_as_of_join_with_a_heavy_key():
    def query(p):
        left = p.from_arrow(table(ROWS, 50, True, "x"))
        right = p.from_arrow(table(FEW, 30, False, "y")).rename({"text": "other"}).with_columns(y=col("y") * 4)
        return left.join_asof(right, left_on="x", right_on="y", by="k")

    assert "on the left" in agrees(query)


def test_a_split_is_shown_with_what_was_measured():
    text = joined(Pipeline(), "left", "left").explain(analyze=True, **CUT)
    assert "splittable by left" in text
    assert "heavy keys split" in text
    ways = int(text.split("split ")[-1].split(" ways")[0])
    assert ways >= 4, text


def test_a_split_gives_the_same_files_again(tmp_path):
    written = []
    for folder in ("a", "b"):
        p = Pipeline()
        joined(p, "left", "left").write_jsonl(str(tmp_path / folder))
        p.run(**CUT)
        written.append({path.name: Counter(path.read_text().splitlines()) for path in (tmp_path / folder).glob("*.jsonl")})
    assert len(written[0]) > 4
    assert written[0] == written[1]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_worker_killed_in_a_share_of_a_heavy_key_changes_nothing(tmp_path):
    mark = str(tmp_path / "killed")

    def deadly(record):
        import os
        import signal

        if record["k"] == HOT and record["x"] > ROWS // 2:
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return record
            os.kill(os.getpid(), signal.SIGKILL)
        return record

    p = Pipeline()
    found = joined(p, "left", "left").map(deadly).collect(**{**CUT, "mode": "processes", "workers": 2, "memory": "4MiB"})
    assert os.path.exists(mark)
    assert "on the left" in p.measured
    assert bag(found) == bag(joined(Pipeline(), "left", "left").collect(runner="reference"))


def test_a_piece_that_runs_out_of_memory_is_cut_smaller():
    """Native code that cannot take many rows at once: the pieces of the exchange become smaller, a heavy key's shares too."""

    def greedy(batch):
        if len(batch) > 40:
            raise MemoryError
        return batch

    p = Pipeline()
    found = joined(p, "left", "left").map_batches(greedy).collect(**{**CUT, "memory": "16MiB"})
    assert bag(found) == bag(joined(Pipeline(), "left", "left").collect(runner="reference"))


def of_one_bucket(count):
    """Numbers whose hashes have the same upper 16 bits."""
    from dataflow.expr.nodes import Column
    from dataflow.expr.types import INT64
    from dataflow.kernels.shuffling import key_hashes

    numbers = np.arange(count * 1 << 16)
    buckets = key_hashes(pa.table({"k": numbers}), (Column("k"),), (INT64,)) >> np.uint64(48)
    return numbers[buckets == buckets[0]].tolist()


@pytest.mark.parametrize("what", ["aggregate", "with_columns"])
def test_many_keys_of_one_bucket_are_cut_by_the_rest_of_their_hash(what):
    keys = of_one_bucket(40)
    rows = pa.table({"k": keys * 100, "n": range(100 * len(keys)), "text": [f"{at:0300d}" for at in range(100 * len(keys))]})

    def query(p):
        table = p.from_arrow(rows)
        match what:
            case "aggregate":
                return table.group_by("k").agg(n=col("n").median(), text=col("text").max(), all=col("text").n_unique())
            case _:
                return table.with_columns(n=col("n").sum().over("k"))

    found = re.search(rf"^{what} +(\d+)", agrees(query), re.MULTILINE)
    assert int(found[1]) > 4


class Row(TypedDict):
    k: int
    x: int
    text: str


def test_fault_34_a_file_that_is_made_again_in_another_order_is_read_again_by_all_shares_of_its_key(tmp_path):
    """A share is some rows of a file by their numbers: after the first was read, the file is damaged, and comes back upside down."""
    damaged = []
    rows = table(ROWS, 50, True, "x").to_pylist()

    def spread(n: int) -> Iterator[Row]:
        return iter(rows[::-1] if damaged else rows)

    def damage(record):
        if record["k"] == HOT and not damaged:
            (path,) = (os.path.join(at, file) for at, _, files in os.walk(tmp_path) for file in files if "create" in file)
            damaged.append(path)
            with open(path, "r+b") as file:
                data = bytearray(file.read())
                for at in range(100, len(data), 100):
                    data[at] ^= 1
                file.seek(0)
                file.write(data)
        return record["x"], record["y"]

    p = Pipeline()
    joined = p.create([0]).flat_map(spread).join(p.from_arrow(table(ROWS, 400, False, "y")), "k", how="left")
    found = joined.map(damage).collect(**CUT, spill_folders=[str(tmp_path)])
    assert damaged and "on the left" in p.measured
    partners = defaultdict(list)
    for one in table(ROWS, 400, False, "y").to_pylist():
        partners[one["k"]].append(one["y"])
    assert Counter(found) == Counter((one["x"], y) for one in rows for y in partners.get(one["k"], [None]))
