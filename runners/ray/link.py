"""This process as one of a cluster's: an address, a token, its files served to the others, a way to theirs. Shared by all its runs,
whatever agents they have: a process reads other machines' files in one way only (`shard.places.connect`).
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time

import ray

from dataflow.shard.places import connect
from runners.ray.failures import head_lost, left
from runners.ray.files import FileServer
from runners.ray.joining import connection
from runners.ray.transport import FlightTransport

__all__ = ["Link", "linked"]

PATIENCE = 1.0
LOST = 30.0  # seconds; a head may be started again within them, and Ray ends this process, without a word, after 60


class Link:
    """What holds as long as Ray is connected to one cluster. ``job``: Ray's name of that connection."""

    def __init__(self) -> None:
        context = ray.get_runtime_context()
        self.connection, self.node, self.head = connection(), str(context.get_node_id()), str(context.gcs_address)
        self.address = ray.util.get_node_ip_address()
        self.token = secrets.token_hex(16)
        self.server = FileServer(self.address, self.token, [])
        threading.Thread(target=self.server.serve, name="files", daemon=True).start()
        self.transport = FlightTransport((self.server.place,), self.token)
        self.users = 0
        self._silent = 0.0  # since when nobody is at the head's address
        connect(self.transport)

    def connected(self) -> bool:
        """Whether this is still what Ray is connected to."""
        with contextlib.suppress(Exception):  # another thread may be leaving just now
            return bool(ray.is_initialized()) and connection() == self.connection
        return False

    def check(self) -> None:
        """Raises DataflowError if Ray is connected to nothing, or something else. Asked before each call of Ray's: it would start, or join,
        a cluster of its own where there is none."""
        if not self.connected():
            raise left(self.head)

    def head_answers(self) -> bool:
        """Whether somebody is at the address of the cluster's head. Raises DataflowError if nobody has been for long, or we have left."""
        self.check()
        host, _, port = self.head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
        except OSError as error:
            self._silent = self._silent or time.monotonic()
            if (seconds := time.monotonic() - self._silent) > LOST:
                lost = head_lost(self.head, seconds)
                threading.Thread(target=ray.shutdown, daemon=True).start()  # or else Ray ends this process
                raise lost from error
            return False
        self._silent = 0.0
        return True

    def release(self) -> None:
        """One user less; the last shuts the door."""
        with _lock:
            self.users -= 1
            if self.users or self not in _links:
                return
            self._close()

    def _close(self) -> None:
        _links.remove(self)
        if not _links:
            connect(None)
        self.transport.close()
        threading.Thread(target=self.server.shutdown, daemon=True).start()  # it waits for calls that are being answered


_lock = threading.Lock()
_links: list[Link] = []


def linked() -> Link:
    """The link of what Ray is connected to now; its user releases it."""
    with _lock:
        for one in [one for one in _links if not one.connected()]:
            one._close()
        if not _links:
            _links.append(Link())
        _links[0].users += 1
        return _links[0]
