"""Histories: what the processes of a test did to a database, written down so that a kill -9 loses nothing of it.

    a process         one file, appended to; a line a step, one system call a line
    ["b", …]          a transaction is about to commit: what it read as of when, and what it writes
    ["o", …]          what became of it: committed (and when), aborted, unknown

A process that dies between the two leaves a transaction whose outcome is unknown; `decide` asks the store. What a killed process handed to
the operating system is in the file, so no fsync is needed. A last line that is torn is left out: its transaction had not begun to commit.

Cells are named by one text here, the row: the column follows from it (`workload.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dataflow.errors import ConflictError, SnapshotTooOldError

__all__ = ["Done", "Recorder", "decide", "read_histories"]

Outcome = Literal["committed", "aborted", "unknown"]


@dataclass(slots=True, eq=False)
class Done:
    """A transaction, as its process knew it. ``began``, ``ended``: by the machine's monotonic clock, before the first read and after
    the answer. ``ops``: of a transaction on lists what it did in order: ``["r", key, list]`` or ``["a", key, element]``.

    ``marker``: the cell that only this transaction writes; whether it is there says whether it is committed.
    """

    name: str
    process: str = ""
    kind: str = ""
    began: float = 0.0
    start: int = 0
    reads: Mapping[str, Any] = field(default_factory=dict)
    scans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    writes: Mapping[str, Any] = field(default_factory=dict)
    holds: tuple[str, ...] = ()
    ops: tuple[Any, ...] = ()
    marker: str = ""
    outcome: Outcome = "unknown"
    commit: int | None = None
    ended: float = float("inf")


class Recorder:
    """Writes the history of one process. May be used by several threads."""

    def __init__(self, folder: Path | str, process: str) -> None:
        self.process = process
        self._file = os.open(Path(folder) / f"{process}.history", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def begun(self, done: Done) -> None:
        """It is about to commit."""
        self._line(
            "b", done.name, done.kind, done.began, done.start, done.reads, done.scans, done.writes, done.holds, done.ops, done.marker
        )  # fmt: skip

    def ended(self, name: str, outcome: Outcome, commit: int | None = None) -> None:
        """It is known what became of it."""
        self._line("o", name, outcome, commit, time.monotonic())

    @contextlib.contextmanager
    def outcome_of(self, done: Done) -> Iterator[list[int]]:
        """Around a commit: what it gives is appended to the list; what it raises is an outcome, too.

        A conflict is one that the engine is sure of; any other error leaves open what happened.
        """
        self.begun(done)
        committed: list[int] = []
        try:
            yield committed
        except (ConflictError, SnapshotTooOldError):
            self.ended(done.name, "aborted")
        else:
            self.ended(done.name, "committed", committed[0])

    def note(self, *what: Any) -> None:
        """Something else to be remembered; `read_histories` gives it back."""
        self._line("n", *what)

    def _line(self, *what: Any) -> None:
        line = json.dumps(what, separators=(",", ":")).encode() + b"\n"
        written = os.write(self._file, line)
        assert written == len(line)

    def close(self) -> None:
        os.close(self._file)


def read_histories(folder: Path | str) -> tuple[list[Done], list[list[Any]]]:
    """The transactions of all processes, and their notes."""
    found: dict[str, Done] = {}
    notes: list[list[Any]] = []
    for path in sorted(Path(folder).glob("*.history")):
        for line in path.read_bytes().split(b"\n"):
            try:
                step = json.loads(line)
            except ValueError:
                continue  # the empty end, or a line that a kill tore
            if step[0] == "b":
                _, name, kind, began, start, reads, scans, writes, holds, ops, marker = step
                assert name not in found, f"two transactions are called {name}"
                found[name] = Done(name, path.stem, kind, began, start, reads, scans, writes, tuple(holds), tuple(ops), marker)
            elif step[0] == "o":
                _, name, outcome, commit, ended = step
                done = found[name]
                done.outcome, done.commit, done.ended = outcome, commit, ended
            else:
                notes.append(step[1:])
    return list(found.values()), notes


def decide(history: Iterable[Done], found: Mapping[str, tuple[Any, int]]) -> list[str]:
    """Give each unknown outcome the answer that the store has at the end; what it contradicts is returned as anomalies.

    ``found``: the cells at the end, each with its value and the time it was committed.
    """
    wrong = []
    for done in history:
        if not done.marker:
            if done.outcome == "unknown":
                done.outcome = "aborted"  # it only read, and whether its snapshot held was not said
            continue
        there = found.get(done.marker)
        ours = there is not None and there[0] == done.writes[done.marker]
        if done.outcome == "committed":
            if not ours:
                wrong.append(f"lost commit: {done.name} was acknowledged at {done.commit}, and {done.marker} holds {there}")
            elif there is not None and there[1] != done.commit:
                wrong.append(f"moved commit: {done.name} was acknowledged at {done.commit}, and stands at {there[1]}")
        elif done.outcome == "aborted":
            if ours:
                wrong.append(f"aborted, yet there: {done.name} was refused, and {done.marker} is there")
        elif ours and there is not None:
            done.outcome, done.commit = "committed", there[1]
        else:
            done.outcome = "aborted"
    return wrong
