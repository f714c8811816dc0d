"""Python's collector of cycles, made to look seldom while a run lasts, and while modules are loaded.

It looks at what is new after every 700 new objects, and again at what stayed. A first query makes the classes and functions of seven
hundred modules, which all stay: it looked at them 80 times and found nothing.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["SELDOM", "patient_collector"]

SELDOM = (100_000, 50, 1000)  # its thresholds


@contextmanager
def patient_collector() -> Generator[None]:
    """Within it the collector looks as seldom as it does in workers (`execution.serving`).

    Where modules were loaded meanwhile, what is new is mostly theirs. To freeze it and thaw it makes it old without a look: a full
    collection will see it, but not the next one, which took 10 ms and came before the result could be printed.

    >>> before = gc.get_threshold()
    >>> with patient_collector():
    ...     gc.get_threshold()
    (100000, 50, 1000)
    >>> gc.get_threshold() == before
    True
    """
    before = gc.get_threshold()
    if before[0] == 0 or before[0] >= SELDOM[0]:  # off, or another one is at it
        yield
        return
    modules = len(sys.modules)
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        if len(sys.modules) > modules and not gc.get_freeze_count():  # what the user froze stays frozen
            gc.freeze()
            gc.unfreeze()
        gc.set_threshold(*before)
