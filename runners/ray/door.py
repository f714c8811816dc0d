"""Where the workers of a cluster come in: each is at the far end of a connection that its agent has made, and introduced.

agent ─ connect ─> {"token": of the run, "number": of the worker} ─> `Door` ─> `enter(number, connection)`; anyone else is sent away

Where the cluster speaks TLS, all of it, the introduction too, is within TLS (`relay.secured`).
"""

from __future__ import annotations

import hmac
import json
import socket
import threading
import time
from collections.abc import Callable

from dataflow.errors import DataflowError
from runners.ray.relay import secured

__all__ = ["Door", "knock"]

PATIENCE = 10.0
PAUSE = 0.1
LONGEST = 1000  # bytes of an introduction


class Door:
    """Listens at an address of this machine. ``enter`` is called in other threads."""

    def __init__(self, host: str, token: str, enter: Callable[[int, socket.socket], None]) -> None:
        self.token, self.enter = token, enter
        self._closed = False
        self._listening = socket.create_server((host, 0), backlog=1024)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        threading.Thread(target=self._listen, name="door", daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                if self._closed:
                    return
                time.sleep(PAUSE)  # no file handle is free, say: who knocks waits
                continue
            threading.Thread(target=self._ask, args=(connection,), daemon=True).start()  # who says nothing keeps nobody waiting

    def _ask(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection = secured(connection)
            connection.settimeout(PATIENCE)
            size = int.from_bytes(_exactly(connection, 4), "big")
            said = json.loads(_exactly(connection, min(size, LONGEST)))
            number = int(said["number"])
            if not hmac.compare_digest(str(said["token"]), self.token):
                raise ValueError("not of this run")
        except (OSError, ValueError, KeyError, TypeError, DataflowError):
            connection.close()
            return
        connection.settimeout(None)
        self.enter(number, connection)

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True
        self._listening.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        self._listening.close()


def knock(address: tuple[str, int], token: str, number: int) -> socket.socket:
    """A connection to a door, for a worker."""
    connection = socket.create_connection(address, timeout=PATIENCE)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = secured(connection, address[0])
    said = json.dumps({"token": token, "number": number}).encode()
    connection.sendall(len(said).to_bytes(4, "big") + said)
    return connection


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("the connection ended")
        data += more
    return data
