"""The house itself: what is imported when, what is public, what files say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import dataflow
import dataflow.aggregators
import dataflow.lib

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("dataflow/**/*.py"), *ROOT.glob("runners/**/*.py")])
HEAVY = ("pyarrow", "numpy", "pandas", "polars", "ray", "torch", "apache_beam", "fsspec", "rich", "click")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_import_is_light() -> None:
    loaded = run_python("import sys, dataflow; print(*sorted(m.partition('.')[0] for m in sys.modules))").split()
    assert not set(HEAVY) & set(loaded)


def test_building_a_pipeline_is_light() -> None:
    code = "import sys; from dataflow import Pipeline; p = Pipeline(); p.create([1]).map(str).count(); print(*sys.modules)"
    assert "polars" not in run_python(code).split()


@pytest.mark.parametrize("module", [dataflow, dataflow.aggregators, dataflow.lib])
def test_public_names_exist_and_are_documented(module: object) -> None:
    for name in module.__all__:
        found = getattr(module, name)
        assert found.__doc__, name


@pytest.mark.parametrize("form", ["text", "jsonl", "csv", "parquet", "ipc", "avro", "binary"])
def test_every_way_in_and_out_has_an_example_that_runs(form: str) -> None:
    ways = [getattr(owner, f"{verb}_{form}", None) for verb, owner in (("read", dataflow.Pipeline), ("write", dataflow.PCollection))]
    assert all(">>> " in (way.__doc__ or "") for way in ways if way is not None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_says_what_it_is_and_stays_small(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a file begins with one sentence on its idea"
    assert text.count("\n") <= 500, "a file that grows past its idea needs a new room"


def test_no_two_names_hide_in_one() -> None:
    words = re.compile(r"class \w*(Manager|Helper|Util|Handler|Processor|Impl|Factory)\b")
    assert [path.name for path in SOURCES if words.search(path.read_text())] == []


def test_nothing_is_unpickled_from_data() -> None:
    """Pickles are read in two places only: the codec of a run's own files, and the two ends of a worker's socket. Text is run as code in
    one, which writes the methods of our own classes from the names of their fields."""
    allowed = {
        "dataflow/record.py",
        "dataflow/shard/codec.py",
        "dataflow/worker.py",
        "dataflow/driving/pool.py",
        "dataflow/driving/in_process.py",
        "dataflow/execution/serving.py",
        "dataflow/execution/failing.py",
    }
    found = {str(p.relative_to(ROOT)) for p in SOURCES if re.search(r"pickle\.loads?\(|(?<![.\w])(eval|exec)\(", p.read_text())}
    assert found <= allowed


def test_a_small_run_imports_neither_pandas_nor_datasets() -> None:
    """Arrow imports pandas at the least occasion, where it is installed: 0.25 s and 90 MB a process."""
    code = (
        "import sys; from dataflow import Pipeline; p = Pipeline(); "
        "words = p.create(['a b', 'a'] * 50).flat_map(str.split); "
        "words.key_by(len).group_by_key().map_groups(lambda k, v: len(v)).collect(progress=False); "
        "p.create([3, 1, 2]).sort().collect(progress=False); p.create(['b', 'a']).count().collect(progress=False); print(*sys.modules)"
    )
    loaded = run_python(code).split()
    assert not {"pandas", "polars", "pyarrow.dataset", "rich", "fsspec"} & set(loaded)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_first_query_loads_no_more_than_it_needs(ending: str, tmp_path: Path) -> None:
    """Most of the time from process start to the answer is imports: the clients of stores alone are 15 ms."""
    path = tmp_path / f"sums.{ending}"
    table = pa.table({"k": [1, 2, 1], "x": [1, 2, 3]})
    pyarrow.parquet.write_table(table, path) if ending == "parquet" else pyarrow.csv.write_csv(table, path)
    code = (
        "import sys; from dataflow import Pipeline, col; "
        f"sums = Pipeline().read_{ending}({str(path)!r}).group_by('k').agg(col('x').sum()); "
        "assert len(sums.collect(progress=False)) == 2; print(*sys.modules)"
    )
    loaded = run_python(code).split()
    stores = {"pyarrow.parquet", "pyarrow.fs", "ssl", "fsspec"}
    others = {"pandas", "pyarrow.compute", "pyarrow.dataset", "rich", "click", "sqlglot", "asyncio", "multiprocessing", "ray"}
    ours = {"dataflow.driving.pool", "dataflow.kv", "dataflow.txn"}
    assert not (stores | others | ours) & set(loaded)
    assert sum(name.partition(".")[0] in ("dataflow", "runners") for name in loaded) <= 192, "a module is a quarter of a millisecond"


def test_the_collector_finds_nothing_to_do_when_a_first_query_ends() -> None:
    """What was loaded is old by then: to look at it was 10 ms, before the result could be printed."""
    code = (
        "import gc; from dataflow import Pipeline, col; young = []; thresholds = gc.get_threshold(); "
        "rows = Pipeline().from_arrow(__import__('pyarrow').table({'x': [1, 2]})).select(y=col('x') + 1); "
        "gc.callbacks.append(lambda phase, info: young.append(gc.get_count()) if phase == 'start' else None); "
        "rows.collect(progress=False); print(len(young), gc.get_threshold() == thresholds, gc.get_freeze_count())"
    )
    collections, restored, frozen = run_python(code).split()
    assert int(collections) == 0 and restored == "True" and frozen == "0"
