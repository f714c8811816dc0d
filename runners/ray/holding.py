"""What a driver holds on a machine: actors that do nothing take the resources, so that they can be given back while the agent stays.

    agent        takes no resource; serves the machine's files for as long as a run may read them
    "cores"      the cores                                                      ┐ an actor each, that only is there
    "special"    what steps ask for besides: GPUs, memory, named resources      ┘

    the run has no use for a part (`pool.REST` seconds) ─> `give`: its actor ends, and other jobs may have it
    an attempt waits that needs it                      ─> `take`: an actor like it, as soon as nobody else holds what it takes

So a pool goes to zero between stages, and a machine that only serves its files costs others nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dataflow.plan.steps import Resources

__all__ = ["CORES", "SPECIAL", "Holding", "amounts", "not_held", "parts_of", "room", "usable"]

CORES, SPECIAL = "cores", "special"


def amounts(asked: Resources | None) -> dict[str, float]:
    """Resources by Ray's names, without those that are zero.

    >>> amounts(None), amounts(Resources(cpus=0, gpus=0.5))
    ({'CPU': 1}, {'GPU': 0.5})
    """
    if asked is None:
        return {"CPU": 1}
    found = {"CPU": asked.cpus, "GPU": asked.gpus, "memory": asked.memory, **dict(asked.custom)}
    return {name: amount for name, amount in found.items() if amount}


def parts_of(asked: Resources | None) -> tuple[str, ...]:
    """The parts that a worker of a step needs."""
    return (CORES, SPECIAL) if amounts(asked).keys() - {"CPU"} else (CORES,)


def room(asked: Resources | None, left: Mapping[str, float]) -> int:
    """How many workers with these resources there is room for."""
    return max(0, min(int(left.get(name, 0) / amount + 1e-9) for name, amount in amounts(asked).items()))


def usable(has: Mapping[str, float], asked: tuple[Resources, ...]) -> dict[str, float]:
    """What of a machine's resources a run can use: the cores, and of all else what as many steps as fit ask for.

    >>> usable({"CPU": 4, "GPU": 2, "memory": 100}, (Resources(gpus=1),))
    {'CPU': 4, 'GPU': 2}
    """
    found: dict[str, float] = {"CPU": int(has.get("CPU", 0))}
    for one in asked:
        slots = room(one, has)
        for name, amount in amounts(one).items():
            if slots and name != "CPU":
                found[name] = max(found.get(name, 0), amount * slots)
    return found


def not_held() -> dict[str, dict[str, float]]:
    """What no job holds, by machine; nothing where Ray does not tell."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private.state import available_resources_per_node

        return {str(node): dict(left) for node, left in available_resources_per_node().items()}
    return {}


class Holding:
    """What is held on a node: ``has``, by Ray's names, of which parts may be given back for a while.

    ``answers``: of each part that is held, or asked for, what its actor answers when it has it.
    """

    def __init__(self, node: str, has: dict[str, float]) -> None:
        self.node, self.has = node, has
        self.answers: dict[str, Any] = {}
        self._held: set[str] = set()
        self._since: dict[str, float] = {}
        self._actors: dict[str, Any] = {}
        for part in self.parts():
            self.take(part)

    def parts(self) -> Iterator[str]:
        """The parts there are."""
        yield CORES
        if self.has.keys() - {"CPU"}:
            yield SPECIAL

    def _names(self, part: str) -> list[str]:
        return [name for name in self.has if (name == "CPU") == (part == CORES)]

    def take_less(self, part: str, left: Mapping[str, float]) -> None:
        """Where some of a part is left, though not all of it, ask for that."""
        less = {name: min(self.has[name], left.get(name, 0)) for name in self._names(part)}
        if all(less.values()) and less != {name: self.has[name] for name in less}:
            self.give(part)
            self.has.update(less)
            self.take(part)

    def take(self, part: str) -> Any:
        """Ask for a part, if that was not done; the reference to its answer."""
        if part not in self.answers:
            self._actors[part] = _actor_class().options(
                **_options({name: self.has[name] for name in self._names(part)}),
                scheduling_strategy=NodeAffinitySchedulingStrategy(self.node, soft=False),
            ).remote()  # fmt: skip
            self.answers[part] = self._actors[part].gpus.remote()
            self._since[part] = time.monotonic()
        return self.answers[part]

    def give(self, part: str) -> None:
        """Let others have a part."""
        self.answers.pop(part, None)
        self._held.discard(part)
        if (actor := self._actors.pop(part, None)) is not None:
            with contextlib.suppress(ValueError):  # the connection is another by now
                ray.kill(actor)

    def holds(self, part: str) -> bool:
        """Whether a part is held now."""
        if part not in self._held and part in self.answers and ray.wait([self.answers[part]], timeout=0)[0]:
            self._held.add(part)
        return part in self._held

    def waits(self, part: str) -> float:
        """Since when it is waited for a part; 0 if it is not."""
        return self._since[part] if part in self.answers and not self.holds(part) else 0.0

    def gpus(self) -> str:
        """The GPUs that are held, as CUDA_VISIBLE_DEVICES says it; with all parts held. Raises Ray's errors where that has failed."""
        return str(ray.get([self.answers[part] for part in self.parts()])[-1])

    def end(self) -> None:
        """Give all of it back."""
        for part in list(self._actors):
            self.give(part)


def _options(amounts: Mapping[str, float]) -> dict[str, Any]:
    """Resources as an actor asks for them."""
    options: dict[str, Any] = {"num_cpus": amounts.get("CPU", 0), "num_gpus": amounts.get("GPU", 0), "max_restarts": 0}
    if "memory" in amounts:
        options["memory"] = amounts["memory"]
    return {**options, "resources": {name: amount for name, amount in amounts.items() if name not in ("CPU", "GPU", "memory")}}


def _actor_class() -> Any:
    class Hold:
        def gpus(self) -> str:
            import os

            return os.environ.get("CUDA_VISIBLE_DEVICES", "")

    Hold.__module__ = "__main__"  # travels by value: nothing of ours need be where it arrives
    return ray.remote(Hold)
