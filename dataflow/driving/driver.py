"""What every runner of ours does around a job: optimize, plan, look before leaping, run, commit, stop when told to.

plan ─optimize─> plan ─plan_phases─> phases ─preflight─> Job(the runner's workers) ─> RunResult
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from typing import Any, Protocol

from dataflow.collector import patient_collector
from dataflow.display.progress import show_progress
from dataflow.driving.folders import Folder
from dataflow.driving.in_process import InProcess
from dataflow.driving.kernel_limits import limit_kernel
from dataflow.errors import DataflowError, PreflightError
from dataflow.execution.failures import trace_of
from dataflow.execution.sides import KeptIterable, load_side
from dataflow.io.listings import one_listing
from dataflow.optimizer.optimize import optimize, placing
from dataflow.optimizer.rule import Remarks, Rule
from dataflow.physical.phases import PhysicalPlan
from dataflow.physical.preflight import preflight
from dataflow.physical.program import SourceRoot
from dataflow.physical.stages import plan_phases
from dataflow.plan.nodes import Node, View
from dataflow.scheduling.events import Policy, Workers
from dataflow.scheduling.job import Job
from dataflow.scheduling.result import RunResult
from dataflow.scheduling.work import JobOptions

__all__ = ["Driver", "RunnerWorkers", "source_bytes"]

COMPARED = 0.01
MOST_RUNS = 300  # in a day of a failing job that is tried every few minutes
WEEK = 7 * 24 * 3600


class RunnerWorkers(Workers, Protocol):
    """Workers that run some attempts in this process."""

    here: InProcess


class _MonotonicClock:
    def now(self) -> float:
        return time.monotonic()


class Driver:
    """A runner of plans, but for where their attempts run: `_workers` says that.

    ``memory``: bytes (or "8GiB") the run's data may take. ``spill_folders``: where shuffles go. ``skipped_to``: the folder of records
    that were set aside. ``task_timeout``: seconds without progress until an attempt is given up. ``progress``: whether it is shown.
    ``check_determinism``: this share of the tasks (True: 1%), and one of each phase at least, runs twice and is compared.
    ``placement``: whether relational queries go to the kernel "whole", are "partitioned", or "auto" (by estimated bytes).
    """

    def __init__(
        self,
        *,
        memory: int,
        spill_folders: list[str] | str | None = None,
        skipped_to: str | None = None,
        task_timeout: float | None = None,
        progress: bool | None = None,
        check_determinism: float | bool = 0.0,
        policy: Policy | None = None,
        placement: str = "auto",
    ) -> None:
        self.memory = memory
        if placement not in ("auto", "whole", "partitioned"):
            raise ValueError(f'placement is "auto", "whole" or "partitioned", not {placement!r}')
        self.placement = placement
        self.spill_folders = [spill_folders] if isinstance(spill_folders, str) else spill_folders
        self.skipped_to = skipped_to
        self.progress = progress
        self.result: RunResult | None = None  # of the last `evaluate`
        self.compared_share = COMPARED if check_determinism is True else float(check_determinism)
        if not 0 <= self.compared_share <= 1:
            raise ValueError(f"check_determinism is a share of the tasks, from 0 to 1, not {check_determinism!r}")
        self.policy = policy or Policy()
        if task_timeout is not None:
            self.policy.task_timeout = task_timeout

    def _workers(self, stack: ExitStack, run: str, plan: PhysicalPlan, folders: list[str]) -> RunnerWorkers:
        """Where this plan's attempts run; what has to be ended with the run goes onto the stack. ``folders``: of this process's files."""
        raise NotImplementedError

    @property
    def own_memory(self) -> int:
        """Bytes that the run's data may take in this process, where whole queries run."""
        return self.memory

    def rule(self) -> Rule:
        """The rule by which queries are placed, for `explain`."""
        return placing(self.own_memory, self.placement)

    def run(self, plan: tuple[Node, ...]) -> RunResult:
        """Run a plan whose outputs are sinks."""
        with self._job(plan) as job:
            return job.run()

    @contextmanager
    def evaluate(self, plan: tuple[Node, ...]) -> Generator[list[Any]]:
        """Run a plan whose outputs are views, and give their values; iterables are good within the context."""
        with self._job(plan) as job:
            self.result = job.run([node.label for node in plan if not (isinstance(node, View) and node.kind == "stored")])
            yield [self._value(job, node) for node in plan if node.label in job.plan.views]

    @staticmethod
    def _value(job: Job, node: Node) -> Any:
        side = job.side(node.label)
        return KeptIterable(side.files) if side.kind in ("iterable", "list", "stored") else load_side(side)

    @contextmanager
    def _job(self, plan: tuple[Node, ...]) -> Generator[Job]:
        with patient_collector(), one_listing():
            yield from self._started(plan)

    def _started(self, plan: tuple[Node, ...]) -> Generator[Job]:
        run = os.urandom(8).hex()
        physical = plan_phases(optimize(plan, Remarks(), cut=self.rule()))
        problems = preflight(plan, physical)
        if problems:
            raise PreflightError(tuple(problems))
        with ExitStack() as stack:
            made = [Folder(run, parent) for parent in self.spill_folders or [tempfile.gettempdir()]]
            for folder in made:
                stack.callback(folder.close)
            folders = [folder.path for folder in made]
            left = cache(partial(_left_of, run))  # made when something is left there
            limit_kernel(self.own_memory, tempfile.gettempdir())
            workers = self._workers(stack, run, physical, folders)
            options = JobOptions(run, self.memory, tuple(folders), self.skipped_to or left, self.policy, self.compared_share)
            job = Job(physical, options, workers, _MonotonicClock())
            workers.here.watch = lambda context: setattr(job.state, "here", context)
            stack.enter_context(_graceful_stop(job))
            stack.enter_context(show_progress(job.state, self.progress))
            try:
                yield job
            except DataflowError as error:
                _keep_trace(error, left)
                raise


