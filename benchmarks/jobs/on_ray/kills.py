"""A shuffle on three machines, of which one is killed in the middle, or a worker every two seconds: ``kills.py tasks target how``."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks.jobs.on_ray.machines import kill_machine, machines
from dataflow import DoFn, Pipeline

WORK = 12_000_000  # turns of a loop for a task: about a second
EVERY = 2.0
KEYS = 400


class Working(DoFn[int, tuple[int, int]]):
    """Work of a task, whose process is noted."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def process(self, n: int) -> Iterator[tuple[int, int]]:
        open(f"{self.folder}/{os.getpid()}", "w").close()
        found = n
        for _ in range(WORK):
            found = found * 1_103_515_245 + 12_345 & 0x7FFFFFFF
        for key in range(KEYS):
            yield key, found + key & 0xFFFF


def main(tasks: str, target: str, how: str) -> None:
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder, machines(3) as cluster:
        options: dict[str, Any] = {"progress": False, "runner": "ray", "address": cluster.address, "mode": "cluster", "memory": "256MiB"}
        begun_reducing = Path(folder, "reducing")
        processes = Path(folder, "processes")
        processes.mkdir()

        def total(key: int, values: Any) -> int:
            open(begun_reducing, "a").close()
            found = 0
            for _ in range(WORK * int(tasks) // KEYS // 2):  # together half of what the maps do
                found = found * 1_103_515_245 + 12_345 & 0x7FFFFFFF
            return sum(values) + found * 0

        def disturb() -> None:
            if how == "machine":
                while not begun_reducing.exists() and not over.wait(0.02):
                    pass
                kill_machine(cluster, sorted(cluster.worker_nodes, key=lambda node: node.node_id)[0])
            while how == "workers" and not over.wait(EVERY):
                living = [int(name) for name in os.listdir(processes) if os.path.exists(f"/proc/{name}")]
                if living:
                    os.kill(living[0], signal.SIGKILL)

        Pipeline().create(range(12)).redistribute(12).map(str).collect(**options)
        begun = time.perf_counter()
        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        p = Pipeline()
        pairs = p.create(range(int(tasks))).redistribute(int(tasks)).parallel_do(Working(str(processes))).as_table()
        pairs.group_by_key(partitions=max(3, int(tasks) // 2)).map_groups(total).write_jsonl(target)
        result = p.run(**options)
        seconds = time.perf_counter() - begun
        over.set()
        disturbing.join()
        print(json.dumps({"seconds": seconds, "retries": result.retries}))


if __name__ == "__main__":
    main(*sys.argv[1:])
