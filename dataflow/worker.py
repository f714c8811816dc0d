"""The worker process: ``python -m dataflow.worker <socket fd> <mark file> <stack file>``.

A program of our own, fed over a socket: the user's script needs no ``__main__`` guard, functions of a script or notebook
travel by value, and a worker that dies is noticed at once, because its socket closes.

    driver ──("program", name, bytes)──> kept by name             ──("attempt", task, number, name, bytes)──> run
    driver <──("ready",)  ("progress", rows, bytes, pulse)  ("finished", bytes)  ("failed", kind, bytes)────────── worker

The worker writes the rows it is about to process into the mark file, which outlives it: that is how a record that
kills its process is found (MapReduce, section 3.6). A thread sends progress four times a second; when the socket is
gone, so is the driver, and the thread ends the process.
"""

from __future__ import annotations

import faulthandler
import gc
import mmap
import os
import pickle
import signal
import socket
import struct
import sys
import threading
from typing import Any

__all__ = ["Channel", "MARK", "main"]

MARK = struct.Struct("<qq")
HEADER = struct.Struct("<Q")
BEAT = 0.25


class Channel:
    """Length-prefixed pickles over a socket, sent whole from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        """Send one message."""
        data = pickle.dumps(message, 5)
        with self._lock:
            self.sock.sendall(HEADER.pack(len(data)))
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
    stacks = open(arguments[2], "w")
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
    with open(arguments[1], "r+b") as file:
        mark = mmap.mmap(file.fileno(), MARK.size)
    (setup,) = channel.receive()
    sys.path[:] = setup["path"]
    os.chdir(setup["cwd"])
    server = _Server(channel, mark)
    threading.Thread(target=server.beat, daemon=True).start()
    # millions of short-lived tuples make the collector run thousands of times and find nothing: a sixth of the time of a
    # grouping of ten million pairs; what really is a cycle is collected between tasks (`free_memory`)
    gc.set_threshold(100_000, 50, 1000)
    channel.send("ready")
    try:
        server.serve()
    except EOFError:
        pass
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # threads of the user's libraries must not keep a worker alive


class _Server:
    def __init__(self, channel: Channel, mark: mmap.mmap) -> None:
        self.channel, self.mark = channel, mark
        self.programs: dict[str, bytes] = {}
        self.loaded: dict[str, Any] = {}
        self.context: Any = None
        self.stopping = threading.Event()

    def beat(self) -> None:
        """Tell the driver how far the current attempt is."""
        while not self.stopping.wait(BEAT):
            context = self.context
            if context is None:
                continue
            try:
                self.channel.send("progress", context.task, context.attempt, context.rows_read, context.bytes_read, context.pulse())
            except OSError:
                os._exit(1)

    def serve(self) -> None:
        while True:
            message = self.channel.receive()
            match message[0]:
                case "program":
                    self.programs[message[1]] = message[2]
                case "forget":
                    self._forget(message[1])
                case "attempt":
                    self._attempt(*message[1:])
                case _:
                    for name in list(self.loaded):
                        self._forget(name)
                    return

    def _forget(self, name: str) -> None:
        from dataflow.execution.bundles import tear_down

        self.programs.pop(name, None)
        program = self.loaded.pop(name, None)
        if program is not None:
            tear_down(program)

    def _attempt(self, task: str, number: int, name: str, data: bytes) -> None:
        from dataflow.execution.failing import failure_of
        from dataflow.execution.task import free_memory, run_task

        stage = "load"
        try:
            if name not in self.loaded:
                from dataflow.execution.bundles import set_up

                program = pickle.loads(self.programs[name])
                stage = "run"
                set_up(program)
                self.loaded[name] = program
            stage = "run"
            attempt = pickle.loads(data)
            MARK.pack_into(self.mark, 0, -1, -1)
            result = run_task(self.loaded[name], attempt, self._mark, self._watch)
            self.context = None
            MARK.pack_into(self.mark, 0, -1, -1)
            self.channel.send("finished", task, number, result)
        except BaseException as error:
            rows = MARK.unpack_from(self.mark, 0)
            MARK.pack_into(self.mark, 0, -1, -1)
            self.context = None
            kind, portable = failure_of(error, stage)
            self.channel.send("failed", task, number, kind, portable, rows if rows[0] >= 0 else None)
        free_memory()

    def _mark(self, first: int, last: int) -> None:
        MARK.pack_into(self.mark, 0, first, last)

    def _watch(self, context: Any) -> None:
        self.context = context


def _die_with_parent() -> None:
    """Ask Linux to end this process when the driver ends, however it ends."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (OSError, AttributeError):  # elsewhere the heartbeat notices
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
