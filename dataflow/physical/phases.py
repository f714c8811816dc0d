"""A phase: the tasks over one root, with what they read and write; and a plan of phases, which a job may exchange for another."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from dataflow.physical.program import KeepLeaf, Program, ShuffleLeaf
from dataflow.plan.nodes import Operate, View
from dataflow.record import record

__all__ = ["Phase", "PhysicalPlan", "in_order", "side_of"]


@record
class Phase:
    """One pass: its program, what it reads, and what it waits for besides (`whole_sides`)."""

    program: Program
    shuffle: str | None = None
    kept: str | None = None
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.program.phase

    def feeds(self) -> set[str]:
        """The shuffles, their sides, and the kept files it writes."""
        shuffles = [leaf for leaf in self.program.leaves if isinstance(leaf, ShuffleLeaf)]
        kept = {leaf.name for leaf in self.program.leaves if isinstance(leaf, KeepLeaf)}
        return kept | {leaf.shuffle for leaf in shuffles} | {side_of(leaf.shuffle, leaf.side) for leaf in shuffles}

    def needs(self) -> set[str]:
        """The shuffles and kept files that must be whole before it starts."""
        return {name for name in (self.shuffle, self.kept) if name} | set(self.program.sides) | set(self.after)


@record
class PhysicalPlan:
    """All phases, in an order in which they can run, and what the names mean. ``parts``: of an exchange, read as side values."""

    phases: tuple[Phase, ...]
    sinks: tuple[Any, ...]
    views: dict[str, View | Operate]
    parts: dict[str, tuple[str, int]] = field(default_factory=dict)

    def phase(self, name: str) -> Phase:
        """The phase of a name."""
        return next(phase for phase in self.phases if phase.name == name)

    def feeders(self, name: str) -> list[Phase]:
        """The phases that write a shuffle or kept files."""
        return [phase for phase in self.phases if name in phase.feeds()]


def side_of(shuffle: str, side: int) -> str:
    """The name of one part of an exchange."""
    return f"side {side} of {shuffle}"


def in_order(phases: list[Phase]) -> list[Phase] | None:
    """Phases after those they need; None if some wait for each other."""
    waiting, ordered = phases, list[Phase]()
    while waiting:
        unwritten = {name for phase in waiting for name in phase.feeds()}
        ready = [phase for phase in waiting if not phase.needs() & unwritten]
        if not ready:
            return None
        ordered.extend(ready)
        waiting = [phase for phase in waiting if phase.needs() & unwritten]
    return ordered
