"""Sides of joins that turn out small: the other side takes them whole and is not exchanged, and the result is that of the reference."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import Pipeline, col

CUT = {"mode": "in_process", "progress": False, "placement": "partitioned", "memory": "2MiB"}
MANY, FEW = 1500, 60


def facts(p, rows=MANY, name="facts"):
    columns = {"k": [at % FEW for at in range(rows)], "x": range(rows), "text": [f"{at:0400d}" for at in range(rows)]}
    return p.from_arrow(pa.table(columns), label=name)


def names(p, name="names", key="k", rest=1):
    """Much to read, little to keep."""
    columns = {key: range(FEW), f"y_{name}": range(FEW), f"t_{name}": [f"{at:08000d}" for at in range(FEW)]}
    return p.from_arrow(pa.table(columns), label=name).filter(col(f"y_{name}") % 6 == rest)


def bag(records):
    return Counter(tuple(sorted(record.items())) for record in records)


def agrees(query, **options):
    p = Pipeline()
    found = query(p).collect(**{**CUT, **options})
    assert bag(found) == bag(query(Pipeline()).collect(runner="reference"))
    return p.measured


def tasks(measured, phase):
    found = re.search(rf"^{re.escape(phase)} +(\d+) .* (\S+ \S+) +\S+ \S+$", measured, re.MULTILINE)
    return (int(found[1]), found[2]) if found else (0, "")


@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_a_side_that_turns_out_small_goes_whole_to_the_other_which_is_not_exchanged(how):
    where = col("text") != col("t_names") if how in ("semi", "anti") else None
    measured = agrees(lambda p: facts(p).join(names(p), "k", how=how, where=where))
    assert f"the right side of join {how} is" in measured
    assert "goes whole to every part" in measured
    assert tasks(measured, "facts")[1] == "0 B", measured
    assert tasks(measured, f"join {how}") == (0, "")


@pytest.mark.parametrize("how", ["inner", "right"])
def test_the_left_may_be_the_small_one(how):
    measured = agrees(lambda p: names(p).join(facts(p), "k", how=how))
    assert f"the left side of join {how} is" in measured
    assert "goes whole to every part" in measured


def test_the_scan_of_the_other_side_joins_as_it_reads(tmp_path):
    pq.write_table(
        pa.table({"k": np.arange(MANY) % FEW, "x": np.arange(MANY), "text": [f"{at:0400d}" for at in range(MANY)]}), tmp_path / "a"
    )

    def query(p):
        table = p.read_parquet(str(tmp_path / "a"), label="facts").filter(col("x") != 5)
        return (
            table.join(names(p), "k", how="left")
            .with_columns(z=col("x") + col("t_names").str.len_chars())
            .group_by("z")
            .agg(col("text").max())
        )

    measured = agrees(query)
    assert "goes whole to every part" in measured
    assert "join" not in measured.replace("side of join left", ""), "the join is a part of the scan"


def test_a_full_join_needs_both_sides_together():
    measured = agrees(lambda p: facts(p).join(names(p), "k", how="full"))
    assert "whole" not in measured


def test_a_side_that_does_not_turn_out_small_is_exchanged():
    p = Pipeline()
    right = facts(p, 1200, "others").rename({"text": "other"}).filter(col("x") >= 0)
    query = facts(p).filter(col("x") > 5).join(right, "k")
    text = query.explain(analyze=True, **CUT)
    assert "right first" in text
    assert "(after side 1 of join inner)" in text
    assert "too large to go whole" in text
    assert "join inner is a broadcast if it turns out to be at most 0.1 MB" in text


class Seen(TypedDict):
    k: int
    z: int


def test_what_a_python_function_leaves_may_be_small():
    def seldom(n) -> Iterator[Seen]:
        if n % 2000 == 0:
            yield {"k": n % FEW, "z": n}

    measured = agrees(lambda p: facts(p).join(p.create(range(20_000)).flat_map(seldom), "k"))
    assert "goes whole to every part" in measured


def test_an_aggregation_that_leaves_little():
    def query(p):
        sums = facts(p, MANY, "sales").group_by("k").agg(longest=col("text").max())
        return facts(p).join(sums, "k").group_by("longest").agg(col("text").min())

    assert "goes whole to every part" in agrees(query)


def test_several_joins_with_sides_that_turn_out_small_are_one_pass():
    def query(p):
        some = facts(p).with_columns(m=col("x") % FEW, n=col("x") % 7)
        joined = some.join(names(p), "k").join(names(p, "second", "m"), "m", how="left").join(names(p, "third", "n"), "n", how="left")
        return joined.select("x", "t_names", "t_second", "t_third", "text")

    measured = agrees(query)
    assert measured.count("goes whole to every part") == 3, measured
    assert tasks(measured, "facts")[1] == "0 B"
    assert "join" not in "".join(re.findall(r"^\S.*", measured, re.MULTILINE)), measured


def test_sides_made_in_one_pass_do_not_wait_for_each_other():
    def query(p):
        doubled = facts(p, 300).with_columns(x=col("x") * 2)
        return doubled.filter(col("x") > 3).join(doubled.filter(col("x") < 90), "x", suffix="_2")

    measured = agrees(query)
    assert "goes whole" not in measured


def test_a_side_that_waits_for_what_feeds_the_other():
    def query(p):
        left = facts(p, 400)
        most = left.group_by("k").agg(x=col("x").max(), text=col("text").max()).filter(col("k") < 9)
        return left.join(most, "x", suffix="_most").join(most.filter(col("k") > 2), "k", suffix="_again")

    agrees(query)


def test_what_several_read_behind_the_join(tmp_path):
    written = {}
    for runner in ("reference", "local"):
        p = Pipeline()
        joined = facts(p, 300).join(names(p), "k")
        joined.filter(col("x") > 9).write_jsonl(str(tmp_path / runner / "a"))
        joined.map(lambda row: {"x": row["x"] + row["y_names"]}).write_jsonl(str(tmp_path / runner / "b"))
        joined.group_by("y_names").agg(col("x").sum()).write_jsonl(str(tmp_path / runner / "c"))
        p.run(**({"runner": runner} if runner == "reference" else CUT))
        files = {name: sorted((tmp_path / runner / name).glob("*.jsonl")) for name in "abc"}
        written[runner] = {name: Counter(line for path in paths for line in path.read_text().splitlines()) for name, paths in files.items()}
    assert written["local"] == written["reference"]


def test_a_side_of_no_records():
    for how in ("inner", "left"):
        measured = agrees(lambda p, how=how: facts(p, 400).join(names(p, rest=6), "k", how=how))
        assert "is 0 B, goes whole to every part" in measured


def test_a_damaged_file_of_the_whole_side_is_made_again(tmp_path):
    done = []

    def damage(value):
        if not done:
            done.append(True)
            (path,) = (os.path.join(at, file) for at, _, files in os.walk(tmp_path) for file in files if "names" in file)
            with open(path, "r+b") as file:
                file.seek(-200, os.SEEK_END)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
        return value

    def query(p, fn):
        return facts(p).with_columns(x=col("x").apply(fn, returns=int)).join(names(p), "k")

    p = Pipeline()
    found = query(p, damage).collect(**CUT, spill_folders=[str(tmp_path)])
    assert done
    assert bag(found) == bag(query(Pipeline(), lambda value: value).collect(runner="reference"))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_worker_killed_while_it_joins_with_a_whole_side_changes_nothing(tmp_path):
    mark = str(tmp_path / "killed")

    def deadly(record):
        import os
        import signal

        if record["x"] > MANY // 2:
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return record
            os.kill(os.getpid(), signal.SIGKILL)
        return record

    p = Pipeline()
    found = facts(p).join(names(p), "k").map(deadly).collect(**{**CUT, "mode": "processes", "workers": 2})
    assert os.path.exists(mark)
    assert "goes whole to every part" in p.measured
    q = Pipeline()
    assert bag(found) == bag(facts(q).join(names(q), "k").collect(runner="reference"))
