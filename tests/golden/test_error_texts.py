"""The text of typical errors, word by word. With UPDATE_GOLDEN=1 the files in errors/ are written anew."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from dataflow import DataflowError, DoFn, Pipeline
from dataflow.aggregators import Aggregator

GOLDEN = Path(__file__).parent / "errors"
HERE = {"mode": "in_process", "progress": False}
AWAY = {"mode": "processes", "workers": 2, "progress": False}
ORDER = ["in", "declared", "failed", "record", "from", "attempt", "hint"]
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def lines_file(folder, *lines, name="prices.txt"):
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def parse(line):
    name, price = line.split(",")
    return name, cents(price)


def cents(price):
    return round(float(price) * 100)


@case
def a_map_fails_in_this_process(folder):
    source = lines_file(folder, "tea,1.50", "coffee,free", "milk,2")
    Pipeline().read_text(source).map(parse).collect(**HERE)


@case
def a_map_fails_in_a_worker_process(folder):
    source = lines_file(folder, "tea,1.50", "coffee,free", "milk,2")
    Pipeline().read_text(source).map(parse).collect(**AWAY)


@case
def a_map_fails_behind_a_filter_and_a_flat_map(folder):
    source = lines_file(folder, "1 2 3", "", "4 five 6")
    Pipeline().read_text(source).filter(bool).flat_map(str.split).map(int).collect(**HERE)


@case
def a_line_is_not_json(folder):
    source = lines_file(folder, '{"n": 1}', '{"n": 2', name="events.jsonl")
    Pipeline().read_jsonl(source).collect(**HERE)


@case
def a_line_is_latin_1(folder):
    path = folder / "names.txt"
    path.write_bytes("Anna\nJosé\n".encode("latin-1"))
    Pipeline().read_text(str(path)).collect(**HERE)


@case
def a_csv_row_is_ragged(folder):
    source = lines_file(folder, "a,b", "1,2", "3,4,5", name="table.csv")
    Pipeline().read_csv(source).collect(**HERE)


@case
def a_csv_value_is_of_another_type(folder):
    source = lines_file(folder, "name,price", "tea,1", '"green\ntea",2', "", "coffee,free", name="table.csv")
    import pyarrow as pa

    Pipeline().read_csv(source, schema={"price": pa.int64()}).collect(**AWAY)


@case
def a_parquet_file_is_truncated(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "part.parquet"
    pq.write_table(pa.table({"n": [1, 2, 3]}), path)
    path.write_bytes(path.read_bytes()[:-6])
    Pipeline().read_parquet(str(path)).collect(**HERE)


@case
def a_file_is_missing(folder):
    lines_file(folder, "x", name="books.txt")
    Pipeline().read_text(str(folder / "boks.txt")).collect(**HERE)


@case
def a_target_exists(folder):
    for _ in range(2):
        p = Pipeline()
        p.create(["x"]).write_text(str(folder / "out"))
        p.run(**HERE)


@case
def a_captured_variable_does_not_pickle(folder):
    lock = threading.Lock()

    def guarded(x):
        with lock:
            return x

    Pipeline().create([1]).map(guarded).collect(**HERE)


@case
def a_type_is_wrong_when_declared(folder):
    def shout(text: str) -> str:
        return text.upper()

    def count(text: str) -> int:
        return len(text)

    Pipeline().create(["a"]).map(count).map(shout)


@case
def elements_are_not_pairs(folder):
    Pipeline().create(["a", "b"]).map(str.upper).as_table().group_by_key().collect(**HERE)


@case
def elements_are_found_not_to_be_pairs(folder):
    Pipeline().create([1, 2]).map(lambda x: [x]).as_table().group_by_key().collect(**HERE)


@case
def a_key_is_a_list(folder):
    Pipeline().create(["a b", "c"]).key_by(lambda line: line.split()).group_by_key().collect(**HERE)


@case
def too_many_records_are_skipped(folder):
    source = lines_file(folder, "1", "x", "3", "y")
    Pipeline().read_text(source).map(int, on_error="skip", max_errors=1).collect(**HERE, skipped_to=str(folder / "skipped"))


@case
def several_problems_before_any_work(folder):
    lock = threading.Lock()
    (folder / "a-file").write_text("x")
    p = Pipeline()
    p.read_text(str(folder / "nothing/*.txt")).write_text(str(folder / "a-file"))
    p.create([1]).map(lambda x: lock and x).map(str).write_text(str(folder / "out"))
    p.create([2]).map(str).write_text(str(folder / "out"))
    p.run(**HERE)


@case
def a_flat_map_returns_a_number(folder):
    Pipeline().create(["abc"]).flat_map(len).collect(**HERE)


@case
def a_column_holds_two_types(folder):
    p = Pipeline()
    p.create([{"id": 1, "size": 5}, {"id": 2, "size": "XL"}]).write_parquet(str(folder / "out"))
    p.run(**HERE)


@case
def an_aggregator_fails(folder):
    def middle(values):
        ordered = sorted(values)
        return ordered[len(ordered) // 2]

    Pipeline().create([("a", 1), ("a", "x")]).as_table().combine_per_key(middle).collect(**HERE)


@case
def an_aggregator_fails_before_the_shuffle(folder):
    class Longest(Aggregator):
        def create(self):
            return ""

        def add(self, acc, value):
            return max(acc, value, key=len)

        def merge(self, left, right):
            return self.add(left, right)

    Pipeline().create([("a", "x"), ("b", 7)]).as_table().combine_per_key(Longest(), label="longest").collect(**HERE)


@case
def a_sort_key_fails(folder):
    Pipeline().create([{"n": 1}, {"m": 2}]).sort(key=lambda r: r["n"]).collect(**HERE)


@case
def a_dofn_leaves_the_program(folder):
    class Leaves(DoFn):
        def process(self, element):
            raise SystemExit("enough")

    Pipeline().create(["x"]).parallel_do(Leaves()).collect(**HERE)


@case
def a_worker_dies_on_a_record(folder):
    source = lines_file(folder, *range(6))
    Pipeline().read_text(source).map(lambda x: os._exit(9) if x == "4" else x).collect(**AWAY)


def normalised(error, folder):
    text = "\n".join([str(error), *(note for note in getattr(error, "__notes__", ()))])
    text = text.replace(str(folder), "<folder>")
    text = re.sub(r"\S*/dataflow-runs-\d+/[0-9a-f]+", r"<tmp>/dataflow-runs/<run>", text)
    text = re.sub(r"(\w+\.py):\d+", r"\1:<line>", text)
    text = re.sub(r"(0x)[0-9a-f]{6,}", r"\1<address>", text)
    text = re.sub(r"\b[0-9a-f]{16}\b", "<run>", text)
    text = re.sub(r"\(\d+ bytes\)", "(<n> bytes)", text)
    return re.sub(r"pid \d+", "pid <pid>", text) + "\n"


def error_text(name, folder):
    with pytest.raises(DataflowError) as caught:
        CASES[name](folder)
    return normalised(caught.value, folder), caught.value


@pytest.mark.parametrize("name", CASES)
def test_the_text_of_an_error_is_the_golden_one(tmp_path, name):
    text, _ = error_text(name, tmp_path)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", CASES)
def test_an_error_has_at_most_20_lines_in_the_order_of_the_design(tmp_path, name):
    _, error = error_text(name, tmp_path)
    text = str(error)
    reports = text.split("\n\n")
    assert len(text.splitlines()) <= (20 if len(reports) <= 2 else 7 * len(reports))
    for report in reports:
        titles = [m[1] for line in report.splitlines() if (m := re.match(r"  (\w+) ", line)) and m[1] in ORDER]
        assert titles == sorted(titles, key=ORDER.index)
        assert all(len(line) < 400 for line in report.splitlines())


def test_a_hundred_problems_do_not_fill_the_screen(tmp_path):
    with pytest.raises(DataflowError) as caught:
        Pipeline().read_text([str(tmp_path / f"{i}.txt") for i in range(100)]).collect(**HERE)
    text = str(caught.value)
    assert "100 problems" in text and len(text.splitlines()) <= 80


@pytest.mark.parametrize(
    "name",
    [
        "a_column_holds_two_types",
        "a_sort_key_fails",
        "a_worker_dies_on_a_record",
        "an_aggregator_fails",
        "an_aggregator_fails_before_the_shuffle",
        "a_line_is_not_json",
        "a_line_is_latin_1",
        "a_csv_row_is_ragged",
        "a_csv_value_is_of_another_type",
    ],
)
def test_an_error_while_running_names_the_step_and_the_users_line(tmp_path, name):
    text, _ = error_text(name, tmp_path)
    assert "declared test_error_texts.py" in text and "\n  in       " in text, text


@pytest.mark.parametrize(
    "name",
    [
        "a_sort_key_fails",
        "a_key_is_a_list",
        "an_aggregator_fails",
        "an_aggregator_fails_before_the_shuffle",
        "a_line_is_not_json",
        "a_csv_row_is_ragged",
        "a_csv_value_is_of_another_type",
        "a_worker_dies_on_a_record",
    ],
)
def test_an_error_on_a_record_shows_the_record(tmp_path, name):
    text, _ = error_text(name, tmp_path)
    assert "\n  record   " in text, text


@pytest.mark.parametrize("name", ["a_dofn_leaves_the_program"])
def test_an_exit_names_the_users_line_that_exits(tmp_path, name):
    text, _ = error_text(name, tmp_path)
    assert "failed   test_error_texts.py" in text, text


def test_a_hint_is_not_cut_off_a_problem_that_has_one(tmp_path):
    text, _ = error_text("a_parquet_file_is_truncated", tmp_path)
    assert "hint" in text, text


@pytest.mark.xfail(strict=True, reason="bug: the index of the element is known and not used")
def test_a_record_within_a_known_row_is_located_at_that_row(tmp_path):
    text, _ = error_text("elements_are_found_not_to_be_pairs", tmp_path)
    assert "from     the given values, row 1\n" in text, text


def test_every_golden_file_belongs_to_a_case():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)
