"""The command line: ``dataflow run``, ``explain`` and ``doctor``.

Exit codes, for cron jobs: 0 done; 1 the pipeline, its code or its data is wrong; 2 wrong usage; 3 done, but records were
skipped; 4 the machine failed (workers, disk, memory, time); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
from typing import Any

import click

from dataflow.api.settings import settings
from dataflow.errors import (
    DataflowError,
    MemoryLimitError,
    OutputError,
    ResourceError,
    ShardCorruptError,
    TaskTimeoutError,
    WorkerCrashedError,
)  # fmt: skip

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
@click.option("--runner", "-r", help="Where to run: local (the default), reference, or an installed runner.")
@click.option("--memory", "-m", help="What the run's data may take, as 8GiB. Default: 60% of the machine.")
@click.option("--workers", "-w", type=click.IntRange(min=1), help="Worker processes. Default: one a core.")
@click.option("--mode", type=click.Choice(["auto", "in_process", "processes"]), help="Default auto: by the bytes there are.")
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
    """
    skipped = 0
    output = sys.stdout

    def finished(result: Any) -> None:
        nonlocal skipped
        skipped += result.skipped
        print(result.as_json() if as_json else str(result), file=output if as_json else sys.stderr, flush=True)

    settings.runner = runner
    settings.options = {name: value for name, value in options.items() if value is not None}
    if quiet:
        settings.options["progress"] = False
    settings.finished = finished
    settings.params = _params(params)
    _execute(script, as_json)
    if skipped:
        raise SystemExit(3)


@main.command()
@SCRIPT
@PARAM
def explain(script: str, params: tuple[str, ...]) -> None:
    """Print the plan of SCRIPT's first run (logical, optimized, stages, and why) without running it."""
    settings.params = _params(params)

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
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--param takes NAME=VALUE, not {pair!r}")
        found[name] = value
    return found


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


def _fail(error: DataflowError, code: int, as_json: bool) -> None:
    notes = getattr(error, "__notes__", [])
    kind = type(error).__name__
    click.echo("\n".join([f"{kind}: {error}", *notes]), err=True)
    if as_json:
        _say_json(kind, error.report.sentence, error.report.declared, code)
    raise SystemExit(code)


def _say_json(kind: str, message: str, declared: str, code: int) -> None:
    click.echo(json.dumps({"error": kind, "message": message, "declared": declared, "exit": code}))


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
    for package in ("pyarrow", "numpy", "fsspec", "cloudpickle", "click", "rich"):
        try:
            say(True, f"{package} {version(package)}")
        except PackageNotFoundError:
            say(False, f"{package} is not installed")
    for package, use in (
        ("fastavro", "Avro: extra avro"),
        ("datasketches", "sketches: extra sketches"),
        ("pandas", "pandas batches"),
        ("polars", "Polars batches"),
        ("s3fs", "s3:// paths: extra s3"),
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
