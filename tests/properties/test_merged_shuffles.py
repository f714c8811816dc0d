"""Small files of a shuffle are put together before they are read, and nobody can tell by the results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import Pipeline
from dataflow.optimizer import cutting_joins
from dataflow.physical import merging
from dataflow.scheduling import merges, tasking
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
    monkeypatch.setattr(tasking, "FEW", 2)
    return made


@contextlib.contextmanager
def nothing_merged() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tasking, "FEW", 1 << 30)
        yield


def numbers(count: int = 4000) -> Any:
    return Pipeline().create(range(count)).redistribute(MAPS)


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
    "few keys": lambda: numbers().key_by(lambda n: n % 2).group_by_key().map_groups(lambda key, values: sum(values)),
    "two readers": read_twice,
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_the_reference(name: str, any_merge_pays: list[str]) -> None:
    found, expected = CASES[name]().collect(**IN_PROCESSES), CASES[name]().collect(runner="reference")
    if name != "sorted":
        found, expected = sorted(found, key=repr), sorted(expected, key=repr)
    assert found == expected
    assert any_merge_pays, "nothing was merged"


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Any, Any]]:
    """Two tables of twenty files, each of which is a task; one has a heavy key. Neither goes whole to the other in a join."""
    gathered = tasking.gathered
    monkeypatch.setattr(tasking, "gathered", lambda splits, target: gathered(splits, 1))
    monkeypatch.setattr(cutting_joins, "BROADCAST_MOST", 0)
    for at in range(20):
        numbers = range(at * 80, at * 80 + 80)
        left = {"k": [5 if n % 3 else n % 97 for n in numbers], "n": [*numbers], "text": [f"{n:06d}" if n % 7 else None for n in numbers]}
        right = {"k": [(n * 5 + at) % 120 for n in range(20)], "name": [f"name {n} of {at}" for n in range(20)]}
        for name, columns in (("left", left), ("right", right)):
            (tmp_path / name).mkdir(exist_ok=True)
            pq.write_table(pa.table(columns), tmp_path / name / f"{at:02d}.parquet")

    def read() -> tuple[Any, Any]:
        p = Pipeline()
        return p.read_parquet(f"{tmp_path}/left/*.parquet"), p.read_parquet(f"{tmp_path}/right/*.parquet")

    return read


@pytest.mark.parametrize("how", ["inner", "left", "full", "semi"])
def test_joins_are_those_of_the_reference(tables: Callable[[], tuple[Any, Any]], how: str, any_merge_pays: list[str]) -> None:
    def joined() -> Any:
        left, right = tables()
        return left.join(right, on="k", how=how)

    found = joined().collect(**IN_PROCESSES, placement="partitioned")
    assert sorted(map(repr, found)) == sorted(map(repr, joined().collect(runner="reference")))
    assert len(any_merge_pays) == 1 and any_merge_pays[0].startswith("join")


def test_sorts_by_columns_are_those_of_the_reference(tables: Callable[[], tuple[Any, Any]], any_merge_pays: list[str]) -> None:
    def ordered() -> Any:
        return tables()[0].sort(["text", "n"], descending=[True, False])

    assert ordered().collect(**IN_PROCESSES, placement="partitioned") == ordered().collect(runner="reference")
    assert len(any_merge_pays) == 1 and any_merge_pays[0].startswith("sort")


def test_records_whose_dictionaries_cannot_be_one_are_merged(tmp_path: Path, any_merge_pays: list[str]) -> None:
    """Each has a hundred values, of indices that count to 127."""
    for at in range(6):
        texts = pa.array([f"{at} {n % 100}" for n in range(300)]).dictionary_encode()
        narrow = pa.DictionaryArray.from_arrays(texts.indices.cast(pa.int8()), texts.dictionary)
        pq.write_table(pa.table({"n": range(300), "text": narrow}), tmp_path / f"{at}.parquet")

    def dealt() -> Any:
        rows = Pipeline().read_parquet(f"{tmp_path}/*.parquet").redistribute(6).map(lambda row: row)
        return rows.redistribute(4).map(lambda row: (row["n"], row["text"]))

    found = dealt().collect(**IN_PROCESSES)
    assert sorted(found) == sorted((n, f"{at} {n % 100}") for at in range(6) for n in range(300))


def test_labels_may_be_as_the_names_of_merges_are(any_merge_pays: list[str]) -> None:
    given = numbers(400)
    one = given.key_by(lambda n: n % 3).group_by_key(label="g", partitions=5).map_groups(lambda key, values: sum(values))
    other = given.key_by(lambda n: n % 7).group_by_key(label="g, merged", partitions=5).map_groups(lambda key, values: sum(values))
    found = one.union(other).collect(**IN_PROCESSES)
    assert sorted(found) == sorted((k, sum(range(k, 400, keys))) for keys in (3, 7) for k in range(keys))
    assert sorted(any_merge_pays) == ["g", "g, merged"]


def test_a_few_rows_are_not_waited_for(any_merge_pays: list[str]) -> None:
    assert len(numbers(400).limit(3).collect(**IN_PROCESSES)) == 3
    assert not any_merge_pays


@pytest.mark.parametrize("value", [lambda n: n, lambda n: float(n) if n % 4 == 1 else n, lambda n: n if n % 5 else None])
def test_values_of_a_key_come_in_the_same_order(any_merge_pays: list[str], value: Callable[[int], Any]) -> None:
    """In the order of the tasks, and within one of its elements: as they come without merging, also where they are of several types."""

    def groups() -> dict[int, list[Any]]:
        table = numbers().key_by(lambda n: n % 31).map_values(value)
        return dict(table.group_by_key(partitions=9).map_groups(lambda key, values: list(map(repr, values))).collect(**IN_PROCESSES))

    def ties() -> list[Any]:
        found = numbers().map(lambda n: (n % 3, value(n))).sort(key=lambda pair: pair[0]).collect(**IN_PROCESSES)
        return [repr(one) for one in found]

    merged = groups(), ties()
    assert len(any_merge_pays) >= 2
    with nothing_merged():
        assert (groups(), ties()) == merged


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
