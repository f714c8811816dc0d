"""What a run gives back, and what is known of it while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, field
from typing import Any

from dataflow.record import record

__all__ = ["Output", "PhaseSummary", "RunResult", "RunState", "SkippedRecord", "StepSummary", "shown_bytes"]


@record(frozen=False, eq=True)
class StepSummary:
    """One step over the whole run. ``seconds`` are summed over tasks, and include the steps fused below a source."""

    label: str
    rows_in: int = 0
    rows_out: int = 0
    skipped: int = 0
    seconds: float = 0.0


@record(frozen=False, eq=True)
class PhaseSummary:
    """One pass over the whole run: what its tasks read and spilled, and the most memory a process of theirs had, in bytes.

    ``seconds`` are summed over tasks. ``remarks``: what the sizes that were seen decided.
    """

    name: str
    tasks: int = 0
    rows: int = 0
    bytes_read: int = 0
    bytes_spilled: int = 0
    seconds: float = 0.0
    peak_memory: int = 0
    remarks: list[str] = field(default_factory=list)


@record(eq=True)
class Output:
    """One target: its path, and how many rows, bytes and files were committed to it."""

    path: str
    rows: int
    bytes: int
    files: int


@record(eq=True)
class SkippedRecord:
    """A record that was set aside: its step and where that is declared, its file and row, itself, the exception."""

    step: str
    declared: str
    source: str
    record: str
    error: str


@record(frozen=False, eq=True)
class RunResult:
    """The outcome of a run.

    ``seconds`` is wall-clock time, ``bytes_read`` what sources gave, ``bytes_spilled`` what shuffles wrote,
    ``peak_memory`` the largest resident size of one process in bytes, ``compared`` how many tasks ran twice to the same result
    (``check_determinism``).
    """

    run: str
    seconds: float = 0.0
    counters: dict[str, int] = field(default_factory=dict)
    steps: list[StepSummary] = field(default_factory=list)
    phases: list[PhaseSummary] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    tasks: int = 0
    retries: int = 0
    backups: int = 0
    compared: int = 0
    bytes_read: int = 0
    bytes_spilled: int = 0
    peak_memory: int = 0
    skipped: int = 0
    skipped_file: str = ""
    log: list[str] = field(default_factory=list)

    def skipped_records(self) -> Iterator[SkippedRecord]:
        """The records that were set aside, read from ``skipped_file``."""
        if not self.skipped_file:
            return
        with open(self.skipped_file, encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                yield SkippedRecord(entry["step"], entry["declared"], entry["from"], entry["record"], entry["error"])

    def as_json(self) -> str:
        """The result as one line of JSON, for logs and cron jobs."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def measured(self) -> str:
        """A table of the passes and their steps, in the order of running."""
        width = max([len(phase.name) for phase in self.phases] + [len(step.label) + 2 for step in self.steps], default=4)
        width = min(width, 60)
        lines = [f"{'':<{width}} {'tasks':>6} {'rows in':>14} {'rows out':>14} {'seconds':>9} {'read':>10} {'spilled':>10} {'peak':>10}"]
        for phase in self.phases:
            lines.append(
                f"{phase.name[:width]:<{width}} {phase.tasks:>6,} {phase.rows:>14,} {'':>14} {phase.seconds:>9.2f} "
                f"{shown_bytes(phase.bytes_read):>10} {shown_bytes(phase.bytes_spilled):>10} {shown_bytes(phase.peak_memory):>10}"
            )
            lines.extend(f"  {remark}" for remark in phase.remarks)
        for step in self.steps:
            lines.append(f"  {step.label[: width - 2]:<{width - 2}} {'':>6} {step.rows_in:>14,} {step.rows_out:>14,} {step.seconds:>9.2f}")
        return "\n".join([*lines, f"{self.tasks:,} tasks in {self.seconds:.2f} s"])

    def __str__(self) -> str:
        lines = [
            f"run {self.run}: {self.tasks} tasks in {self.seconds:.2f} s, "
            f"{shown_bytes(self.bytes_read)} read, {shown_bytes(self.bytes_spilled)} spilled"
        ]
        for output in self.outputs:
            lines.append(f"  wrote {output.path}: {output.rows:,} rows, {shown_bytes(output.bytes)}, {output.files} files")
        for step in self.steps:
            skipped = f", {step.skipped:,} skipped" if step.skipped else ""
            lines.append(f"  {step.label:<28} {step.rows_in:>12,} -> {step.rows_out:>12,} rows  {step.seconds:8.2f} s{skipped}")
        if self.compared:
            lines.append(f"  {self.compared} tasks ran twice and gave the same")
        if self.skipped:
            lines.append(f"  {self.skipped:,} records skipped, see {self.skipped_file}")
        lines += [f"  {name} = {count:,}" for name, count in sorted(self.counters.items())]
        return "\n".join(lines)


def shown_bytes(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


@record(frozen=False, eq=True)
class RunState:
    """A run in progress, for whoever displays it."""

    phase: str = ""
    tasks_done: int = 0
    tasks_total: int = 0
    rows: int = 0
    bytes: int = 0
    bytes_total: int = 0
    skipped: int = 0
    running: dict[str, tuple[int, int]] = field(default_factory=dict)
    here: Any = None  # the `TaskContext` of the attempt that runs in this process, read as it changes

    def now(self) -> tuple[int, int]:
        """Rows and bytes so far, running attempts included."""
        running = list(self.running.values())
        here = self.here
        if here is not None:
            running.append((here.rows_read, here.bytes_read))
        return self.rows + sum(rows for rows, _ in running), self.bytes + sum(size for _, size in running)
