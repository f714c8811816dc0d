"""What a running task attempt knows: where it is in its input, what it has skipped, how much it may hold.

A step that fails asks here which row of which file its record came from. Rows are not tracked while all goes well;
on an error the rows of the current batch are run again through the steps before the failing one, counting, until the
failing element's number is reached (`runner.py` does that).
"""

from __future__ import annotations

import json
import os
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from operator import length_hint
from typing import Any

from dataflow.errors import redact, shorten
from dataflow.io.source import BadRow, Piece, Place
from dataflow.plan.steps import Step
from dataflow.record import record
from dataflow.shard.batch import Batch
from dataflow.shard.codec import encode_batch

__all__ = ["StepStats", "TaskContext", "text_of"]


def text_of(error: BaseException) -> str:
    """An exception's text on one line, without secrets; a user's ``__str__`` may itself fail."""
    try:
        return redact(" ".join(str(error)[:20_000].split()))
    except Exception:
        return "<its text cannot be had>"


@record(frozen=False, eq=True)
class StepStats:
    """What went through one step of one task."""

    rows_in: int = 0
    rows_out: int = 0
    skipped: int = 0
    seconds: float = 0.0


@record(frozen=False, eq=True)
class TaskContext:
    """The state of one attempt. ``memory`` is in bytes; ``mark`` is told the rows about to be processed. ``digests``, of a task
    that runs twice to be compared: a checksum of all that each step gave. ``shared``: where files go that other tasks read, if not
    to ``spill``. ``ordered``: whether records must come in the same order in each attempt, also where the plan has none."""

    task: str
    attempt: int
    memory: int
    spill: str
    seed: int = 0
    sides: dict[str, Any] = field(default_factory=dict)
    mark: Callable[[int, int], None] | None = None
    stats: dict[str, StepStats] = field(default_factory=dict)
    bytes_read: int = 0
    bytes_spilled: int = 0
    rows_read: int = 0
    skipped_path: str = ""
    skipped_count: int = 0
    place: Place | None = None
    root: Batch | None = None
    root_offset: int = 0
    generation: int = 0
    cursor: Iterator[Any] | None = None
    digests: dict[str, int] | None = None
    shared: str = ""
    ordered: bool = False
    _files: int = 0

    def pulse(self) -> int:
        """A number that changes with every row a step takes; asked from another thread, it costs the step nothing."""
        left = length_hint(self.cursor, 0) if self.cursor is not None else 0
        return self.generation * 1_000_003 + sum(stats.rows_in for stats in list(self.stats.values())) * 1009 - left

    def enter(self, batch: Batch, place: Place | None, offset: int = 0) -> None:
        """A new batch of the root begins; ``offset`` rows of the place lie before it."""
        self.root, self.place, self.root_offset = batch, place, offset
        self.generation += 1
        if self.mark:
            self.mark(self.rows_read, self.rows_read + len(batch))

    def gave(self, label: str, batch: Batch) -> None:
        """A step gave a batch; summed only where two attempts will be compared."""
        if self.digests is None:
            return
        try:
            data = encode_batch(batch).serialize()
        except Exception:  # what cannot be encoded between fused steps need not be
            data = len(batch).to_bytes(8, "little")
        self.digests[label] = zlib.crc32(data, self.digests.get(label, 0))

    def step(self, label: str) -> StepStats:
        """The numbers of a step."""
        return self.stats.setdefault(label, StepStats())

    def random(self, seed: int = 0) -> random.Random:
        """A generator that depends on the shard and the user's seed, not on the attempt or the worker."""
        return random.Random(f"{self.seed}/{seed}" if seed else self.seed)

    def spill_path(self, kind: str) -> str:
        """A fresh name for a file of this attempt."""
        self._files += 1
        return os.path.join(self.spill, f"{kind}-{self.task.replace('/', '_')}-{self.attempt}-{os.getpid()}-{self._files}.run")

    def output_path(self, kind: str) -> str:
        """A fresh name for a file of this attempt that other tasks will read."""
        if not self.shared:
            return self.spill_path(kind)
        self._files += 1
        # a URL has meaning in characters that a label may have, and tasks of two labels must not meet in one name
        name = f"{re.sub(r'[^A-Za-z0-9.]', '_', self.task)}-{zlib.crc32(self.task.encode()):08x}"
        return f"{self.shared}/{kind}-{name}-{self.attempt}-{os.getpid()}-{self._files}.run"

    def skip(self, step: Step, record: Any, error: BaseException, row: int | None) -> None:
        """Set a record aside: its file and row, its step, what went wrong."""
        self.step(step.label).skipped += 1
        where = self.place.of(self.root_offset + row) if self.place and row is not None else self.whereabouts()
        self._aside(
            {
                "step": step.label,
                "declared": str(step.origin),
                "from": where,
                "record": shorten(record, 2000),
                "error": f"{type(error).__name__}: {text_of(error)[:500]}",
            }
        )

    def skip_rows(self, rows: Sequence[BadRow], label: str) -> None:
        """Rows that the source itself could not read."""
        for row in rows:
            self.step(label).skipped += 1
            self._aside({"step": label, "declared": "", "from": row.place, "record": row.text, "error": row.reason})

    def _aside(self, entry: dict[str, str]) -> None:
        if not self.skipped_path:
            self.skipped_path = self.spill_path("skipped")
        self.skipped_count += 1
        with open(self.skipped_path, "a", encoding="utf-8") as out:
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def whereabouts(self) -> str:
        """The rows of the current root batch, for when the one row is not known."""
        if self.place is None:
            return ""
        return self.place.span(self.root_offset, len(self.root) if self.root is not None else 1)

    def receive(self, piece: Piece, label: str) -> None:
        """Account for a piece of the source."""
        self.bytes_read += piece.bytes
        if piece.bad:
            self.skip_rows(piece.bad, label)
