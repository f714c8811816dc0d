"""What other threads tell the thread that waits at a selector: calls it is to make, with a socket that wakes it.

Ray's threads (an agent has answered), a thread of ours (a worker at the door) ─ put ─> `Mailbox` ─ ring ─> selector ─ open ─> call
"""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["Mailbox"]


class Mailbox:
    """Calls for one thread. ``bell`` is readable when there are some."""

    def __init__(self) -> None:
        self.bell, self._rope = socket.socketpair()
        self.bell.setblocking(False)
        self._rope.setblocking(False)
        self._calls: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()

    def put(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have a call made; from any thread."""
        self._calls.put((call, arguments))
        with contextlib.suppress(OSError):  # it rings already, or nobody is there any more
            self._rope.send(b"!")

    def when(self, reference: Any, call: Callable[..., None], *arguments: Any) -> None:
        """Have a call made with what is referred to, when that is there: its `concurrent.futures.Future` comes last."""
        reference.future().add_done_callback(lambda done: self.put(call, *arguments, done))

    def open(self) -> None:
        """Make the calls that are there."""
        with contextlib.suppress(BlockingIOError):
            while self.bell.recv(4096):
                pass
        for _ in range(self._calls.qsize()):
            call, arguments = self._calls.get()
            call(*arguments)

    def close(self) -> None:
        """Take no more."""
        self.bell.close()
        self._rope.close()
