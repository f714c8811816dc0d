"""A PostgreSQL server for a benchmark: in a folder of its own, with fsync on, stopped and removed at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["find_programs", "serving"]


def find_programs() -> Path | None:
    """The folder of PostgreSQL's programs, if there is one."""
    on_path = shutil.which("initdb")
    folders = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        *([Path(os.path.realpath(on_path)).parent] if on_path else []),
    ]
    able = [folder for folder in folders if all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres"))]
    return able[0] if able else None


@contextmanager
def serving() -> Iterator[str]:
    """A server's address."""
    programs, user = find_programs(), "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="dataflow-postgres-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)
    server: subprocess.Popen[bytes] | None = None
    try:
        options = ["-U", "dataflow", "--no-sync", "-E", "UTF8", "--locale=C", "--auth=trust"]
        made: list[str | Path] = [programs / "initdb", "-D", folder / "data", *options]
        subprocess.run(made, check=True, capture_output=True, user=user, cwd=folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = ("unix_socket_directories=", "listen_addresses=127.0.0.1", f"port={port}", "fsync=on", "synchronous_commit=on")
        command: list[str | Path] = [programs / "postgres", "-D", folder / "data"]
        for setting in settings:
            command += ["-c", setting]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder)
        deadline = time.monotonic() + 30
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the PostgreSQL server did not start")
            time.sleep(0.05)
        yield f"postgresql://dataflow@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://dataflow@127.0.0.1:{port}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
