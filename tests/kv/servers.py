"""Real servers for the tests of stores: started on this machine, on ports of their own, and stopped; nothing of them is left.

    PostgresServer    initdb into a folder of its own, fsync on; it may be killed with -9 and started again
    BigtableEmulator  Google's, in memory

Where a program is missing, what needs it is skipped, and says why.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

__all__ = ["BigtableEmulator", "PostgresServer", "find_bigtable", "find_postgres"]

_UNPRIVILEGED = ("postgres", "nobody")  # PostgreSQL refuses to run as root


def find_postgres() -> Path:
    """The folder of PostgreSQL's programs, the newest there is; skips the test if there is none."""
    on_path = shutil.which("initdb")
    candidates = [
        *sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda name: float(name.split("/")[-2])),
        *([os.path.dirname(os.path.realpath(on_path))] if on_path else []),
    ]
    for candidate in reversed(candidates):
        if all(os.access(os.path.join(candidate, program), os.X_OK) for program in ("initdb", "postgres")):
            return Path(candidate)
    pytest.skip("needs a PostgreSQL server: no initdb on PATH or in /usr/lib/postgresql/*/bin")


def find_bigtable() -> str:
    """The emulator of Bigtable; skips the test if there is none."""
    for candidate in (shutil.which("cbtemulator"), "/usr/lib/google-cloud-sdk/platform/bigtable-emulator/cbtemulator"):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    pytest.skip("needs the emulator of Bigtable: no cbtemulator on PATH or in the Google Cloud SDK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _place() -> str | None:
    """Where a server's files are: in memory if there is room, as other tests' writing to the disk makes it wait for minutes.

    What a server told the "disk" there survives its death as on a real one; only a machine that dies would show a difference.
    """
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free > 2 << 30:
            return "/dev/shm"
    return None


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class _Mourner:
    """Ends what a server left behind, also when the tests are killed: it waits for the end of a pipe that their process holds."""

    def __init__(self, script: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", f"cat > /dev/null; {script}", "mourner", *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def now(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class PostgresServer:
    """A PostgreSQL server on loopback. ``password``: asked of those who connect; None: anybody may."""

    def __init__(self, *settings: str, password: str | None = None) -> None:
        self._programs = find_postgres()
        self._folder = Path(tempfile.mkdtemp(prefix="dataflow-postgres-", dir=_place()))
        self._mourner = _Mourner(
            'p=$(head -1 "$1/data/postmaster.pid") && grep -q "$1" /proc/$p/cmdline && kill -9 $p; sleep 0.2; rm -rf "$1"', self._folder
        )
        self._settings, self._password = settings, password
        self._process: subprocess.Popen[bytes] | None = None
        self._user = self._unprivileged()
        self._log = open(self._folder / "log", "ab")
        secret = self._folder / "secret"
        secret.write_text(password or "")
        if self._user:
            for owned in (self._folder, secret):
                shutil.chown(owned, self._user)
        asked = ["--auth=scram-sha-256", f"--pwfile={secret}"] if password else ["--auth=trust"]
        self._run("initdb", "-D", self._folder / "data", "-U", "dataflow", "--no-sync", "-E", "UTF8", "--locale=C", *asked)
        self.port = _free_port()
        self.start()

    @property
    def address(self) -> str:
        secret = f":{self._password}" if self._password else ""
        return f"postgresql://dataflow{secret}@127.0.0.1:{self.port}/postgres"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def _unprivileged(self) -> str | None:
        if os.geteuid() != 0:
            return None
        import pwd

        known = {entry.pw_name for entry in pwd.getpwall()}
        for user in _UNPRIVILEGED:
            if user in known:
                return user
        pytest.skip(f"PostgreSQL refuses to run as root, and none of the users {_UNPRIVILEGED} exists")

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run([self._programs / program, *map(str, arguments)], capture_output=True, user=self._user, cwd=self._folder)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')[-2000:]}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = ("unix_socket_directories=", "listen_addresses=127.0.0.1", f"port={self.port}", "fsync=on", *self._settings)
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        for setting in settings:
            command += ["-c", setting]
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, user=self._user, cwd=self._folder, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while "ready to accept connections" not in self._since_start() or not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self.log[-2000:]}")
            time.sleep(0.02)

    def _since_start(self) -> str:
        """What it logged since it was started last."""
        return self.log.rpartition("starting PostgreSQL")[2]

    def kill(self) -> None:
        """As if the machine lost power, but for what the operating system keeps: all its processes end at once, unasked."""
        assert self._process is not None
        processes = [self._process.pid, *_children(self._process.pid)]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + 10
        while any(map(_runs, processes)) and time.monotonic() < deadline:  # what is not gone yet keeps the next one from starting
            time.sleep(0.01)

    def pause(self, paused: bool) -> None:
        """Stop all its processes where they are, or let them go on."""
        assert self._process is not None
        for process in (self._process.pid, *_children(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP if paused else signal.SIGCONT)

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # "fast": sessions are ended
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._mourner.now()


def _runs(process: int) -> bool:
    """Whether a process has not ended; one that nobody has asked what became of it has."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


class BigtableEmulator:
    """Google's emulator of Bigtable on loopback."""

    def __init__(self) -> None:
        program = find_bigtable()
        self.port = _free_port()
        self._process = subprocess.Popen(
            [program, "-host", "127.0.0.1", "-port", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._mourner = _Mourner("grep -q cbtemulator /proc/$1/cmdline && kill -9 $1", self._process.pid)
        deadline = time.monotonic() + 30
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the emulator of Bigtable did not start")
            time.sleep(0.02)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self.kill()
        self._mourner.now()
