"""Attempts that wait for their turn do not hang: nobody has begun them, so a time-out is not for them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from dataflow.scheduling.events import AttemptId, Progress

__all__ = ["waiting"]


def waiting(attempts: Iterable[AttemptId]) -> list[Progress]:
    """What is to be told of attempts that nobody has begun: no rows yet, and no standstill.

    >>> (told,) = waiting([AttemptId("map/00001", 0)])
    >>> told.attempt.task, told.rows
    ('map/00001', 0)
    """
    pulse = time.monotonic_ns()
    return [Progress(attempt, 0, 0, pulse) for attempt in attempts]
