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

    def attempt(self, task: str, number: int, name: str, program: list[Any], attempt: bytes) -> tuple[Any, ...]:
        """Run an attempt of the program of that name; ``program`` holds a reference to it, followed once."""
        if name not in self.serving.programs:
            import ray

            self.serving.programs[name] = ray.get(program[0])
        found = self.serving.run(task, number, name, attempt, self._here)
        if found[0] == "finished":
            self._stamp(found[3])
        return found

    def _here(self, attempt: Any) -> Any:
        return replace(attempt, spill=self.setup.folder)

    def _stamp(self, result: Any) -> None:
        """The files of a result are at this place."""
        from dataflow.shard.runfile import RunFile

        result.outputs = [replace(one, place=self.setup.place) if isinstance(one, RunFile) else one for one in result.outputs]

    def close(self) -> None:
        """Tear down what programs set up."""
        self.serving.close()
