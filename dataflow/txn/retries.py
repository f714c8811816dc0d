"""Running a transaction again: how long to wait before, and what is said when it is enough."""

from __future__ import annotations

import random

from dataflow.errors import Report, StoreError, TransactionError

__all__ = ["given_up", "pause"]


def pause(attempt: int) -> float:
    """A little longer each time, up to a tenth of a second, and not for all the same."""
    return min(0.1, 0.0002 * 2**attempt) * random.random()


def given_up(conflict: TransactionError, attempts: int) -> TransactionError:
    """That a transaction conflicted so many times."""
    report, reason = conflict.report, conflict.__cause__
    hint = "many transactions write this cell: spread them over several cells, or collect their changes in a CombineQueue"
    if isinstance(reason, StoreError):
        hint = reason.report.hint or "see what is the matter with the store"
    return type(conflict)(Report(report.sentence, attempt=f"{attempts} times; {report.attempt}", hint=hint))
