"""Pieces of an exchange, planned from the index of its files and read by it: every row is in one piece, a split key's in one share."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow.execution import hashed_run, shuffle
from dataflow.execution.context import TaskContext
from dataflow.execution.pieces import read_piece
from dataflow.expr.nodes import Column
from dataflow.expr.types import INT64
from dataflow.physical.program import ShuffleLeaf, TaskInput
from dataflow.scheduling import pieces
from dataflow.shard.arrow import to_numpy
from dataflow.shard.batch import Records
from dataflow.shard.runfile import RunFile

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
BUCKETS = st.one_of(st.sampled_from([0, 1, 65535]), st.integers(0, 65535))
HASHES = st.builds(
    lambda bucket, low: bucket << 48 | low,
    BUCKETS,
    st.one_of(st.sampled_from([0, 1, 2, 1 << 47, (1 << 48) - 1]), st.integers(0, (1 << 48) - 1)),
)
# a task's batches: each the hashes of its rows, of which some come again and again
BATCH = st.lists(st.tuples(HASHES, st.sampled_from([1, 1, 2, 10, 60])), max_size=8)
TASKS = st.lists(st.tuples(st.integers(0, 1), st.lists(BATCH, max_size=3)), max_size=5)


def written(folder: str, tasks: list[tuple[int, list[Any]]]) -> tuple[tuple[RunFile, ...], list[tuple[int, int, int]]]:
    """The files of some tasks, and the rows in them: side, hash, number."""
    files, rows = [], []
    numbers = itertools.count()
    with (
        patch("dataflow.kernels.shuffling.key_hashes", lambda table, keys, types: to_numpy(table.column("h"))),
        patch.object(shuffle, "BLOCK_BYTES", 600), patch.object(hashed_run, "HEAVY_BYTES", 150),
    ):  # fmt: skip
        for task, (side, batches) in enumerate(tasks):
            leaf = ShuffleLeaf("join", "columns", hash_on=(Column("h"),), types=(INT64,), side=side)
            writer = shuffle.ShuffleWriter(leaf, TaskContext(f"task {task}", 0, 1 << 20, folder), 1)
            writer.budget = 4000
            for batch in batches:
                hashes = np.array([one for one, times in batch for _ in range(times)], np.uint64)
                own = np.array([next(numbers) for _ in hashes], np.int64)
                rows += [(side, int(one), int(n)) for one, n in zip(hashes, own, strict=True)]
                writer.push(Records(pa.table({"h": hashes, "n": own})))
            file = writer.close()
            if file is not None:
                files.append(file)
    return tuple(files), rows


Sides = tuple[dict[int, list[int]], dict[int, list[int]]]


def by_hash(rows: list[tuple[int, int, int]]) -> Sides:
    found: Sides = ({}, {})
    for side, h, n in rows:
        found[side].setdefault(h, []).append(n)
    return found


def read(one: TaskInput, files: tuple[RunFile, ...]) -> Sides:
    assert one.shuffle is not None
    rows = []
    for side, batch in read_piece(replace(one.shuffle, files=files)):
        rows += [(side, h, n) for h, n in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)]
    return by_hash(rows)


@settings(max_examples=400 if LARGE else 100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TASKS, st.integers(2, 40), st.sampled_from([(), (0,), (1,), (0, 1)]), st.integers(0, 3))
def test_every_pair_of_rows_of_one_hash_meets_in_one_piece(tasks: list[Any], count: int, splittable: tuple[int, ...], depth: int) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(pieces, "LEAST", 100):
        files, rows = written(folder, tasks)
        inputs = pieces.pieces_of(files, 2, splittable, count).inputs
        for _ in range(depth):  # as if each ran out of memory
            inputs = [part for one in inputs for part in pieces.smaller(one, files, 2, splittable) or [one]]
        times: Counter[tuple[int, int, int]] = Counter()
        pairs: Counter[tuple[int, int]] = Counter()
        for one in inputs:
            assert one.shuffle is not None
            assert {share.side for share in one.shuffle.shares} <= set(splittable)
            sides = read(one, files)
            times.update((side, h, n) for side in (0, 1) for h, numbers in sides[side].items() for n in numbers)
            pairs.update(pair for h, left in sides[0].items() for pair in itertools.product(left, sides[1].get(h, ())))
        sides = by_hash(rows)
        expected = [pair for h, left in sides[0].items() for pair in itertools.product(left, sides[1].get(h, ()))]
        assert pairs == Counter(expected)
        for side in (0, 1):  # what is not read again for the shares of the other side
            if set(splittable) <= {side}:
                assert {row: n for row, n in times.items() if row[0] == side} == {row: 1 for row in rows if row[0] == side}


def test_a_heavy_key_is_split_and_a_heavy_bucket_of_many_keys_is_cut() -> None:
    key, other = 7 << 48 | 5, 9 << 48
    tasks = [(0, [[(key, 600), (1, 1)]]), (0, [[(key, 300), *((other | n << 40, 3) for n in range(200))]]), (1, [[(key, 2), (other, 2)]])]
    with tempfile.TemporaryDirectory() as folder:
        files, _ = written(folder, tasks)
        found = pieces.pieces_of(files, 2, (0,), 10)
        assert [text.split(":")[0] for text in found.remarks] == ["split 6 ways"]
        shares = [one.shuffle.shares for one in found.inputs if one.shuffle is not None and one.shuffle.shares]
        assert len(shares) == 6
        assert {len(read(one, files)[1][key]) for one in found.inputs if one.shuffle is not None and one.shuffle.shares} == {2}
        ranges = [one.shuffle.hashes for one in found.inputs if one.shuffle is not None and one.shuffle.first == 9]
        assert len(ranges) > 2
        assert max(one.bytes for one in found.inputs) < 2 * sum(file.bytes for file in files) / 10
        whole = pieces.pieces_of(files, 2, (), 10)
        assert "cannot be split" in whole.remarks[0]


def test_equal_buckets_are_cut_as_evenly_as_if_nothing_were_known() -> None:
    tasks = [(0, [[(bucket << 48, 1) for bucket in range(task, 65536, 16)]]) for task in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        files, _ = written(folder, tasks)
        ranges = [(one.shuffle.first, one.shuffle.last) for one in pieces.pieces_of(files, 2, (0,), 8).inputs if one.shuffle is not None]
        assert ranges == [(8192 * at, 8192 * (at + 1)) for at in range(8)]
