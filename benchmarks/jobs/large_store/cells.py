"""Loads the cells in one process; opens the store in another, which reads at random from files that are in no cache at first."""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time

from dataflow.txn import Database
from dataflow.txn.prewrite import Intent
from dataflow.txn.transaction import cell_key
from dataflow.txn.values import encode

TOGETHER = 10_000
READS = 20_000


def row(number: int) -> str:
    return f"row{number:012d}"


def load(folder: str, size: int) -> None:
    """Cells in an order that is not theirs, with values that do not compress to nothing."""
    db = Database.open(folder, sync=False)
    draw = random.Random(1)
    step = 7_368_787  # a prime: it visits all numbers of a size that it does not divide
    for at in range(0, size, TOGETHER):
        many = min(TOGETHER, size - at)
        text = draw.randbytes(many * 100)
        cells = {cell_key(row((at + place) * step % size), "text"): encode(text[100 * place : 100 * place + 100]) for place in range(many)}
        (outcome,) = db.engine.commit_many([Intent(-1, cells)])
        assert isinstance(outcome, int), outcome
    db.close()


def forget_files(folder: str) -> None:
    """Have the operating system drop what it keeps of the files, so that the next read is from the disk."""
    for entry in os.scandir(folder):
        with open(entry.path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20


def use(folder: str, size: int) -> None:
    before = resident()
    begun = time.perf_counter()
    db = Database.open(folder, sync=False)
    with db.snapshot() as s:
        assert len(s[row(0), "text"]) == 100
    opened = time.perf_counter() - begun
    after = resident()
    draw = random.Random(2)
    rates = []
    for _ in range(2):
        begun = time.perf_counter()
        with db.snapshot() as s:
            for _ in range(READS):
                assert len(s[row(draw.randrange(size)), "text"]) == 100
        rates.append(READS / (time.perf_counter() - begun))
    found = db.stats()
    db.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({"open": opened, "taken": after - before, "peak": peak, "rates": rates, "disk": found["bytes"] >> 20}))


def main(size: int) -> None:
    folder = tempfile.mkdtemp()
    run = [sys.executable, __file__]
    begun = time.perf_counter()
    subprocess.run([*run, "load", folder, str(size)], check=True)
    loaded = time.perf_counter() - begun
    forget_files(folder)
    done = subprocess.run([*run, "use", folder, str(size)], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    names = ("reads at random, files in no cache", "reads at random, then")
    rates = [{"name": "cells loaded", "rate": size / loaded, "ratio": None}]
    rates += [{"name": name, "rate": rate, "ratio": None} for name, rate in zip(names, found["rates"], strict=True)]
    more = {
        "open_ms": round(1000 * found["open"], 1),
        "open_takes_mb": found["taken"],
        "reading_mb": found["peak"],
        "disk_mb": found["disk"],
    }
    print(json.dumps({"seconds": loaded, "cells": size, "rates": rates, **more}))


if __name__ == "__main__":
    if sys.argv[1] in ("load", "use"):
        (load if sys.argv[1] == "load" else use)(sys.argv[2], int(sys.argv[3]))
    else:
        main(int(sys.argv[1]))
