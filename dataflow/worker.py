"""The worker process: ``python -m dataflow.worker <socket fd> <name of its mark and stack files>``.

A program of our own, fed over a socket: the user's script needs no ``__main__`` guard, functions of a script or notebook
travel by value, and a worker that dies is noticed at once, because its socket closes.

    driver ──("program", name, bytes)──> kept by name             ──("attempt", task, number, name, bytes, files)──> run
           ──("cells", lines by file)──> of a notebook, which errors show
           ──("files", name, bytes)────> those of a shuffle, for attempts that name them
           ──("return", task, number)──> an attempt that has not begun; ("returned", task, number, whether it had not) ──> driver
           ──("park",)──> torn down; ("parked", whether another run may have it) ──> driver; ("resume", name) ──> "ready" again
           ──("stop",)──> torn down, ended
    driver <──("ready",)  ("progress", rows, bytes, pulse)  ("finished", bytes)  ("failed", kind, bytes)────────── worker

`execution.serving` runs the attempts and marks their rows. A thread takes in what comes, so that an attempt that waits behind
another can be had back. Another sends progress four times a second; when the socket is gone, so is the driver, and the process ends.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import pickle
import queue
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from dataflow.execution.serving import Serving
from dataflow.parameters import give
from dataflow.shard.users_code import nothing_seen

__all__ = ["HEADER", "KEPT", "Channel", "main"]

HEADER = struct.Struct("<Q")
SMALL = 1 << 16  # bytes that are rather copied than sent in two parts
KEPT = 4  # lists of files, the last ones that were sent
BEAT = 0.25


class Channel:
    """Length-prefixed pickles over a socket, sent whole from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        """Send one message."""
        data = pickle.dumps(message, 5)
        header = HEADER.pack(len(data))
        with self._lock:
            if len(data) < SMALL:  # in one packet: a call more, and the other side awake twice, are half a millisecond
                self.sock.sendall(header + data)
            else:
                self.sock.sendall(header)
                self.sock.sendall(data)

    def receive(self) -> Any:
        """The next message; EOFError when the other side is gone."""
        (size,) = HEADER.unpack(self._exactly(HEADER.size))
        return pickle.loads(self._exactly(size))

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self.sock.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return data


def main(arguments: list[str]) -> None:
    """Serve attempts until the driver says stop, or is gone."""
    channel = Channel(socket.socket(fileno=int(arguments[0])))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    _die_with_parent()
    (setup,) = channel.receive()
    sys.path[:] = setup["path"]
    if os.path.isdir(setup["cwd"]):
        os.chdir(setup["cwd"])
    give(setup.get("params", {}))
    if "transport" in setup:
        _connect(*setup["transport"])
    server = _Server(channel, Serving(arguments[1]))
    threading.Thread(target=server.beat, daemon=True).start()
    threading.Thread(target=server.listen, daemon=True).start()
    channel.send("ready")
    try:
        server.serve()
    except (EOFError, OSError):
        pass
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # threads of the user's libraries must not keep a worker alive


class _Server:
    """Attempts for a driver behind a channel."""

    def __init__(self, channel: Channel, serving: Serving) -> None:
        self.channel, self.serving = channel, serving
        self.files: dict[str, Any] = {}
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.waiting: set[tuple[str, int]] = set()  # attempts that are here and have not begun
        self.lock = threading.Lock()

    def beat(self) -> None:
        """Tell the driver how far the current attempt is."""
        while True:
            time.sleep(BEAT)
            if (news := self.serving.beat()) is not None:
                try:
                    self.channel.send("progress", *news)
                except OSError:
                    os._exit(1)

    def listen(self) -> None:
        """Take in what the driver says; None when it is gone."""
        try:
            while True:
                message = self.channel.receive()
                if message[0] == "return":
                    self.channel.send("returned", *message[1:], self._claim(message[1], message[2]))
                    continue
                if message[0] == "attempt":
                    self.waiting.add((message[1], message[2]))
                self.inbox.put(message)
        except (EOFError, OSError):
            self.inbox.put(None)
        except BaseException:  # no memory for what came: what was given to this process is seen to be lost when it ends
            os._exit(1)

    def _claim(self, task: str, number: int) -> bool:
        """Whether an attempt has not begun, and from now on is whose who asks."""
        with self.lock:
            mine = (task, number) in self.waiting
            self.waiting.discard((task, number))
            return mine

    def serve(self) -> None:
        while (message := self.inbox.get()) is not None:
            match message[0]:
                case "program":
                    self.serving.programs[message[1]] = message[2]
                case "cells":
                    linecache.cache.update((file, (0, None, lines, file)) for file, lines in message[1].items())
                case "files":
                    self.files[message[1]] = pickle.loads(message[2])
                    if len(self.files) > KEPT:
                        del self.files[next(iter(self.files))]
                case "attempt":
                    task, number, name, data, index = message[1:]
                    if self._claim(task, number):
                        self.channel.send(*self.serving.run(task, number, name, data, self._adapt(index)))
                case "park":
                    if not nothing_seen():
                        self.channel.send("parked", False)  # before the user's functions are torn down, which may take them long
                        self.serving.close()
                        return
                    self.serving.close()
                    self.files.clear()
                    _give_back()
                    self.channel.send("parked", True)
                case "resume":
                    self.serving.name_files(message[1])
                    self.channel.send("ready")
                case _:
                    self.serving.close()
                    return

    def _adapt(self, index: str) -> Callable[[Any], Any]:
        """What is done with an attempt that names files."""
        if not index:
            return lambda attempt: attempt
        return lambda attempt: attempt.with_files(self.files[index])


def _connect(module: str, name: str, *arguments: str) -> None:
    """Reach the files of other machines, by a transport of the runner's."""
    from importlib import import_module

    from dataflow.shard.places import connect

    connect(getattr(import_module(module), name)(*arguments))


def _give_back() -> None:
    """Give memory that is free back to the system: nobody knows whether there is a next run."""
    from dataflow.execution.task import free_memory

    free_memory()
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)  # of the C library on Linux


def _die_with_parent() -> None:
    """Ask Linux to end this process when the driver ends, however it ends."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (OSError, AttributeError):  # elsewhere the heartbeat notices
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
