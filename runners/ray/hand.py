"""A hand: an actor with one core that runs attempts, one after another."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Hand", "Setup"]

BEAT = 0.25


@dataclass(frozen=True)
class Setup:
    """What a hand needs to know: whose it is, and where."""

    name: str  # of its mark and stack files
    folder: str
    place: str
    token: str
    cores: int


class Hand:
    """Runs attempts; what it writes lies in its machine's folder, and says so."""

    def __init__(self, setup: Setup) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # the other cores have hands of their own
        if "polars" not in sys.modules:
            os.environ["POLARS_MAX_THREADS"] = str(setup.cores)
        from dataflow.execution.serving import Serving
        from dataflow.shard.places import connect
        from runners.ray.files import FlightTransport

        self.setup = setup
        connect(FlightTransport(setup.place, setup.token))
        self.serving = Serving(setup.name)
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT)
            self.serving.beat()

    def hello(self) -> int:
        """The process, when it is ready."""
        return os.getpid()

    def attempt(self, run: str, task: str, number: int, phase: str, program: list[Any], attempt: bytes) -> tuple[Any, ...]:
        """Run an attempt of a phase's program; ``program`` holds a reference to it, followed once."""
        name, folder = f"{run}/{phase}", os.path.join(self.setup.folder, run)
        if name not in self.serving.programs:
            import ray

            self.serving.programs[name] = ray.get(program[0])
            os.makedirs(folder, exist_ok=True)
        found = self.serving.run(task, number, name, attempt, lambda given: replace(given, spill=folder))
        if found[0] == "finished":
            self._stamp(found[3])
        return found

    def _stamp(self, result: Any) -> None:
        """The files of a result are at this place."""
        from dataflow.shard.places import is_shared
        from dataflow.shard.runfile import RunFile

        result.outputs = [
            replace(one, place=self.setup.place) if isinstance(one, RunFile) and not is_shared(one.path) else one for one in result.outputs
        ]

    def forget(self, run: str) -> None:
        """Tear down what the programs of a run set up."""
        for name in [name for name in self.serving.programs if name.startswith(f"{run}/")]:
            self.serving.forget(name)
