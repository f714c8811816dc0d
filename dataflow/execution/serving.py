"""Attempts served in a worker process: programs are kept, attempts run one at a time, their rows are marked where it outlives the process.

    program(name, bytes) ─> kept        attempt(task, number, name, bytes) ─> run_task ─> ("finished", …) | ("failed", …)
                                             └─> mark file: attempt, rows in work, rows and bytes read, pulse ─> whoever watches

The mark file is mapped memory: what was written last is there after the process is gone, which is how a record that kills its
process is found (MapReduce, section 3.6).
"""

from __future__ import annotations

import faulthandler
import gc
import mmap
import os
import signal
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from dataflow.collector import SELDOM
from dataflow.shard.users_code import loads

__all__ = ["Mark", "Serving", "ask_for_stack", "last_stack", "read_mark"]

_MARK = struct.Struct("<qqqqq256p")
_NOTHING = _MARK.pack(-1, -1, 0, 0, 0, b"")


class Mark(NamedTuple):
    """Where a worker is, or was when it died: rows [first, last) of the attempt's input; ``attempt`` is "" between attempts."""

    first: int
    last: int
    rows: int
    bytes: int
    pulse: int
    attempt: str

    @property
    def span(self) -> tuple[int, int] | None:
        """The rows in work, None if there were none."""
        return (self.first, self.last) if self.first >= 0 else None


def read_mark(path: str) -> Mark:
    """What a worker marked last. Raises OSError where there is no such file."""
    with open(path, "rb") as file:
        first, last, rows, read, pulse, attempt = _MARK.unpack(file.read(_MARK.size).ljust(_MARK.size, b"\0"))
    return Mark(first, last, rows, read, pulse, attempt.decode())


class Serving:
    """Runs attempts. ``name`` is the path of the mark file (``.mark``) and of the stacks of crashes (``.stack``)."""

    def __init__(self, name: str) -> None:
        self.programs: dict[str, bytes] = {}
        self.loaded: dict[str, Any] = {}
        self.context: Any = None
        self.name_files(name)
        # millions of short-lived tuples make the collector run thousands of times and find nothing: a sixth of the time of a
        # grouping of ten million pairs; what really is a cycle is collected between tasks (`free_memory`)
        gc.set_threshold(*SELDOM)

    def name_files(self, name: str) -> None:
        """Mark rows, and write stacks, in files of this name from now on."""
        with open(f"{name}.mark", "wb") as made:
            made.write(_NOTHING)
        with open(f"{name}.mark", "r+b") as file:
            self.mark = mmap.mmap(file.fileno(), _MARK.size)
        stacks = open(f"{name}.stack", "w")
        faulthandler.enable(stacks)
        faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)

    def beat(self) -> tuple[Any, ...] | None:
        """How far the current attempt is, marked and given: (task, number, rows, bytes, pulse); called from another thread."""
        context = self.context
        if context is None:
            return None
        read, pulse = (context.rows_read, context.bytes_read), context.pulse()
        struct.pack_into("<qqq", self.mark, 16, *read, pulse & (1 << 62) - 1)
        return (context.task, context.attempt, *read, pulse)

    def run(
        self, task: str, number: int, name: str, attempt: bytes, adapt: Callable[[Any], Any] = lambda attempt: attempt
    ) -> tuple[Any, ...]:
        """Run an attempt of a program: ("finished", task, number, result) or ("failed", task, number, kind, error, rows)."""
        from dataflow.execution.failing import failure_of
        from dataflow.execution.task import free_memory, run_task

        stage, share = "load", 0
        _MARK.pack_into(self.mark, 0, -1, -1, 0, 0, 0, f"{task}#{number}".encode()[:255])
        try:
            if name not in self.loaded:
                from dataflow.execution.bundles import set_up

                program = loads(self.programs[name])
                stage = "run"
                set_up(program)
                self.loaded[name] = program
            stage = "run"
            given = adapt(loads(attempt))
            share = given.memory
            found: tuple[Any, ...] = (
                "finished",
                task,
                number,
                run_task(self.loaded[name], given, self._at, self._watch),
            )
        except BaseException as error:
            rows = struct.unpack_from("<qq", self.mark, 0)
            kind, portable = failure_of(error, stage)
            found = ("failed", task, number, kind, portable, rows if rows[0] >= 0 else None)
        self.context = None
        self.mark[: _MARK.size] = _NOTHING
        free_memory(share)
        return found

    def forget(self, name: str) -> None:
        """Tear down a program that will not be asked for again."""
        from dataflow.execution.bundles import tear_down

        self.programs.pop(name, None)
        program = self.loaded.pop(name, None)
        if program is not None:
            tear_down(program)
            gc.unfreeze()  # the program may be part of a cycle

    def close(self) -> None:
        """Tear down all programs."""
        for name in list(self.loaded):
            self.forget(name)
        self.programs.clear()

    def _at(self, first: int, last: int) -> None:
        struct.pack_into("<qq", self.mark, 0, first, last)

    def _watch(self, context: Any) -> None:
        self.context = context


def last_stack(path: str) -> str:
    """The end of what a worker's crash handler wrote."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]
    except OSError:
        return ""


def ask_for_stack(process: int) -> None:
    """Have a process write the stacks of its threads into its file."""
    os.kill(process, signal.SIGUSR1)
