"""What observers failed over: the error that says so, and the changes that were set aside.

    meta: ("failed", observer, row, column) -> what it said

The ack of a change that was set aside is negative: it is seen, and not done. So it is looked at again when it is noted again, by a
change, by `notify` or by `renotify`; a run that succeeds takes the note away, once it is committed.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from dataflow.errors import Report, TransactionError, redact, shorten
from dataflow.kv import Edit, Store, end_of_row, pack, pack_element, unpack

if TYPE_CHECKING:
    from dataflow.txn.runs import Observer

__all__ = ["Failure", "circle", "failed", "failures", "forgive", "note_key", "set_aside"]


class Failure(NamedTuple):
    """A change that was set aside. ``column``: None if it was noted before columns were."""

    observer: str
    row: Any
    column: str | None
    text: str
    key: bytes


def note_key(observer: str, row: Any, column: str | None = None) -> bytes:
    """Where it is noted that a change was set aside; without a column, as it was noted before columns were."""
    return pack(("failed", observer, row) if column is None else ("failed", observer, row, column))


def set_aside(store: Store, observer: Observer, rows: Collection[Any], error: Exception) -> None:
    """Note what failed."""
    text = f"{type(error).__name__}: {_said(error)}".encode("utf-8", "backslashreplace")
    store.write([Edit("meta", note_key(observer.name, row, observer.column), text) for row in rows], sync=False)


def failures(store: Store, observer: str | None = None) -> Iterator[Failure]:
    """The changes that were set aside, of all observers or of those of one name."""
    prefix = pack_element("failed") + (pack_element(observer) if observer is not None else b"")
    for key, packed in store.scan("meta", prefix, end_of_row(prefix)):
        _, name, row, *column = unpack(key)
        yield Failure(name, row, column[0] if column else None, packed.decode(), key)


def forgive(store: Store, keys: Collection[bytes]) -> None:
    """Forget failures, by their keys."""
    store.write([Edit("meta", key, None) for key in keys], sync=False)


def failed(
    observer: Observer,
    changed: dict[Any, Any],
    error: Exception,
    doing: str = "observer",
    hint: str = 'on_error="skip" sets such a change aside',
) -> TransactionError:
    """That an observer failed, and over what."""
    from dataflow.execution.failures import user_frames  # which imports Arrow

    trace = "".join(traceback.format_exception(error))
    row, value = next(iter(changed.items()))
    return TransactionError(
        Report(
            f"{doing} {observer.name!r} failed: {type(error).__name__}: {_said(error)}",
            steps=(f"column {observer.column!r}",),
            failed=user_frames(error),
            record=f"row {shorten(row)}: {shorten(value)}" + (f", and {len(changed) - 1} more" if len(changed) > 1 else ""),
            hint=hint,
            trace=trace,
        )
    )


def circle(observer: Observer, row: Any, names: tuple[str, ...], longest: int) -> TransactionError:
    """That a chain of observers has no end."""
    since = len(names) - 1 - names[::-1].index(observer.name) if observer.name in names else 0
    return TransactionError(
        Report(
            f"observers change what they observe, in a circle: {' > '.join((*names[since:], observer.name))}",
            record=f"row {shorten(row)}",
            hint=f"a chain of more than {longest} runs, each made by a change of the one before, is taken for a circle",
        )
    )


def _said(error: Exception) -> str:
    try:
        return redact(str(error))[:300]
    except Exception as reason:  # as of an integer of too many digits
        return f"(what it says cannot be shown: {type(reason).__name__})"
