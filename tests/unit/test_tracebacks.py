"""What a script prints that fails: the user's frames and the report, not the twenty calls the engine was deep in."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINES = 40  # of the terminal: the report's twenty, the user's frames, and those of ours that they called

SCRIPTS = {
    "a function in this process": 'p.create([1, 0]).map(lambda n: 1 // n).collect(mode="in_process")',
    "a function in a worker": 'p.create([1, 0]).map(lambda n: 1 // n).collect(mode="processes", workers=1)',
    "a function before a write": 'p.create([1, 0]).map(lambda n: 1 // n).write_text("out")\np.run(mode="in_process")',
    "a file under a query": r"""open("a.csv", "w").write("n\na")
p.read_csv("a.csv", schema=pa.schema({"n": pa.int64()})).select(m=col("n") + 1).collect()""",
    "a function in a query": 'p.create([{"n": 0}]).select(m=col("n").apply(lambda n: 1 // n, int)).collect()',
}


@pytest.mark.parametrize("said", SCRIPTS)
def test_a_script_prints_no_frames_of_the_engine_but_those_it_called(said: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import pyarrow as pa\nfrom dataflow import Pipeline, col\np = Pipeline(progress=False)\n{SCRIPTS[said]}\n")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    printed = done.stderr
    assert done.returncode == 1 and "declared script.py:" in printed
    assert len(printed.splitlines()) <= LINES, printed
    assert not re.search(r'File ".*/dataflow/(?!api/)', printed), printed
    kept = re.search(r"trace +(\S+trace\.txt)", printed)
    assert kept is not None and re.search(r'File ".*/dataflow/execution/', Path(kept[1]).read_text())
