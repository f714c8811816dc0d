"""Many mappers and as many reducers of tiny data, or many tiny tasks: the memory of driver and head: ``wide.py tasks target how``."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks.jobs.on_ray.machines import machines, memory_of
from dataflow import Pipeline

KEYS = 5  # for every reducer; each has four values


def main(tasks: str, target: str, how: str) -> None:
    count, over = int(tasks), threading.Event()
    most = {"driver": 0, "head": 0}
    with machines(2) as cluster:
        options: dict[str, Any] = {"progress": False, "runner": "ray", "address": cluster.address, "mode": "cluster", "memory": "256MiB"}
        heads = [one[0].process.pid for name, one in cluster.head_node.all_processes.items() if name in ("gcs_server", "raylet")]

        def watch() -> None:
            while not over.wait(0.2):
                most["driver"] = max(most["driver"], memory_of(os.getpid()))
                most["head"] = max(most["head"], sum(map(memory_of, heads)))

        Pipeline().create(range(4)).redistribute(4).map(str).collect(**options)
        files = len(os.listdir("/proc/self/fd"))
        threading.Thread(target=watch, daemon=True).start()
        begun = time.perf_counter()
        if how == "shuffle":
            pairs = Pipeline().create(range(4 * KEYS * count)).redistribute(count).key_by(lambda n: n % (KEYS * count))
            found = sum(
                total for _, total in pairs.group_by_key(partitions=count).map_groups(lambda key, values: sum(values)).collect(**options)
            )
            right = sum(range(4 * KEYS * count))
        else:
            found = sum(Pipeline().create(range(count)).redistribute(count).map(lambda n: n + 1).collect(**options))
            right = sum(range(1, count + 1))
        seconds = time.perf_counter() - begun
        over.set()
        leaked = len(os.listdir("/proc/self/fd")) - files
        print(
            json.dumps(
                {
                    "seconds": seconds,
                    "account": "right" if found == right and leaked < 20 else f"{found}, not {right}; {leaked} files more are open",
                    **{f"{who} MB": round(size / 1e6) for who, size in most.items()},
                }
            )
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
