"""Faults 31 and 58 from seeds: the commit on a disk that loses power and keeps any part of what was not forced to it.

After every power failure, and after power failures in the recovery from it: all targets of a run hold what they held before or all
hold what the run wrote; a commit that was decided is never lost; nothing is left beside the data.
"""

from __future__ import annotations

import json
import os
import random
import zlib
from collections import Counter
from dataclasses import dataclass, field

import pytest

from dataflow.io.commit import Commit
from dataflow.io.recovery import recover, runs_here
from dataflow.io.simulation import PowerLoss, SimulatedDisk
from dataflow.io.sink import FileSink, WrittenFile

SEEDS = 40_000 if os.environ.get("DATAFLOW_TEST_SIZE") == "large" else 2_000
BLOCKS = 8
PLACES = ("/a/out", "/a/more", "/b/c/out")


@dataclass
class Story:
    """Several runs over some targets of one disk, one after the other, from a seed."""

    seed: int
    disk: SimulatedDisk = field(default_factory=SimulatedDisk)
    holds: dict[str, list[str]] = field(default_factory=dict)
    seen: Counter = field(default_factory=Counter)

    def __post_init__(self):
        self.draw = random.Random(self.seed)
        self.targets = self.draw.sample(PLACES, self.draw.randint(1, 3))

    def tell(self):
        if self.draw.random() < 0.5:
            for target in self.targets:
                self.disk.make_dir(target.rpartition("/")[0])
            self.lasting("/")
        for number in range(self.draw.randint(1, 3)):
            self.one_run(number)

    def lasting(self, path):
        self.disk.sync(path)
        for name in self.disk.names(path):
            if not self.disk.info(f"{path.rstrip('/')}/{name}").size:
                self.lasting(f"{path.rstrip('/')}/{name}")

    def one_run(self, number):
        draw, disk = self.draw, self.disk
        mode = draw.choice(("overwrite", "append", "error" if not any(map(disk.find, self.targets)) else "overwrite"))
        lines = {target: [f"{target} {number} {i}" for i in range(draw.randint(0, 4))] for target in self.targets}
        before = {target: self.holds.get(target, []) for target in self.targets}
        after = {target: sorted([*(before[target] if mode == "append" else []), *lines[target]]) for target in self.targets}
        disk.crash_after(draw.randint(0, 150) if draw.random() < 0.9 else None)
        run, decided = f"{self.seed:x}f{number}", False
        try:
            commit = self.staged(run, mode, lines)
            commit.stage()
            commit.decide()
            decided = True
            commit.apply()
            commit.clean()
            disk.crash_after(0)
            disk.sync("/")
        except PowerLoss:
            pass
        runs_here.discard(run)
        self.fails()
        if mode != "append":  # even for those who know nothing of the engine
            assert all(self.visible(target) in (before[target], after[target]) for target in self.targets), f"seed {self.seed}: torn"
        self.recovered()
        now = {target: self.visible(target) for target in self.targets}
        known = f"seed {self.seed}, {mode}, decided: {decided}: {before} -> {now} not {after}"
        assert now == after or (now == before and not decided), known
        self.clean()
        self.holds = now
        self.seen.update([f"{mode} {'after' if decided else 'before'} the decision: {'new' if now == after else 'old'}"])

    def staged(self, run, mode, lines):
        """What the tasks of a run leave: files of their own, forced to disk."""
        commit = Commit(run, [FileSink(target, "text", mode) for target in self.targets])
        for one in commit.targets:
            one.fs = self.disk
        commit.begin()
        for one in commit.targets:
            for number, line in enumerate(lines[one.target]):
                path = f"{one.staging}/attempts/task-{number}.txt"
                data = f"{line}\n".encode()
                with self.disk.create(path) as out:
                    out.write(data)
                self.disk.sync(path)
                folder = f"k={number % 2}" if self.seed % 3 == 0 else ""
                one.files.append(WrittenFile(path, folder, 1, len(data), zlib.crc32(data), None))
        return commit

    def recovered(self):
        """As a new process does that wants to read; power may fail again meanwhile."""
        for _ in range(self.draw.randint(0, 2)):
            self.disk.crash_after(self.draw.randint(0, 40))
            try:
                for target in self.draw.sample(self.targets, len(self.targets)):
                    recover(self.disk, target)
            except PowerLoss:
                self.seen["power failed in a recovery"] += 1
            self.fails()
        for target in self.draw.sample(self.targets, len(self.targets)):
            recover(self.disk, target)

    def fails(self):
        """The process dies, and mostly the machine with it."""
        self.disk.crash_after(None)
        if self.draw.random() < 0.75:
            self.disk.power_loss(self.draw)

    def visible(self, target):
        return sorted(line for info in self.disk.find(target) for line in self.disk.open(info.path).read().decode().splitlines())

    def clean(self):
        for target in self.targets:
            folder, _, name = target.rpartition("/")
            manifest = f".{name}.manifest.json"
            left = [n for n in self.disk.names(folder) if n.startswith(f".{name}.") and n != manifest]
            assert left == [], f"seed {self.seed}: left {left}"
            if self.disk.exists(f"{folder}/{manifest}"):
                listed = json.loads(self.disk.open(f"{folder}/{manifest}").read())["files"]
                found = {info.path.removeprefix(f"{target}/"): self.disk.open(info.path).read() for info in self.disk.find(target)}
                assert {e["path"]: (e["bytes"], e["crc32"]) for e in listed} == {
                    path: (len(data), zlib.crc32(data)) for path, data in found.items()
                }, f"seed {self.seed}: the manifest of {target} is of other files"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_fault_31_power_loss_at_any_change_leaves_old_or_new_and_loses_no_decided_commit(block):
    seen = Counter()
    for seed in range(block, SEEDS, BLOCKS):
        story = Story(seed)
        story.tell()
        seen.update(story.seen)
    for mode in ("overwrite", "append", "error"):  # the seeds went everywhere
        assert seen[f"{mode} before the decision: old"] and seen[f"{mode} after the decision: new"], seen
    assert seen["power failed in a recovery"] and sum(seen[key] for key in seen if key.endswith("before the decision: new")), seen
