"""Small files of a shuffle are put together before they are read, and nobody can tell by the results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline, col
from dataflow.physical import merging
from dataflow.scheduling import job, merges
from dataflow.scheduling.inputs import hash_ranges
from dataflow.shard.runfile import Block, RunFile

MAPS = 40
IN_PROCESSES: dict[str, Any] = {"mode": "processes", "workers": 2, "progress": False, "memory": "64MiB"}


@pytest.fixture
def any_merge_pays(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every shuffle of two files and more is merged, by three tasks; gives the names of those that were."""
    made: list[str] = []
    with_merging = merging.with_merging

    def noted(plan: Any, shuffle: str) -> Any:
        made.append(shuffle)
        return with_merging(plan, shuffle)

    monkeypatch.setattr(merging, "with_merging", noted)
    monkeypatch.setattr(merges, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(merges, "PAYS", -1.0)
    monkeypatch.setattr(merges, "AT_LEAST", 3)
    monkeypatch.setattr(job, "FEW", 2)
    return made


def numbers(count: int = 4000) -> Any:
    return Pipeline().create(range(count)).redistribute(MAPS)


def records() -> Any:
    return numbers().map(lambda n: {"k": n % 97, "n": n, "text": f"{n:06d}" if n % 7 else None})


def joined() -> Any:
    left = records()
    right = left.pipeline.create(range(97)).redistribute(MAPS).map(lambda k: {"k": k, "name": f"name {k}"})
    return left.join(right, on="k").group_by("name").agg(total=col("n").sum(), last=col("text").max())


def read_twice() -> Any:
    grouped = numbers().key_by(lambda n: n % 31).group_by_key(partitions=9)
    least, most = grouped.map_groups(lambda key, values: min(values)), grouped.map_groups(lambda key, values: max(values))
    return least.union(most)


CASES: dict[str, Callable[[], Any]] = {
    "values of a key": lambda: numbers().key_by(lambda n: n % 31).group_by_key(partitions=9).map_groups(lambda key, values: sorted(values)),
    "combined": lambda: numbers().key_by(lambda n: n % 31).combine_per_key(sum),
    "counted": lambda: numbers().map(lambda n: f"word {n % 53}").count(),
    "a partitioner": lambda: (
        numbers()
        .key_by(lambda n: n % 31)
        .group_by_key(partitioner=lambda key, n: key % n, partitions=5)
        .map_groups(lambda key, values: sum(values))
    ),
    "sorted": lambda: numbers().map(lambda n: (n * 7919) % 4001).sort(),
    "sorted by columns": lambda: records().sort(["text", "n"], descending=[True, False]),
    "a join": joined,
    "few keys": lambda: numbers().key_by(lambda n: n % 2).group_by_key().map_groups(lambda key, values: sum(values)),
    "two readers": read_twice,
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_the_reference(name: str, any_merge_pays: list[str]) -> None:
    options = {
        **IN_PROCESSES,
        **({"placement": "partitioned", "memory": "1KiB"} if name in ("a join", "sorted by columns") else {}),
    }  # not whole
    found = CASES[name]().collect(**options)
    expected = CASES[name]().collect(runner="reference")
    if not name.startswith("sorted"):
        found, expected = sorted(found, key=repr), sorted(expected, key=repr)
    assert found == expected
    assert any_merge_pays, "nothing was merged"


def test_values_of_a_key_come_in_the_same_order(any_merge_pays: list[str]) -> None:
    """In the order of the tasks, and within one of its elements: as they come without merging."""

    def run() -> dict[int, list[int]]:
        table = numbers().key_by(lambda n: n % 31)
        return dict(table.group_by_key(partitions=9).map_groups(lambda key, values: list(values)).collect(**IN_PROCESSES))

    merged = run()
    assert any_merge_pays
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(job, "FEW", 1 << 30)
        assert run() == merged


@pytest.mark.parametrize("which", ["shuffle-*merged*", "shuffle-*"])
def test_fault_34_a_file_that_was_put_together_is_made_again(tmp_path: Path, any_merge_pays: list[str], which: str) -> None:
    """From what it was made of, which may be gone by then."""
    flag, spill = tmp_path / "gone", str(tmp_path / "spill")

    def hook(key: int, values: Any) -> int:
        import glob

        with contextlib.suppress(FileExistsError):
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
            for path in glob.glob(f"{spill}/*/{which}")[:1]:
                with open(path, "r+b") as file:
                    file.seek(os.path.getsize(path) // 2)
                    byte = file.read(1)
                    file.seek(-1, os.SEEK_CUR)
                    file.write(bytes([byte[0] ^ 0x20]))
        return sum(values)

    table = numbers(6000).key_by(lambda n: n % 50)
    found = table.group_by_key(partitions=8).map_groups(hook).collect(**IN_PROCESSES, spill_folders=[spill])
    assert sorted(found) == [(k, sum(range(k, 6000, 50))) for k in range(50)]
    assert any_merge_pays and flag.exists() and os.listdir(spill) == []


def files_of(count: int, size: int, blocks: int) -> list[RunFile]:
    """Files of map tasks, each with one run over all buckets."""
    width = (1 << 16) // blocks
    of_one = tuple(Block(n * size, size, 0, size // 60, 0, n * width, (n + 1) * width - 1, size=size) for n in range(blocks))
    return [RunFile(f"{n}", f"map/{n:05d}", of_one) for n in range(count)]


@pytest.mark.parametrize(
    ("files", "ranges", "pays"),
    [
        (files_of(2000, 1200, 1), 2000, True),  # tiny map tasks, as many readers
        (files_of(2000, 1200, 1), 10, False),  # few readers
        (files_of(10, 1200, 1), 2000, False),  # few files
        (files_of(1000, 1 << 20, 64), 1000, True),  # 64 GB: a block is read by sixteen
        (files_of(200, 1 << 20, 64), 200, False),  # 13 GB: by three
    ],
)
def test_files_are_merged_where_the_readers_would_read_too_much(files: list[RunFile], ranges: int, pays: bool) -> None:
    memory = 8 << 30
    assert merges.worth_merging(files, ranges, memory) is pays
    together = merges.merge_inputs(files, 0, ranges, memory)
    assert [file for one in together for file in one.files] == files, "in the order of their tasks"
    assert max(one.bytes for one in together) <= max(memory // 8 * 1.25, max(file.bytes for file in files))


def test_an_index_of_many_tiny_files_becomes_a_small_one() -> None:
    files = files_of(2000, 1200, 1)
    assert len(merges.merge_inputs(files, 0, 2000, 1 << 30)) <= 12
    assert len(hash_ranges(_leaf(2000), tuple(files), 1 << 30)) == 2000


def _leaf(partitions: int) -> Any:
    from dataflow.physical.program import ShuffleLeaf

    return ShuffleLeaf("of map", "group", partitions=partitions)
