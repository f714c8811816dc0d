"""Runs one process and measures it: wall time, when it printed its result, and memory and CPU time of its whole tree."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Measured", "adopt_orphans", "measure"]

EVERY = 0.05
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36
MOST = int(0.9 * PAGE * os.sysconf("SC_PHYS_PAGES"))  # beyond it the kernel ends some process, perhaps this one


@dataclass
class Measured:
    """One run: seconds until exit and until the result was printed, peak bytes and CPU seconds of all its processes."""

    total: float = 0.0
    printed_at: float = 0.0
    peak: int = 0
    cpu: float = 0.0
    printed: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def adopt_orphans() -> None:
    """Make daemons that leave their parent children of this process, so that they stay in sight (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(command: Sequence[str], env: Mapping[str, str], folder: Path, timeout: float) -> Measured:
    """Run a command in a folder. Its result is the last line of its output that is a JSON object."""
    measured = Measured()
    log = folder / "stderr.txt"
    with log.open("wb") as stderr:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(env), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(b"{"):
                    measured.printed_at = time.perf_counter() - begun
                    measured.printed = json.loads(line)

        def wait() -> None:
            process.wait()
            measured.total = time.perf_counter() - begun

        listener = threading.Thread(target=listen, daemon=True)
        waiter = threading.Thread(target=wait, daemon=True)
        listener.start()
        waiter.start()
        cpu: dict[int, float] = {}
        while waiter.is_alive():
            _sample(measured, cpu)
            waiter.join(EVERY)
            if time.perf_counter() - begun > timeout:
                measured.error = f"stopped after {timeout:.0f} s"
                break
            if measured.peak > MOST:
                measured.error = f"stopped at {measured.peak / 1e6:,.0f} MB, nine tenths of this machine's memory"
                break
        _end_descendants()
        waiter.join(10)
        listener.join(2)
    measured.cpu = sum(cpu.values())
    if not measured.error and process.returncode != 0:
        measured.error = f"exit {process.returncode}: {_last_line(log)}"
    if not measured.error and not measured.printed:
        measured.error = f"printed no result: {_last_line(log)}"
    return measured


def _sample(measured: Measured, cpu: dict[int, float]) -> None:
    """Add up the tree now. A process's CPU time is as of its last sample, so the last moments are not in it."""
    resident = 0
    for pid, (rss, seconds) in _descendants().items():
        resident += rss
        cpu[pid] = seconds
    measured.peak = max(measured.peak, resident)


def _descendants() -> dict[int, tuple[int, float]]:
    """All processes below this one: resident bytes and CPU seconds by process id."""
    parents: dict[int, int] = {}
    facts: dict[int, tuple[int, float]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                after_name = stat.read().rpartition(")")[2].split()
                parents[int(name)] = int(after_name[1])
                facts[int(name)] = int(after_name[21]) * PAGE, (int(after_name[11]) + int(after_name[12])) / TICK
    me = os.getpid()
    return {pid: facts[pid] for pid in facts if pid != me and _is_below(pid, me, parents)}


def _is_below(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def _end_descendants() -> None:
    """End what a contender left running: first kindly, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.perf_counter() + 5
        for pid in _descendants():
            with suppress(OSError):
                os.kill(pid, number)
        while _descendants() and time.perf_counter() < deadline:
            _reap()
            time.sleep(0.02)


def _reap() -> None:
    """Collect adopted children that have ended; the contender itself is collected by its waiter."""
    with suppress(OSError):
        for pid in _descendants():
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:160] if lines else "no message"
