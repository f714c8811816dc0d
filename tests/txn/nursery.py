"""A process that starts the processes of a test, by fork: it has loaded everything they need, and has no threads and no open store.

So a worker is there within a few milliseconds, and three hundred of them can be killed in a quarter of a minute. Asked by lines of JSON:

    ["start", spec]  ──> its number (pid)
    ["kill", pid]    ──> how it ended: -9, or what it ended with before

When who asks is gone, all of them are killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["Nursery"]

ROOT = Path(__file__).parents[2]


class Nursery:
    """The test's end of it. ``program``: the function of a module that a worker runs, ``module:function``, given its spec."""

    def __init__(self, program: str) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, __file__, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )

    def _ask(self, *what: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, spec: dict[str, Any]) -> int:
        return int(self._ask("start", spec))

    def kill(self, pid: int) -> int:
        return int(self._ask("kill", pid))

    def close(self) -> None:
        self._process.communicate(timeout=30)


def main(program: str) -> None:
    module, _, name = program.partition(":")
    function = getattr(__import__(module, fromlist=[name]), name)
    for optional in (
        "lmdb",
        "rocksdict",
        "psycopg",
        "dataflow.kv.lmdb",
        "dataflow.kv.rocksdb",
        "dataflow.kv.postgres",
        "dataflow.kv.sharded",
    ):
        try:
            __import__(optional)
        except ImportError:
            pass
    children: set[int] = set()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        what, about = json.loads(line)
        if what == "start":
            answer = os.fork()
            if answer == 0:
                code = 1
                try:
                    answers.close()
                    os.close(0)
                    function(about)
                    code = 0
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            children.add(answer)
        else:
            os.kill(about, signal.SIGKILL)  # also if it ended by itself: it is ours until it is waited for
            answer = os.waitstatus_to_exitcode(os.waitpid(about, 0)[1])
            children.discard(about)
        answers.write(f"{answer}\n")
        answers.flush()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1])
