"""The command line: ``dataflow run``, ``explain`` and ``doctor``.

Exit codes, for cron jobs: 0 done; 1 the pipeline, its code or its data is wrong; 2 wrong usage; 3 done, but records were
skipped; 4 the machine failed (workers, disk, memory, time); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import sys
from typing import Any

import click

from dataflow.api.settings import settings
from dataflow.cli_kv import kv
from dataflow.errors import (
    DataflowError,
    MemoryLimitError,
    OutputError,
    ResourceError,
    ShardCorruptError,
    TaskTimeoutError,
    WorkerCrashedError,
)  # fmt: skip
from dataflow.parameters import give

__all__ = ["main"]

MACHINE = (WorkerCrashedError, TaskTimeoutError, MemoryLimitError, ResourceError, OutputError, ShardCorruptError)
SCRIPT = click.argument("script", type=click.Path(exists=True, dir_okay=False))
PARAM = click.option(
    "--param", "-p", "params", multiple=True, metavar="NAME=VALUE", help="A parameter the script reads with dataflow.param(NAME)."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dataflow-engine")
def main() -> None:
    """Run, explain and check dataflow pipelines."""


@main.command(context_settings={"ignore_unknown_options": False})
@SCRIPT
@PARAM
@click.option("--runner", "-r", help="Where to run: local (the default), ray, reference, or an installed runner.")
@click.option(
    "--address", metavar="HOST:PORT", help="Of the Ray cluster, with --runner ray. Default: the one that runs here, or a new one."
)
@click.option("--memory", "-m", help="What the run's data may take, as 8GiB. Default: 60% of the machine.")
@click.option("--workers", "-w", type=click.IntRange(min=1), help="Worker processes. Default: one a core.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "in_process", "processes", "cluster"]),
    help="Default auto: by the bytes there are. cluster: all on Ray.",
)
@click.option("--task-timeout", type=float, help="Seconds without progress after which a task is stopped.")
@click.option("--skipped-to", type=click.Path(file_okay=False), help="The folder for skipped records.")
@click.option(
    "--check-determinism",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Run this share of the tasks twice (0.01; at least one a phase) and fail if a step gives something else.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per run on standard output, nothing else there.")
def run(script: str, params: tuple[str, ...], runner: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Run the pipelines of SCRIPT as Python would, with these options as defaults.

    \b
    Example:
      dataflow run examples/word_count.py -p input='books/*.txt' -p output=out/counts --memory 2GiB
      dataflow run examples/word_count.py --runner ray --address 10.0.0.1:6379
    """
    output = sys.stdout

    def finished(result: Any) -> None:
        print(result.as_json() if as_json else str(result), file=output if as_json else sys.stderr, flush=True)

    settings.runner = runner
    settings.options = {name: value for name, value in options.items() if value is not None}
    if quiet:
        settings.options["progress"] = False
    settings.finished = finished
    give(_params(params))
    try:
        _execute(script, as_json)
    except SystemExit as ended:  # as of `sys.exit(main())`
        if ended.code not in (None, 0) or not settings.skipped:
            raise
    if settings.skipped:
        raise SystemExit(3)


@main.command()
@SCRIPT
@PARAM
def explain(script: str, params: tuple[str, ...]) -> None:
    """Print the plan of SCRIPT's first run (logical, optimized, stages, and why) without running it."""
    give(_params(params))

    def show(text: str) -> None:
        click.echo(text)
        raise _Explained

    settings.explain = show
    try:
        _execute(script, False)
    except _Explained:
        return
    raise click.ClickException(f"{script} runs no pipeline")


class _Explained(BaseException):
    """Ends a script after its plan was shown."""


def _params(pairs: tuple[str, ...]) -> dict[str, str]:
    return _pairs(pairs, "--param", "NAME=VALUE")


def _execute(script: str, as_json: bool) -> None:
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    sys.argv = [script]
    try:
        # with --json, standard output is for the summary alone
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            runpy.run_path(script, run_name="__main__")
    except KeyboardInterrupt as stop:
        message = str(stop) or "the script was stopped"
        click.echo(f"stopped: {message}", err=True)
        if as_json:
            _say_json("KeyboardInterrupt", message, "", 130)
        raise SystemExit(130) from None
    except DataflowError as error:
        _fail(error, 4 if isinstance(error, MACHINE) else 1, as_json)
    except KeyError as error:
        if error.args and str(error.args[0]).startswith("the script needs --param"):
            raise click.UsageError(str(error.args[0])) from None
        raise


def _fail(error: DataflowError, code: int, as_json: bool, in_script: bool = True) -> None:
    notes = getattr(error, "__notes__", [])
    kind = type(error).__name__
    text = str(error) if in_script else re.sub(r"\n  declared [^\n]*(\n {6,}[^\n]*)?", "", str(error))  # it would be a line of ours
    click.echo("\n".join([f"{kind}: {text}", *notes]), err=True)
    if as_json:
        _say_json(kind, error.report.sentence, error.report.declared, code)
    raise SystemExit(code)


