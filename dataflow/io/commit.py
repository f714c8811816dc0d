"""The commit: all outputs of a run become visible together, or none does.

Every target has a staging folder of the run. On this machine's disks it stands beside the target, so that one rename
(or one exchange, where the target holds old data) makes all the target's files visible in one step:

    data/                       <- the target; a reader sees the old files until the step, the new ones after it
    data.dataflow-<run>/        <- hidden name: .data.dataflow-<run>
        _OWNER                  who is writing: pid, when that process began, host
        attempts/               files as attempts left them
        ready/                  the winners under their final names, and an empty file _COMMITTED-<run>, which makes
                                the exchange known: whichever folder holds it is the new one
        _MANIFEST.json          what the new target holds; it ends beside the target, as .data.manifest.json, because
                                Polars refuses a folder with other files than data (empty ones it passes over)
        _COMMIT                 (first target only) the decision: a list of all targets. Its creation is the commit point.
        _PART                   (other targets) where the decision is to be found

The life of a commit, each step callable alone (a test stops between any two):

    1 `stage`    winners are moved to ready/ under final names, the manifest is written, all is forced to disk, names included;
                 a target to which nothing came gets a file without rows (`nothing`)
                 what must not be there (mode "error") is looked for once more, by one thread at a time until all is visible
    2 `decide`   the decision is created by rename and forced to disk: before it nothing counts, after it everything does
    3 `apply`    every target is brought to the new state and forced to disk; each step can be repeated (`applying`)
    4 `clean`    staging folders vanish, the one with the decision last

Step 2 stands before any target changes, so that a crash in step 3 is rolled forward, by whoever next reads or writes one
of the targets with the engine (`recovery`); a crash before it leaves garbage, which the same function removes when its
owner is dead. Object stores have no rename: there step 3 copies the files in and then writes the manifest, which is what
readers of ours go by; a foreign reader may see some of the files for the moment that takes.

A disk that loses power keeps of all that was not forced to it what it likes, in any order. `simulation` plays that, from seeds.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from typing import Any

from dataflow.errors import OutputError
from dataflow.io.applying import apply
from dataflow.io.conforming import conformed
from dataflow.io.files import FileSystem, join
from dataflow.io.nothing import empty_file, without_rows
from dataflow.io.recovery import began, claim, recover, runs_here
from dataflow.io.sink import FORMATS, FileSink
from dataflow.io.staging import MANIFEST, MARK, Staged, exists_already, holds, levels, parent_of, staging_of, write_small

__all__ = ["Commit", "Staged", "recover", "staging_of"]

_deciding = threading.Lock()  # of the threads of a process; others are kept out by `claim`


class Commit:
    """The commit of one run over all its targets."""

    def __init__(self, run: str, sinks: list[FileSink]) -> None:
        self.run = run
        self.decided = False
        self.staging: Staged | None = None  # the target at work, for the error that names its write
        self.targets: list[Staged] = []
        for sink in sinks:
            fs, target = sink.files()
            self.targets.append(Staged(sink, fs, target, staging_of(fs, target, run)))

    def begin(self) -> None:
        """Make the staging folders; whoever else is at work on a target is an error."""
        owner = json.dumps({"pid": os.getpid(), "host": os.uname().nodename, "began": began(os.getpid()), "run": self.run}).encode()
        runs_here.add(self.run)
        for one in self.targets:
            recover(one.fs, one.target, one.sink.options, writing=True)
            claim(one.fs, one.target, one.staging, owner)
        self._check_absent()

    def _check_absent(self) -> None:
        """What must not be there may have come since the run was planned: from a commit that `recover` finished, or from others."""
        for one in self.targets:
            if one.sink.mode == "error" and holds(one.fs, one.target):
                raise OutputError(exists_already(one.sink.path))

    def stage(self) -> None:
        """Step 1: the winners under final names, the manifest beside them, all on disk."""
        for one in self.targets:
            ready = join(one.staging, "ready")
            one.fs.make_dir(ready)
            entries = []
            unique = f"-{self.run[:12]}" if one.sink.mode == "append" or not one.fs.can_move_directories else ""
            self.staging = one
            one.files = conformed(one) or empty_file(one)
            for index, file in enumerate(one.files):
                name = f"part{unique}-{index:05d}{FORMATS[one.sink.format]}"
                if file.folder:
                    one.fs.make_dir(join(ready, file.folder))
                    name = f"{file.folder}/{name}"
                one.fs.move(file.path, join(ready, name))
                entries.append({"path": name, "rows": file.rows, "bytes": file.bytes, "crc32": file.crc})
            new: dict[str, Any] = {"version": 1, "run": self.run, "files": entries}
            if entries and one.sink.mode == "append" and (empty := without_rows(one.fs, one.target)):
                new["replaces"] = sorted(empty)
            write_small(one.fs, join(one.staging, MANIFEST), json.dumps(new, indent=1).encode())
            if one.fs.can_move_directories:
                one.fs.create(join(ready, MARK + self.run)).close()
            for folder in levels(ready, (file.folder for file in one.files)):
                one.fs.sync(folder)
            one.fs.sync(one.staging)  # before the decision: it must not be found without what it decides on
            if one.fs.can_move_directories:
                _sync_way_to(one.fs, os.path.abspath(one.staging))

    def decide(self) -> None:
        """Step 2: the commit point."""
        record = [{"staging": t.staging, "target": t.target, "mode": t.sink.mode, "scheme": t.scheme} for t in self.targets]
        first = self.targets[0]
        for other in self.targets[1:]:
            part = {"decision": join(first.staging, "_COMMIT"), "scheme": first.scheme}
            write_small(other.fs, join(other.staging, "_PART"), json.dumps(part).encode())
            other.fs.sync(other.staging)
        self.decided = True  # from here on nothing may be taken back, whatever is raised
        write_small(first.fs, join(first.staging, "_COMMIT"), json.dumps({"version": 1, "run": self.run, "targets": record}).encode())
        first.fs.sync(first.staging)

    def apply(self) -> None:
        """Step 3: every target to its new state."""
        for one in self.targets:
            apply(one.fs, one.staging, one.target, one.sink.mode, self.run)

    def clean(self) -> None:
        """Step 4: no trace but the data."""
        for one in reversed(self.targets):
            one.fs.remove(one.staging)
        runs_here.discard(self.run)

    def commit(self) -> None:
        """All the steps."""
        if not self.targets:
            return
        self.stage()
        with _deciding:
            self._check_absent()
            self._become_visible()

    def _become_visible(self) -> None:
        self.decide()
        for patience in (0.05, 0.2, None):  # decided: what fails now is tried again, not taken back
            try:
                self.apply()
                self.clean()
                return
            except (OSError, KeyboardInterrupt):
                if patience is None:
                    raise
                time.sleep(patience)

    def abort(self) -> None:
        """Leave nothing behind; the targets are as they were. Once the decision may exist, that is for `recover` to say."""
        runs_here.discard(self.run)
        if self.decided and self.targets and self.targets[0].fs.exists(join(self.targets[0].staging, "_COMMIT")):
            return
        for one in reversed(self.targets):
            with contextlib.suppress(OSError):
                one.fs.remove(one.staging)


def _sync_way_to(fs: FileSystem, path: str) -> None:
    """Force to disk the names of all folders on the way to a path: some may be as new as what they hold, whoever made them."""
    above = parent_of(path)
    fs.sync(above)
    while (further := parent_of(above)) != above:
        above = further
        with contextlib.suppress(PermissionError):  # a folder of others, whose name was there before
            fs.sync(above)
