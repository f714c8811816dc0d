"""What the tasks of a job counted, added up once for each: for the result, and for whoever watches."""

from __future__ import annotations

from dataflow.execution.task import TaskResult
from dataflow.physical.program import QueryRoot, ScanRoot, SourceRoot
from dataflow.plan.steps import OnError, Step
from dataflow.scheduling.result import PhaseSummary, RunResult, RunState, StepSummary
from dataflow.scheduling.skipped import SkippedRecords
from dataflow.scheduling.work import JobOptions, Work

__all__ = ["Accounts"]


class Accounts:
    """The numbers of a run. ``rules`` are the steps' limits of skipped records, by label."""

    def __init__(self, options: JobOptions, rules: dict[str, OnError]) -> None:
        self.state = RunState()
        self.result = RunResult(options.run)
        self.steps: dict[str, StepSummary] = {}
        self.phases: dict[str, PhaseSummary] = {}
        self.skipped = SkippedRecords(options.skipped_to, rules, self.result, self.steps)

    def count(self, work: Work, result: TaskResult) -> None:
        """Add the numbers of a task, whose first result was taken."""
        final = self.result
        for name, count in result.counters.items():
            final.counters[name] = final.counters.get(name, 0) + count
        for label, stats in result.stats.items():
            step = self.steps.setdefault(label, StepSummary(label))
            step.rows_in += stats.rows_in
            step.rows_out += stats.rows_out
            step.skipped += stats.skipped
            step.seconds += stats.seconds
        if isinstance(work.program.root, (SourceRoot, ScanRoot, QueryRoot)):
            final.bytes_read += result.bytes_read
        final.bytes_spilled += result.bytes_spilled
        phase = self.phases.setdefault(work.phase, PhaseSummary(work.phase))
        phase.tasks += 1
        phase.rows += result.rows_read
        phase.bytes_read += result.bytes_read
        phase.bytes_spilled += result.bytes_spilled
        phase.seconds += result.seconds
        phase.peak_memory = max(phase.peak_memory, result.peak_memory)
        final.peak_memory = max(final.peak_memory, result.peak_memory)
        self.state.tasks_done += 1
        self.state.rows += result.rows_read
        self.state.bytes += work.input.bytes
        if result.skipped:
            final.skipped += result.skipped
            self.state.skipped = final.skipped
            self.skipped.take(result.skipped_path)
            for label in result.stats:
                self.skipped.check(label)

    def skip(self, step: Step, where: str, error: str) -> None:
        """One more record was set aside, which no task could count."""
        self.skipped.add(step.label, str(step.origin), where, error)
        summary = self.steps.setdefault(step.label, StepSummary(step.label))
        summary.rows_in += 1
        summary.skipped += 1
        self.result.skipped += 1
        self.state.skipped = self.result.skipped
        self.skipped.check(step.label)
