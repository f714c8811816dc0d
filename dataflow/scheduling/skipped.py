"""Records that were set aside: kept in one file of the run, counted per step, and not too many of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace

from dataflow.errors import Report, SkipLimitError
from dataflow.plan.steps import OnError
from dataflow.scheduling.result import RunResult, StepSummary

__all__ = ["SkippedRecords"]


class SkippedRecords:
    """The skipped records of a run; ``rules`` are the steps' limits by label. ``folder``: see `JobOptions`."""

    def __init__(
        self, folder: str | Callable[[], str], rules: dict[str, OnError], result: RunResult, steps: dict[str, StepSummary]
    ) -> None:
        self.folder, self.rules, self.result, self.steps = folder, rules, result, steps

    def take(self, path: str) -> None:
        """Add those of a task's file, which goes."""
        with open(path, "rb") as part, open(self._file(), "ab") as whole:
            shutil.copyfileobj(part, whole)
        os.unlink(path)

    def add(self, step: str, declared: str, where: str, error: str) -> None:
        """Add one that no task could write down, because even to read it killed its worker."""
        with open(self._file(), "a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, "declared": declared, "from": where, "record": "", "error": error}) + "\n")

    def _file(self) -> str:
        if self.result.skipped_file:
            return self.result.skipped_file
        folder = self.folder if isinstance(self.folder, str) else self.folder()
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "skipped.jsonl")
        try:
            open(path, "x").close()
        except FileExistsError:  # a folder that the user named may be that of other runs, too
            path = os.path.join(folder, f"skipped-{self.result.run}.jsonl")
        self.result.skipped_file = path
        return path

    def check(self, label: str) -> None:
        """Raise if a step skipped more records than its ``max_errors``."""
        step, rule = self.steps[label], self.rules.get(label)
        if rule is not None and rule.max_errors is not None and step.skipped > rule.max_errors:
            raise self._too_many(label, f"{step.skipped:,} records were skipped, and max_errors is {rule.max_errors:,}")

    def check_rates(self) -> None:
        """Raise if a step skipped a larger share than its ``max_error_rate``; exact only when all is done."""
        for label, step in self.steps.items():
            rule = self.rules.get(label)
            if rule is not None and rule.max_error_rate is not None and step.skipped > rule.max_error_rate * step.rows_in:
                text = f"{step.skipped:,} of {step.rows_in:,} records were skipped, and max_error_rate is {rule.max_error_rate:g}"
                raise self._too_many(label, text)

    def _too_many(self, label: str, text: str) -> SkipLimitError:
        first = next(iter(self.result.skipped_records()), None)
        report = Report(f"{label}: {text}", steps=(label,), hint=f"all of them are in {self.result.skipped_file}")
        if first is not None:
            report = replace(report, declared=first.declared, record=first.record, location=first.source, failed=(first.error,))
        return SkipLimitError(report)
