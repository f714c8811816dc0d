"""Which writes a run of a pipeline runs that has run before, as in the cells of a notebook."""

from __future__ import annotations

import threading
from pathlib import Path

import polars as pl
import pytest

from dataflow import DataflowError, Pipeline


def write(p: Pipeline, path: Path, mode: str = "append", step: int = 1) -> None:
    p.create([{"n": 6}]).map(lambda record: {"n": record["n"] // step}).write_parquet(str(path), mode=mode)


def test_a_write_that_has_run_is_not_run_with_later_ones(tmp_path: Path) -> None:
    p = Pipeline()
    write(p, tmp_path / "a")
    assert [output.rows for output in p.run(progress=False).outputs] == [1]
    write(p, tmp_path / "b")
    assert f"Write parquet {tmp_path / 'b'}" in p.explain() and f"Write parquet {tmp_path / 'a'}" not in p.explain()
    p.run(progress=False)
    assert pl.read_parquet(tmp_path / "a").height == pl.read_parquet(tmp_path / "b").height == 1


def test_where_there_are_no_others_all_run_once_more(tmp_path: Path) -> None:
    p = Pipeline()
    write(p, tmp_path / "a")
    write(p, tmp_path / "b", "overwrite")
    for _ in range(2):
        p.run(progress=False)
    assert pl.read_parquet(tmp_path / "a").height == 2 and pl.read_parquet(tmp_path / "b").height == 1


def test_the_cell_of_a_write_can_be_run_again(tmp_path: Path) -> None:
    p = Pipeline()
    for _ in range(3):
        write(p, tmp_path / "a", "overwrite")
        p.run(progress=False)
    assert pl.read_parquet(tmp_path / "a").height == 1


def test_a_write_that_failed_is_tried_again_and_its_successor_takes_its_place(tmp_path: Path) -> None:
    p = Pipeline()
    write(p, tmp_path / "a", step=0)
    write(p, tmp_path / "b")
    for _ in range(2):
        with pytest.raises(DataflowError, match="ZeroDivisionError"):
            p.run(progress=False)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    write(p, tmp_path / "a")  # corrected, and declared anew
    p.run(progress=False)
    assert pl.read_parquet(tmp_path / "a").height == pl.read_parquet(tmp_path / "b").height == 1


def test_two_writes_to_one_place_in_one_run_are_refused_as_ever(tmp_path: Path) -> None:
    p = Pipeline()
    write(p, tmp_path / "a")
    write(p, tmp_path / "a")
    with pytest.raises(DataflowError, match="two outputs go to"):
        p.run(progress=False)


def test_runs_of_threads_that_append_to_one_target_do_not_take_each_other_for_dead(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def append() -> None:
        p = Pipeline()
        write(p, tmp_path / "a")
        try:
            p.run(progress=False)
        except BaseException as error:
            failed.append(error)

    for _ in range(8):
        threads = [threading.Thread(target=append) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed
    assert pl.read_parquet(tmp_path / "a").height == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.manifest.json", "a"]
