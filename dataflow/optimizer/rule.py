"""What a rule is: a plan in, a plan out, and a word to the user on what it did or would not do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from dataflow.plan.nodes import Node
from dataflow.record import record

__all__ = ["Plan", "Remarks", "Rule"]

Plan = tuple[Node, ...]


@record(frozen=False, eq=True)
class Remarks:
    """Why something was or was not done, in the order of doing; `explain` prints them."""

    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add a line unless it was said already."""
        if text not in self.lines:
            self.lines.append(text)


Rule = Callable[[Plan, Remarks], Plan]
