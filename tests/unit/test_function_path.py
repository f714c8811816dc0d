"""Pipelines of Python functions: what functions of iterables, sketches, odd keys, skipped records and the command line's options give."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import statistics
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline, counter
from dataflow.algebra.aggregator import combine
from dataflow.algebra.sketches import ApproxDistinct, ApproxQuantiles
from dataflow.errors import DataflowError, StepError

WAYS: list[dict[str, Any]] = [{"mode": "in_process"}, {"mode": "processes", "workers": 2}]
Q: dict[str, Any] = {"progress": False}
SEEN = counter("seen")


class Flags(enum.IntFlag):
    ONE = 1


@dataclasses.dataclass(frozen=True)
class Named:
    key: int
    note: str = dataclasses.field(compare=False)


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("function", [statistics.mean, statistics.median, set, sorted, lambda values: len(list(values)), any])
def test_a_function_of_an_iterable_is_given_all_values(function: Any, options: dict[str, Any]) -> None:
    numbers = [n**2 for n in range(5000)]
    assert Pipeline().create(numbers).redistribute(3).combine(function).get(**Q, **options) == function(numbers)


def test_different_values_are_counted_by_the_engines_own_equality() -> None:
    def distinct(values: list[Any]) -> int:
        return combine(ApproxDistinct(), values)

    assert distinct([2**60 + n for n in range(5000)]) == pytest.approx(5000, rel=0.05)
    assert distinct([10**400, 10**400 + 1]) == 2
    assert [distinct(values) for values in ([1, "1.0"], [1, "1"], [1, 1.5])] == [2, 2, 2]
    same: list[list[Any]] = [
        [0.0, -0.0],
        [1, True, 1.0, Decimal(1)],
        [(1,), (1.0,)],
        [frozenset("ab"), frozenset("ba")],
        [float("nan")] * 2,
    ]
    assert [distinct(values) for values in same] == [1] * len(same)


def test_quantiles_of_what_is_no_number_are_none() -> None:
    assert combine(ApproxQuantiles([0.5]), [float("nan")]) == []
    assert ApproxQuantiles([0.5]).present(ApproxQuantiles([0.5]).add_all(b"", [])) == []


ZONE = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("keys", "groups"),
    [
        ([Flags(8), Flags(16), Flags(8)], [1, 2]),
        ([Named(1, "a"), Named(1, "b"), Named(2, "a")], [1, 2]),
        ([dt.time(12, tzinfo=ZONE), dt.time(10, tzinfo=dt.UTC), dt.time(10)], [1, 2]),
        ([10**5000, 10**5000, 10**5000 + 1], [1, 2]),
    ],
)
def test_odd_keys_are_grouped_as_they_compare(keys: list[Any], groups: list[int]) -> None:
    for options in (*WAYS, {"runner": "reference"}):
        quiet = {} if "runner" in options else Q
        table = Pipeline().create(keys).redistribute(3).map(lambda key: (key, 1)).as_table().group_by_key()
        assert sorted(len(list(values)) for _, values in table.collect(**quiet, **options)) == groups


@pytest.mark.parametrize("options", WAYS)
def test_counters_count_once_where_a_record_failed_behind_them(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{n} {n}\n" for n in range(100)))

    def words(line: str) -> list[str]:
        SEEN.inc()
        return line.split()

    p = Pipeline()
    p.read_text(str(tmp_path / "a.txt")).flat_map(words).map(lambda word: 1 // (int(word) % 10), on_error="skip").write_jsonl(
        str(tmp_path / "o")
    )
    result = p.run(**Q, **options, skipped_to=str(tmp_path / "aside"))
    assert result.counters == {"seen": 100} and result.skipped == 20
    assert {record.source.rpartition(" ")[2] for record in result.skipped_records()} == {str(n) for n in range(1, 101, 10)}


def test_the_line_of_a_record_is_right_behind_a_step_that_skips(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("bad\n5\n0\nx 7\n0 3\n")
    rows = Pipeline().read_text(str(tmp_path / "a.txt")).flat_map(str.split).map(int, on_error="skip")
    with pytest.raises(StepError, match="a.txt, line 3"):
        rows.map(lambda n: 10 // n).collect(**Q)
    with pytest.raises(StepError, match="a.txt, line 4"):
        rows.map(lambda n: 10 // (n - 7)).collect(**Q)


def test_a_function_that_exits_in_a_step_that_skips_is_skipped_also_when_a_later_record_fails() -> None:
    def leave(n: int) -> list[int]:
        if n == 1:
            raise SystemExit(3)
        return [n]

    rows = Pipeline().create(range(5)).flat_map(leave, on_error="skip").map(lambda n: 1 // (n - 3), on_error="skip")
    assert len(rows.collect(**Q)) == 3


def test_runs_that_set_records_aside_in_one_folder_each_know_their_own(tmp_path: Path) -> None:
    found = []
    for text in ("bad1", "bad2"):
        p = Pipeline()
        p.create(["1", text]).map(int, on_error="skip").write_jsonl(str(tmp_path / text))
        found.append([record.record for record in p.run(**Q, skipped_to=str(tmp_path / "aside")).skipped_records()])
    assert found == [["'bad1'"], ["'bad2'"]]


def test_a_folder_for_spills_may_be_one_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Pipeline().create(range(10)).map(str).count().collect(spill_folders="spills", mode="processes", **Q)
    assert {path.name for path in tmp_path.iterdir()} <= {"spills"}


def test_partition_takes_truth_and_one_tag_is_a_tag() -> None:
    odd = Pipeline().create(range(4)).partition(2, lambda n: n % 2 == 1)
    assert [sorted(part.collect(**Q)) for part in odd] == [[0, 2], [1, 3]]


def test_a_csv_that_is_not_there_is_not_one_without_columns() -> None:
    assert Pipeline().read_csv("not-there.csv").schema is None
    with pytest.raises(DataflowError, match=r"the table 't' cannot be read: no file matches"):
        Pipeline().sql("select * from t", t="not-there.csv")


def test_parameters_are_known_to_functions_in_worker_processes(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = tmp_path / "s.py"
    script.write_text(
        "import sys\nfrom dataflow import Pipeline, param\n"
        "def main():\n    rows = Pipeline().create(['1', 'x']).map(int, on_error='skip').map(lambda n: (n, param('greet', 'nothing')))\n"
        "    print(rows.collect())\nsys.exit(main())\n"
    )
    command = [sys.executable, "-m", "dataflow", "run", str(script), "-p", "greet=hi", "--mode", "processes", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "[(1, 'hi')]" in done.stdout, done.stderr
    assert done.returncode == 3, "a record was skipped"
