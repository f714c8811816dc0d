"""Rows are changed, then four processes run their observer until nothing is left. Their start is not measured."""

import json
import subprocess
import sys
import tempfile
import time
from typing import Any

from dataflow.txn import Database, Transaction

WORKERS = 4


def opened(folder: str, engine: Any, synced: bool) -> Database:
    db = Database.open(f"lmdb:{folder}", engine=engine, sync=synced, durable=synced)

    @db.observer("text")
    def count_words(t: Transaction, row: str, text: str) -> None:
        t[row, "words"] = len(text.split())

    return db


def work(folder: str, engine: str, synced: bool) -> None:
    db = opened(folder, engine, synced)
    print("ready", flush=True)
    sys.stdin.readline()
    print(db.run_observers(), flush=True)
    db.close()


def main(size: int, engine: str, synced: bool) -> None:
    folder = tempfile.mkdtemp()
    db = opened(folder, engine, synced)

    def change(t: Transaction, number: int) -> None:
        t[f"row{number:09d}", "text"] = "to be or not to be " * 5

    db.each(change, range(size), group=1000)
    db.close()
    command = [sys.executable, __file__, "work", folder, engine, "synced" if synced else "unsynced"]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    begun = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        print("go", file=worker.stdin, flush=True)
    runs = [int(worker.stdout.readline()) for worker in workers if worker.stdout is not None]
    seconds = time.perf_counter() - begun
    for worker in workers:
        worker.communicate()
    rate = {"name": "committed runs", "rate": sum(runs) / seconds, "ratio": None, "rate_goal": 10_000 if engine == "embedded" else None}
    print(json.dumps({"seconds": seconds, "rates": [rate], "committed": sum(runs), "by_worker": sum(runs) / max(runs)}))


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2], sys.argv[3], sys.argv[4] == "synced")
    else:
        main(int(sys.argv[1]), sys.argv[3], "unsynced" not in sys.argv)