def _say_json(kind: str, message: str, declared: str, code: int) -> None:
    click.echo(json.dumps({"error": kind, "message": message, "declared": declared, "exit": code}))


@main.command()
@click.argument("text")
@click.option(
    "--table", "-t", "tables", multiple=True, metavar="NAME=PATH", help="A table: Parquet, CSV or JSON lines; globs and folders too."
)
@click.option("--output", "-o", metavar="FOLDER", help="Write Parquet there instead of printing.")
@click.option("--mode", type=click.Choice(["error", "overwrite", "append"]), default="error", show_default=True, help="If it is there.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "jsonl"]), default="table", help="How the result is printed.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="Print at most so many rows; 0 prints all.")
@click.option("--explain", "only_plan", is_flag=True, help="Print the plan instead of running it.")
@click.option("--memory", metavar="SIZE", help='Memory the data may take, such as "8GiB".')
def sql(
    text: str, tables: tuple[str, ...], output: str | None, mode: Any, form: str, limit: int, only_plan: bool, memory: str | None
) -> None:  # fmt: skip
    """Run a SELECT over files. TEXT is the query, @FILE a file that holds it, - standard input.

    \b
    Example:
      dataflow sql "select kind, count(*) n from t group by kind" -t t='events/*.parquet'
    """
    from dataflow.api.pipeline import Pipeline

    if output is None and mode != "error":
        raise click.UsageError("--mode says what becomes of the folder that --output names, and there is no --output")
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise click.UsageError(f"the query cannot be read: {error}") from None
    options: dict[str, Any] = {"memory": memory} if memory else {}
    named = _pairs(tables, "--table", "NAME=PATH")
    try:
        found = Pipeline("sql", **options).sql(text, **named)
        if only_plan:
            click.echo(found.explain())
        elif output:
            found.write_parquet(output, mode=mode)
            click.echo(str(found.pipeline.run()), err=True)
        else:
            _print(found, form, limit)
    except KeyboardInterrupt as stop:
        click.echo(f"stopped: {str(stop) or 'the query was stopped'}", err=True)
        raise SystemExit(130) from None
    except DataflowError as error:
        _fail(error, 4 if isinstance(error, MACHINE) else 1, False, in_script=False)


def _print(found: Any, form: str, limit: int) -> None:
    """The rows of a collection on standard output."""
    import csv

    rows = found.head(limit + 1) if limit else found.collect()
    cut = bool(limit) and len(rows) > limit
    rows = rows[:limit] if cut else rows
    names = list(found.schema or (rows[0] if rows else ()))
    if form == "jsonl":
        for row in rows:
            click.echo(json.dumps(row, default=str))
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows([["" if row[name] is None else row[name] for name in names] for row in rows])
    else:
        cells = [names, *([("null" if row[name] is None else str(row[name])) for name in names] for row in rows)]
        widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
        for number, line in enumerate(cells):
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
            if number == 0:
                click.echo("  ".join("-" * width for width in widths))
    if cut:
        click.echo(f"(the first {limit} rows; --limit 0 prints all)", err=True)


def _pairs(pairs: tuple[str, ...], option: str, form: str) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} takes {form}, not {pair!r}")
        found[name] = value
    return found


main.add_command(kv)


@main.command()
def doctor() -> None:
    """Check this machine and installation, and say what is missing and what for."""
    raise SystemExit(0 if _doctor() else 4)


def _doctor() -> bool:
    import shutil
    import tempfile
    from importlib.metadata import PackageNotFoundError, entry_points, version

    good = True

    def say(fine: bool | None, text: str) -> None:
        nonlocal good
        good = good and fine is not False
        click.echo(f"{'ok  ' if fine else '--  ' if fine is None else 'BAD '} {text}")

    say(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}")
    for package in ("pyarrow", "numpy", "polars", "sqlglot", "fsspec", "cloudpickle", "click", "rich"):
        try:
            say(True, f"{package} {version(package)}")
        except PackageNotFoundError:
            say(False, f"{package} is not installed")
    for package, use in (
        ("fastavro", "Avro: extra avro"),
        ("datasketches", "sketches: extra sketches"),
        ("pandas", "pandas batches"),
        ("s3fs", "s3:// paths: extra s3"),
        ("ray", "runs on a cluster: extra ray"),
    ):
        try:
            say(True, f"{package} {version(package)}")
        except PackageNotFoundError:
            say(None, f"{package} is not installed ({use})")
    names = sorted(point.name for point in entry_points(group="dataflow.runners"))
    say("local" in names, f"runners: {', '.join(names) or 'none'}")
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    say(free > 1 << 30, f"{free / 2**30:.1f} GiB free in {folder}, where shuffles go")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    say(True, f"{memory / 2**30:.1f} GiB of memory, {len(os.sched_getaffinity(0))} cores")
    try:
        from dataflow import Pipeline

        found = (
            Pipeline().create(["a b", "a"]).flat_map(str.split).count().collect(mode="processes", workers=1, progress=False, runner="local")
        )
        say(sorted(found) == [("a", 2), ("b", 1)], "a worker process counted words")
    except Exception as error:
        say(False, f"a worker process cannot run: {error}")
    return good
