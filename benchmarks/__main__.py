"""The command: `python -m benchmarks [job …] [--size small|full|NUMBER] [--repeat 3] [--peers-python PATH] [--only NAME,…]`."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.job import Contender, Input, Job, Unavailable
from benchmarks.measure import Measured, adopt_orphans, measure
from benchmarks.parts import parts_table
from benchmarks.rates import rates_table
from benchmarks.table import as_table, rows_of

JOBS = (
    "wordcount", "groupby", "sort", "tpch", "tpch_partitioned", "sort_table", "group_table", "join_table", "startup", "first_query",
    "tiny_query", "scheduler", "scale", "ray_wordcount", "ray_groupby", "ray_sort", "ray_tpch", "ray_kills", "ray_wide",
    "transactions", "transactions_postgres",
    "observers", "large_store",
)  # fmt: skip
OURS = ("dataflow-engine", "polars", "pyarrow")
PACKAGES = ("pyarrow", "pyspark", "ray", "apache-beam", "dask", "duckdb", "polars", "daft", "pandas")
HERE = Path(__file__).parent
_FIND = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def main() -> int:
    options = _options()
    adopt_orphans()
    _compile_ours()
    data = Path(options.data)
    data.mkdir(parents=True, exist_ok=True)
    ours, peers = _versions(sys.executable, OURS), _versions(options.peers_python, PACKAGES)
    report: dict[str, Any] = {"machine": _machine(), "ours": ours, "peers": peers, "size": options.size, "jobs": {}}
    print(f"{report['machine']}\nours: {_listed(ours)}\npeers: {_listed(peers)}\n", flush=True)
    wrong = False
    for name in options.jobs or JOBS:
        job: Job = import_module(f"benchmarks.jobs.{name}").JOB
        try:
            runs, notes = _compete(job, options, data, peers)
        except Unavailable as reason:
            print(f"{job.name}: skipped: {reason}\n", flush=True)
            continue
        rows = rows_of(job, runs, notes, options.size)
        wrong |= any(run.error.startswith("wrong") for found in runs.values() for run in found)
        report["jobs"][name] = [row.as_json() for row in rows]
        print(as_table(job, rows, options.size, _amount(job, options.size)), flush=True)
        if parts := parts_table(job, runs):
            print(parts, flush=True)
        if rates := rates_table(job, runs, options.size):
            print(rates, flush=True)
    if options.json:
        text = json.dumps(report, indent=2)
        print(text) if options.json == "-" else Path(options.json).write_text(text + "\n")
    return 1 if wrong else 0


def _compile_ours() -> None:
    """What pip does when it installs a package, the peers' too. Of a checkout, Python does it at the first import, unless told not to."""
    for package in ("dataflow", "runners"):
        for folder in import_module(package).__path__:
            compileall.compile_dir(folder, quiet=2)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure dataflow beside its peers.")
    parser.add_argument("jobs", nargs="*", metavar="job", help=f"of {', '.join(JOBS)}; all if none is named")
    parser.add_argument("--size", type=_size, default="small", help='"small", "full", or a number in the job\'s unit; goals are for "full"')
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are shown")
    parser.add_argument("--peers-python", default=sys.executable, help="a Python in which the peers are installed")
    parser.add_argument("--only", default="", help="contenders by script or package name, with commas; ours always run")
    parser.add_argument("--data", default=str(Path(tempfile.gettempdir()) / "dataflow-benchmarks"), help="where inputs are kept")
    parser.add_argument("--timeout", type=float, default=900, help="seconds a contender may take")
    parser.add_argument("--json", nargs="?", const="-", help="also as JSON: to a file, or after the tables")
    options = parser.parse_args()
    if unknown := set(options.jobs) - set(JOBS):
        parser.error(f"there is no job {', '.join(sorted(unknown))}; there are {', '.join(JOBS)}")
    return options


def _compete(job: Job, options: argparse.Namespace, data: Path, peers: dict[str, str]) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """Run the contenders round by round, so that a noisy minute falls on all of them."""
    runs: dict[str, list[Measured]] = {}
    notes: dict[str, str] = {}
    only = {name.strip() for name in options.only.split(",") if name.strip()}
    running: list[Contender] = []
    first: dict[str, str] = {}
    for contender in job.contenders:
        if only and contender.package and not only & {contender.package, Path(contender.script).stem, contender.name}:
            notes[contender.name] = "left out by --only"
        elif contender.package in PACKAGES and contender.package not in peers:
            notes[contender.name] = f"skipped: {contender.package} is not installed in {options.peers_python}"
        elif contender.package == "-" and not shutil.which(contender.needs):
            notes[contender.name] = f"skipped: there is no {contender.needs}"
        else:
            running.append(contender)
    for number in range(options.repeat):
        for contender in running:
            print(f"  {job.name}, round {number + 1}: {contender.name}", file=sys.stderr, flush=True)
            divisor = contender.divisor if options.size == "full" else 1
            amount = _amount(job, options.size)
            prepared = job.prepare(data, amount if divisor == 1 else amount // divisor)
            runs.setdefault(contender.name, []).append(_run(job, contender, prepared, first, options, data))
    return runs, notes


def _run(job: Job, contender: Contender, prepared: Input, first: dict[str, str], options: argparse.Namespace, data: Path) -> Measured:
    """Run a contender in a folder of its own, and compare its result with what is right, or with the ``first`` made of this input."""
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=data))
    target = scratch / "out"
    python = options.peers_python if contender.package else sys.executable
    script = HERE / "jobs" / (job.scripts or job.name) / contender.script
    (scratch / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(scratch / "tmp"), "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        _read_once(Path(prepared.argument))
        measured = measure([python, str(script), prepared.argument, str(target), *contender.arguments], env, scratch, options.timeout)
        if not measured.error and contender.checked:
            try:
                made = job.fingerprint(target, measured.printed)
            except Exception as reason:
                made = f"unreadable, {reason!r}"
            expected = prepared.expected or first.setdefault(prepared.argument, made)
            if made != expected:
                measured.error = f"wrong result: {made}, not {expected}"
        return measured
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read_once(source: Path) -> None:
    """Have the input in memory, as far as there is room: else the first contender alone would wait for the disk."""
    for file in [source] if source.is_file() else sorted(source.rglob("*")) if source.is_dir() else []:
        if file.is_file():
            with file.open("rb", buffering=0) as opened:
                while opened.read(1 << 24):
                    pass


def _size(text: str) -> str:
    """A name of sizes, or a number, as it was given."""
    if text not in ("small", "full"):
        float(text)
    return text


def _amount(job: Job, size: str) -> float:
    """A size by its name, or as a number."""
    if size in job.sizes:
        return job.sizes[size]
    return int(size) if size.isdigit() else float(size)


def _versions(python: str, packages: Sequence[str]) -> dict[str, str]:
    """Which of these packages are installed in a Python, and their versions."""
    found: dict[str, str] = json.loads(subprocess.run([python, "-c", _FIND, *packages], check=True, capture_output=True, text=True).stdout)
    return found


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "none"


def _machine() -> str:
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return (
        f"Python {platform.python_version()}, {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.release()}, load {load}"
    )


if __name__ == "__main__":
    sys.exit(main())
