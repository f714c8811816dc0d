"""What a notebook's user sees: their cells by their numbers and lines, also where another process ran them. IPython is played."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dataflow import DataflowError, Pipeline

Cell = Callable[[str], None]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    """Runs the text of a cell, all in one scope, as IPython does: from a file that is nowhere, with its lines at hand."""
    numbers: dict[str, int] = {}
    scope: dict[str, Any] = {"__name__": "__main__"}
    named = SimpleNamespace(format_code_name=lambda file: ("Cell", f"In[{numbers[file]}]") if file in numbers else None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(compile=named)))  # type: ignore[arg-type]

    def run(text: str) -> None:
        file = f"/tmp/ipykernel_1/{313579066 + len(numbers)}.py"
        numbers[file] = len(numbers) + 1
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        exec(compile(text, file, "exec"), scope)

    yield run
    for file in numbers:
        linecache.cache.pop(file, None)


@pytest.mark.parametrize("mode", ["in_process", pytest.param("processes", marks=pytest.mark.slow)])
def test_an_error_shows_the_lines_of_cells_wherever_they_ran(cell: Cell, mode: str) -> None:
    cell("from dataflow import Pipeline\n\ndef inverse(n):\n    return 1 / (n - 2)\n")
    cell("found = Pipeline().create([1, 2, 3]).map(inverse)\n")
    with pytest.raises(DataflowError) as caught:
        cell(f"\nfound.collect(mode={mode!r}, workers=1, progress=False)\n")
    text = str(caught.value)
    assert "declared Cell In[2]:1\n" in text and "found = Pipeline().create([1, 2, 3]).map(inverse)" in text
    assert "failed   Cell In[1]:4 in inverse: return 1 / (n - 2)" in text
    shown = "\n".join(caught.value._render_traceback_()).splitlines()
    at = shown.index("Cell In[3]:2 in <module>")
    assert shown[at + 1].strip().startswith("found.collect(") and shown[at + 2].startswith("StepError: ")
    assert not any("contextlib" in line or "dataflow/api" in line for line in shown) and len(shown) < 30


def test_wrong_options_are_shown_at_the_users_line(cell: Cell) -> None:
    with pytest.raises(DataflowError, match=r"cannot take these options(.|\n)*declared Cell In\[1\]:2\n"):
        cell("from dataflow import Pipeline\nPipeline().create([1]).collect(mem='1GiB')\n")


def test_a_preview_that_fails_says_why() -> None:
    assert "not computed: map failed: ZeroDivisionError" in Pipeline().create([0]).map(lambda n: 1 // n)._repr_html_()


def test_a_plan_is_shown_line_by_line() -> None:
    numbers = Pipeline().create([1]).map(abs)
    shown: list[str] = []
    explained = numbers.explain()
    explained._repr_pretty_(SimpleNamespace(text=shown.append), False)  # type: ignore[attr-defined]
    assert shown == [explained] and shown[0].startswith("== Logical\n")
    assert explained._repr_html_() is None and numbers.explain("svg")._repr_html_().startswith("<svg")  # type: ignore[attr-defined]
