"""Progress of a run: a live line on a terminal and in notebooks, else one plain line every ten seconds. On stderr.

Nothing is shown for the first second, so small runs are silent, and rich is imported only when a live line is.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from dataflow.frames import notebook
from dataflow.scheduling.result import RunState, shown_bytes

__all__ = ["line", "show_progress"]

SILENT = 1.0
LIVE_EVERY = 0.25
PLAIN_EVERY = 10.0


def line(state: RunState, seconds: float) -> str:
    """The run in one line: tasks, rows, bytes, rate, time left.

    >>> line(RunState("count", 3, 10, rows=5000, bytes=1 << 20, bytes_total=1 << 22), 2.0)
    'count: 3/10 tasks, 5,000 rows, 1.0 MiB, 512.0 KiB/s, 6 s left'
    """
    rows, done = state.now()
    text = f"{state.phase}: {state.tasks_done}/{state.tasks_total} tasks, {rows:,} rows, {shown_bytes(done)}"
    if seconds > 0 and done:
        text += f", {shown_bytes(done / seconds)}/s"
        left = (state.bytes_total - done) / (done / seconds)
        if left > 0:
            text += f", {left:.0f} s left"
    return text + (f", {state.skipped:,} skipped" if state.skipped else "")


@contextmanager
def show_progress(state: RunState, wanted: bool | None) -> Generator[None]:
    """Show the run while the context lasts; ``wanted`` None: unless it is a quiet place."""
    if wanted is False:
        yield
        return
    over = threading.Event()
    show = _in_cell if type(notebook()).__name__ == "ZMQInteractiveShell" else _live if sys.stderr.isatty() else _plain
    thread = threading.Thread(target=show, args=(state, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(2.0)


def _plain(state: RunState, over: threading.Event) -> None:
    begun = time.monotonic()
    while not over.wait(PLAIN_EVERY):
        print(line(state, time.monotonic() - begun), file=sys.stderr, flush=True)


def _live(state: RunState, over: threading.Event) -> None:
    begun = time.monotonic()
    if over.wait(SILENT):
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(Text(""), console=Console(stderr=True), refresh_per_second=4, transient=True) as view:
        while not over.wait(LIVE_EVERY):
            view.update(Text(line(state, time.monotonic() - begun)))


def _in_cell(state: RunState, over: threading.Event) -> None:
    """In a notebook, whether or not it has widgets."""
    begun = time.monotonic()
    if over.wait(SILENT):
        return
    from IPython.display import DisplayHandle  # type: ignore[import-not-found]

    shown = DisplayHandle()
    shown.display({"text/plain": line(state, time.monotonic() - begun)}, raw=True)
    while not over.wait(LIVE_EVERY):
        shown.update({"text/plain": line(state, time.monotonic() - begun)}, raw=True)
    shown.update({"text/plain": ""}, raw=True)
