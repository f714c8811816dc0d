"""Threads for work that is done at once, in whatever process asks for it.

A fork has the object, and of the threads only the one that forked: what is given to the others' queue there is done by nobody. So the
first work in a new process gets threads of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["Threads"]

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most so many threads.

    >>> threads = Threads(2, "example")
    >>> threads.submit(max, 1, 2).result()
    2
    >>> threads.shutdown()
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._begin()

    def _begin(self) -> None:
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix=self._name)
        self._process = os.getpid()  # last: who sees it finds the pool that is meant

    def submit(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have an act done."""
        if self._process != os.getpid():
            self._begin()
        return self._pool.submit(act, *args, **kwargs)

    def shutdown(self, *, wait: bool = True) -> None:
        """Take no more work; ``wait``: until what was taken is done. What a parent process took is not waited for."""
        if self._process == os.getpid():
            self._pool.shutdown(wait=wait)
