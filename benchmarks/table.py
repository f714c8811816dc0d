"""Turns measurements into medians, ratios and verdicts, and these into a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.job import Contender, Job
from benchmarks.measure import Measured

__all__ = ["Row", "as_table", "rows_of"]


@dataclass
class Row:
    """A contender's medians; ``ratios`` to each baseline: how many times its seconds this one takes."""

    name: str
    seconds: float = 0.0
    total: float = 0.0
    peak_mb: float = 0.0
    cpu: float = 0.0
    runs: int = 0
    ratios: tuple[float | None, ...] = ()
    goal: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def rows_of(job: Job, runs: dict[str, list[Measured]], notes: dict[str, str], size: str) -> list[Row]:
    """A row a contender, in the job's order. Goals are for the full size."""
    rows = [_row(job, contender, runs.get(contender.name, []), notes.get(contender.name, ""), size) for contender in job.contenders]
    bases = [row.seconds for row, contender in zip(rows, job.contenders, strict=True) if contender.baseline]
    for row, contender in zip(rows, job.contenders, strict=True):
        row.ratios = tuple(row.seconds / base if row.runs and base else None for base in bases)
        if size == "full" and row.runs:
            row.goal = _verdict(contender, row, bases)
    return rows


def _row(job: Job, contender: Contender, runs: list[Measured], note: str, size: str) -> Row:
    good = [run for run in runs if not run.error]
    notes = [text for text in (note, contender.note, *sorted({run.error for run in runs if run.error})) if text]
    if not good:
        return Row(contender.name, note="; ".join(notes))
    times = contender.divisor if size == "full" else 1
    if times > 1:
        notes.append(f"ran on 1/{times} of the input, seconds times {times}")
    known = ("seconds", "words", "total", "tasks", "version", "parts", "rates", "result")
    others = {key: value for key, value in good[-1].printed.items() if key not in known and isinstance(value, int | float)}
    notes += [f"{key.replace('_', ' ')}: {value:,}" for key, value in others.items()]
    return Row(
        contender.name,
        seconds=times * median(run.printed_at if job.from_start else run.printed["seconds"] for run in good),
        total=times * median(run.total for run in good),
        peak_mb=median(run.peak for run in good) / 1e6,
        cpu=times * median(run.cpu for run in good),
        runs=len(good),
        note="; ".join(notes),
    )


def _verdict(contender: Contender, row: Row, bases: list[float]) -> str:
    """Each goal and whether it is met; one verdict for each baseline."""
    said = []
    ratios = [ratio or 0.0 for ratio in row.ratios]
    if contender.goal is not None:
        said.append(f">= {contender.goal:.3g}x {_met(ratio >= contender.goal for ratio in ratios)}")
    if contender.most_times is not None:
        said.append(f"<= {contender.most_times:.3g}x {_met(0 < ratio <= contender.most_times for ratio in ratios)}")
    if contender.margin is not None:
        said.append(f"ours <= {contender.margin:g} s more {_met(0 < base <= row.seconds + contender.margin for base in bases)}")
    if contender.most_seconds is not None:
        said.append(f"<= {contender.most_seconds:g} s {_met([row.seconds <= contender.most_seconds])}")
    if contender.most_mb is not None:
        said.append(f"<= {contender.most_mb} MB {_met([row.peak_mb <= contender.most_mb])}")
    return ", ".join(said)


def _met(each: Iterable[bool]) -> str:
    return "/".join("met" if one else "MISSED" for one in each)


def as_table(job: Job, rows: list[Row], size: str, amount: float) -> str:
    """Plain text with aligned columns."""
    bases = [contender.name for contender in job.contenders if contender.baseline]
    head = ["contender", "seconds", "total s", "peak MB", "CPU s", "runs", *(f"x {base}" for base in bases), "goal", "note"]
    lines = [head]
    for row in rows:
        if row.runs:
            ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in row.ratios]
            numbers = [
                f"{row.seconds:.3f}" if row.seconds < 1 else f"{row.seconds:.2f}",
                f"{row.total:.2f}",
                f"{row.peak_mb:.0f}",
                f"{row.cpu:.1f}",
                str(row.runs),
            ]
            lines.append([row.name, *numbers, *ratios, row.goal, row.note])
        else:
            lines.append([row.name, *["-"] * (5 + len(bases)), "", row.note])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    texts = {0, len(head) - 2, len(head) - 1}
    shown = ["  ".join(_aligned(cell, widths[i], i in texts) for i, cell in enumerate(line)).rstrip() for line in lines]
    return "\n".join([f"{job.name}: {job.title} ({size}: {amount:,})", "", *shown, ""])


def _aligned(cell: str, width: int, text: bool) -> str:
    return cell.ljust(width) if text else cell.rjust(width)
