"""Which files of a run are still needed, and what is made again when one is lost: the whole way back to the sources, if it must be.

    source ─ P1 ─> S1 ─ P2 ─> S2 ─ P3 ─> S3 ─ P4        P4 runs. A machine is gone, and with it some files of S1, S2 and S3.
                                                        The tasks of P3 that wrote the lost files of S3 run again: these read all of S2,
                                                        so the lost files of S2 are made again first, and before them those of S1.

A file that is lost is made again when somebody is to read it, not before: with S3 whole, nothing of S1 and S2 is. So files stay as long as
what was made of them lies where it can be lost: a machine takes its files along. What lies in storage that all see, or here, goes bad
at most (a disk's fault), one file at a time; there a shuffle stays until what was made of it has been read, as a file that is bad shows
when it is read. Should a shuffle be asked for that was removed all the same, all of it is made again.

The life of a file: `FiledFiles.file` takes it in; `lost` (with its machine) or `corrupt` (for a reader) says that it is bad; `_restore`
has the tasks run again that wrote what phases in progress read, the last phase first, as these may need others; `made_again` sees them
done; `spare` says which shuffles nobody can ask for any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dataflow.physical.phases import Phase, PhysicalPlan
from dataflow.physical.program import DealRoot, MergeRoot
from dataflow.scheduling.events import Clock, Task
from dataflow.scheduling.filed import FiledFiles
from dataflow.scheduling.scheduler import Scheduler
from dataflow.scheduling.work import Work

__all__ = ["Lineage"]


class Lineage:
    """What depends on what. ``plan``: of now; ``unfinished``: whether a phase waits or has tasks that were never done."""

    def __init__(
        self,
        files: FiledFiles,
        clock: Clock,
        plan: Callable[[], PhysicalPlan],
        unfinished: Callable[[str], bool],
        scheduler: Callable[[], Scheduler],
    ) -> None:
        self.files, self.clock, self.plan, self.unfinished, self.scheduler = files, clock, plan, unfinished, scheduler
        self.work: dict[str, Task] = {}  # every task of the run
        self.remaking: dict[str, set[str]] = {}  # by phase
        self.remade: dict[str, float] = {}  # when

    # -- what is made again

    def corrupt(self, producer: str, since: float) -> bool:
        """A file of the run is bad: make it again, if that was not done since, and if the task that wrote it can still run."""
        if self.remade.get(producer, -1.0) > since:
            return True
        if producer not in self.work:
            return False
        self._again(producer)
        self._restore()
        return True

    def lost(self, place: str) -> None:
        """What was written at a place is gone; it is made again as far as somebody is to read it."""
        self.files.lose(place)
        self._restore()

    def moved(self, place: str, where: dict[str, tuple[str, str]]) -> None:
        """What was written at a place was copied to others, before it goes."""
        if not self.files.move(place, where):
            self._restore()

    def ready(self, name: str) -> bool:
        """Whether nothing that a phase reads is being made again."""
        if not self.remaking:
            return True
        needs = self.plan().phase(name).needs()
        return not any(needs & self.plan().phase(again).feeds() for again in self.remaking)

    def made_again(self, task: Task) -> bool:
        """Whether a task that is done was one that made its files anew."""
        again = self.remaking.get(task.group, set())
        if task.id not in again:
            return False
        again.discard(task.id)
        self.remade[task.id] = self.clock.now()
        if not again:
            del self.remaking[task.group]
        return True

    def late(self) -> None:
        """A task wrote at a place that is gone by now."""
        self._restore()

    def replaced(self, task: Task, parts: list[Task]) -> bool:
        """Other tasks stand for one that is no more. Whether it was making its files anew."""
        self.work.update((part.id, part) for part in parts)
        if not self.made_again(task):
            return False
        del self.work[task.id]
        if parts:
            self.remaking.setdefault(task.group, set()).update(part.id for part in parts)
        return True

    def _again(self, producer: str) -> None:
        task = self.work[producer]
        if producer not in self.scheduler().states:
            self.remaking.setdefault(task.group, set()).add(producer)
            self.scheduler().add([task], front=True)

    def by_number(self, name: str) -> list[Task]:
        """The tasks that read files of a name and tell their rows by number: shares of a key, parts of a task, what was dealt in turn."""
        readers = {phase.name for phase in self.plan().phases if name in self._reads(phase)}
        return [task for task in self.work.values() if task.group in readers and _by_number(task.payload)]

    def anew(self, task: Task) -> None:
        """Have a task run again, whether it is done or runs now."""
        if task.id in self.scheduler().states:
            self.scheduler().begin_again(task.id)
        else:
            self._again(task.id)

    def _restore(self) -> None:
        """Have everything made again that is not there and is to be read."""
        plan = self.plan()
        while True:
            before = sum(map(len, self.remaking.values()))
            for name in plan.views:
                self._whole(name)
            for phase in reversed(plan.phases):
                if self._running(phase):
                    for name in self._reads(phase):
                        self._whole(name)
            if sum(map(len, self.remaking.values())) == before:  # a second look finds something only if the phases are in no order
                return

    def _whole(self, name: str) -> None:
        for producer in self.files.missing(name):
            self._again(producer)

    # -- what is kept

    def spare(self) -> list[str]:
        """The names whose files nobody can ask for any more."""
        plan = self.plan()
        running = [phase for phase in plan.phases if self._running(phase)]
        read = {name for phase in running for name in self._reads(phase)}
        kept = set(plan.views).union(*(phase.feeds() for phase in running))
        for phase in reversed(plan.phases):
            fed = phase.feeds()
            merges = isinstance(phase.program.root, MergeRoot)  # or a large shuffle would take its space twice
            again = any((name in read and not merges) or (name in kept and self.files.can_be_lost(name)) for name in fed)
            if again or self._running(phase):
                kept.update(self._reads(phase))
        return [name for name in self.files.files if name not in kept]

    def settle(self) -> None:
        """Stop making again what nobody is to read any more: another attempt has read it before."""
        plan = self.plan()
        wanted = set(plan.views).union(*(self._reads(phase) for phase in plan.phases if self.unfinished(phase.name)))
        for phase in reversed(plan.phases):
            if phase.name in self.remaking and not self.unfinished(phase.name):
                if wanted & phase.feeds():
                    wanted.update(self._reads(phase))
                    continue
                for task in self.remaking.pop(phase.name):
                    self.scheduler().drop(task)

    def _running(self, phase: Phase) -> bool:
        return phase.name in self.remaking or self.unfinished(phase.name)

    def _reads(self, phase: Phase) -> Iterator[str]:
        """The names of the files that the tasks of a phase may read."""
        parts = self.plan().parts
        return (parts[name][0] if name in parts else name for name in phase.needs())


def _by_number(work: Work) -> bool:
    given = work.input
    shared = given.shuffle is not None and bool(given.shuffle.shares)
    return shared or given.rows != (0, None) or isinstance(work.program.root, DealRoot)
