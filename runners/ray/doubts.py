"""Machines that did not answer: another thread asks whether anybody is there, while the pool goes on.

a file of a machine cannot be read ─ `about` ─> is somebody there? ─┬─ "nobody" ─> the machine is gone, and the reader was lost with it
                                                   ^                ├─ "here" ───> the reader failed: the file alone is made again
                                                   └─ asked again ──┴─ "silent": that may pass, or Ray says that it is gone
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from dataflow.scheduling.events import Failed
from runners.ray.machine import Machine
from runners.ray.mailbox import Mailbox

__all__ = ["Doubts"]


class Doubts:
    """What is doubted. ``answer(place)`` says who is there (`transport.answer`); ``gone(machine)`` and ``failed(event)`` are told."""

    def __init__(
        self, mail: Mailbox, answer: Callable[[str], str], gone: Callable[[Machine], None], failed: Callable[[Failed], None]
    ) -> None:
        self.mail, self.answer, self.gone, self.failed = mail, answer, gone, failed
        self.held: dict[Machine, list[Failed]] = {}  # attempts that could not read a file of a machine

    def __contains__(self, one: Machine) -> bool:
        return one in self.held

    def about(self, one: Machine, *failed: Failed) -> None:
        """Find out whether a machine is there that did not answer."""
        self.held.setdefault(one, []).extend(failed)
        threading.Thread(target=lambda: self.mail.put(self._answered, one, self.answer(one.place)), daemon=True).start()

    def again(self) -> None:
        """Ask again, where that is not known."""
        for one in self.held:
            self.about(one)

    def settle(self, one: Machine) -> list[Failed]:
        """It is known of a machine; gives the attempts that could not read."""
        return self.held.pop(one, [])

    def _answered(self, one: Machine, answer: str) -> None:
        if one in self.held and answer == "nobody":
            self.gone(one)  # Ray itself takes ten seconds or more to say so
        elif answer == "here":
            for failed in self.settle(one):
                self.failed(failed)