def source_bytes(physical: PhysicalPlan) -> int:
    """The bytes of local file sources, at a glance; others count nothing here, their phases decide later."""
    total = 0
    for phase in physical.phases:
        root = phase.program.root
        if isinstance(root, SourceRoot) and hasattr(root.source, "files"):
            with suppress(Exception):
                total += sum(info.size for info in root.source.files())
    return total


@contextmanager
def _graceful_stop(job: Job) -> Generator[None]:
    """Ctrl-C once: stop within two seconds, leave nothing. Twice: at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        if job.stop.is_set():
            os._exit(130)
        job.stop.set()
        if not job.committing:  # a commit is a matter of moments, and is not taken back
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _keep_trace(error: DataflowError, left: Callable[[], str]) -> None:
    """The whole trace goes to a file, and the report says which; the report itself stays short."""
    with suppress(OSError):
        folder = left()
        path = os.path.join(folder, "trace.txt")
        _forget_old(os.path.dirname(folder))
        os.makedirs(folder, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{error.report.trace}\n" if error.report.trace else "")  # of the worker, or as far as the step
            file.write(trace_of(error))
        error.add_note(f"  trace    {path}")


def _left_of(run: str) -> str:
    """The folder of what a run leaves for people: its trace if it failed, the records it skipped."""
    return os.path.join(_own_folder(os.path.join(tempfile.gettempdir(), f"dataflow-runs-{os.getuid()}")), run)


def _own_folder(path: str) -> str:
    """A folder that this user alone may look into, made if it is not there; a new one where another's is at the path, or a link is."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return tempfile.mkdtemp(prefix=f"{os.path.basename(path)}-")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)
    return path


def _forget_old(folder: str) -> None:
    """Runs of more than a week ago leave nothing, nor do those before the last hundreds."""
    with suppress(OSError):
        runs = sorted(os.scandir(folder), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for place, entry in enumerate(runs):
            if place >= MOST_RUNS or entry.stat().st_mtime < time.time() - WEEK:
                shutil.rmtree(entry.path, ignore_errors=True)
