"""What a driver holds of one machine, beside its agent, which takes nothing: given back while no run needs it, and taken again.

    needed     ─> `ask`: an actor that does nothing, for all of it ─> held: its GPUs are known, there is room for workers
                    └─ others hold some: less is asked for (`reduce`); what they give back later is another hold (`grow`)
    not needed, or `useless` ─> `give`: the actors end, and Ray gives what they held to other jobs

A machine has two of them: its cores, and what steps ask for besides. Of the latter only so much is asked for as fits the cores that are
held: so nobody keeps GPUs from others while it waits for a core.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dataflow.plan.steps import Resources

__all__ = ["Holding", "amounts", "not_held", "room", "usable"]

LITTLE = 1e-6
USELESS = (10.0, 30.0)  # seconds, drawn anew each time, until a part of what is wanted is given back
BACK = 10.0  # seconds for which it is left to others: longer than they take to ask for it


def amounts(asked: Resources | None) -> dict[str, float]:
    """Resources by Ray's names, without those that are zero.

    >>> amounts(None), amounts(Resources(cpus=0, gpus=0.5))
    ({'CPU': 1}, {'GPU': 0.5})
    """
    if asked is None:
        return {"CPU": 1}
    found = {"CPU": asked.cpus, "GPU": asked.gpus, "memory": asked.memory, **dict(asked.custom)}
    return {name: amount for name, amount in found.items() if amount}


def room(asked: Resources | None, left: Mapping[str, float]) -> int:
    """How many workers with these resources there is room for.

    >>> room(Resources(cpus=2), {"CPU": 5})
    2
    """
    return max(0, min(int(left.get(name, 0) / amount + 1e-9) for name, amount in amounts(asked).items()))


def usable(has: Mapping[str, float], asked: tuple[Resources, ...]) -> dict[str, float]:
    """What of a machine's resources a run can use: the cores, and of all else what as many steps as fit ask for. GPUs beyond the first are
    whole, as Ray gives no other.

    >>> usable({"CPU": 4, "GPU": 2, "memory": 100}, (Resources(gpus=1),))
    {'CPU': 4, 'GPU': 2}
    """
    found: dict[str, float] = {"CPU": int(has.get("CPU", 0))}
    for one in asked:
        slots = room(one, has)
        for name, amount in amounts(one).items():
            if slots and name != "CPU":
                found[name] = max(found.get(name, 0), amount * slots)
    return {name: math.floor(amount) if name == "GPU" and amount > 1 else amount for name, amount in found.items()}


def not_held() -> dict[str, dict[str, float]]:
    """What no job holds, by machine; nothing where Ray does not tell."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private.state import available_resources_per_node

        return {str(node): dict(left) for node, left in available_resources_per_node().items()}
    return {}


class _Hold:
    """An actor that holds some of a machine's resources, or is to. ``gpus``: a reference to which they are; ``end``: one to its end."""

    def __init__(self, node: str, has: dict[str, float]) -> None:
        self.has = has
        self.actor = _actor_class().options(
            num_cpus=has.get("CPU", 0), num_gpus=has.get("GPU", 0), max_restarts=0,
            resources={name: amount for name, amount in has.items() if name not in ("CPU", "GPU", "memory")},
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            **({"memory": has["memory"]} if "memory" in has else {}),
        ).remote()  # fmt: skip
        self.gpus, self.end = self.actor.gpus.remote(), self.actor.stay.remote()

    def kill(self) -> None:
        """Let others have it."""
        with contextlib.suppress(ValueError):  # the connection is another by now
            ray.kill(self.actor)


class Holding:
    """What is held of a part of a machine's resources, of which there is ``full``, by Ray's names. ``has``: how much of what; ``gpus``:
    which of them, and what share of each; ``coming``: what is asked for, and not there yet; ``when``: something was asked for last;
    ``began``: since when nothing of it was held, and asked for. ``runs``: those that have workers that use it; ``needed``: when one wanted
    to have some last; ``until``: it is kept although it is of no use; ``files``: the agent's answer, after all it was asked before, to how
    many it has, where no run needs this."""

    def __init__(self, node: str, full: dict[str, float]) -> None:
        self.node, self.full = node, full
        self.has: dict[str, float] = {}
        self.gpus: tuple[tuple[str, float], ...] = ()
        self.coming: _Hold | None = None
        self.when = self.began = self.needed = 0.0
        self.until = math.inf
        self.runs: set[str] = set()
        self.files: Any = None
        self._held: dict[_Hold, tuple[tuple[str, float], ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._held or self.coming)

    @property
    def whole(self) -> bool:
        """Whether there is nothing more to ask for."""
        return all(self.has.get(name, 0) >= amount - LITTLE for name, amount in self.full.items())

    def useless(self, now: float) -> bool:
        """Whether some of what is wanted has long been held without a worker, as no step can do with so little. True once a time."""
        if not self.has or self.runs or self.whole:
            self.until = math.inf
        elif self.until == math.inf:
            self.until = now + random.uniform(*USELESS)
        elif now > self.until:
            self.until, self.when = math.inf, now + BACK
            return True
        return False

    def ask(self, has: dict[str, float]) -> None:
        """Ask for something more."""
        self.when = time.monotonic()
        self.began = self.began if self else self.when
        self.coming = _Hold(self.node, has)

    def reduce(self, left: Mapping[str, float], asked: tuple[Resources, ...], whole: Mapping[str, float]) -> None:
        """Where others hold some of what is asked for, ask for what is ``left``. Where nothing is left, wait. ``whole``: the machine."""
        assert self.coming is not None
        more = self._more(left, asked, whole)
        less = {name: min(amount, more[name]) for name, amount in self.coming.has.items() if name in more}
        if less and less != self.coming.has:
            self.coming.kill()
            self.ask(less)

    def grow(self, left: Mapping[str, float], asked: tuple[Resources, ...], whole: Mapping[str, float]) -> None:
        """Ask for what is ``left`` of what is not held: others have given it back."""
        self.when = time.monotonic()
        if more := self._more(left, asked, whole):
            self.ask(more)

    def _more(self, left: Mapping[str, float], asked: tuple[Resources, ...], whole: Mapping[str, float]) -> dict[str, float]:
        """What of that which nobody holds could be used, beside what is held."""
        both = {**whole, **{name: min(amount, self.has.get(name, 0) + left.get(name, 0)) for name, amount in self.full.items()}}
        found = {name: amount - self.has.get(name, 0) for name, amount in usable(both, asked).items() if name in self.full}
        return {name: amount for name, amount in found.items() if amount > LITTLE}

    def meet(self) -> None:
        """See what has come, and what has ended by itself."""
        if self.coming is not None and ray.wait([self.coming.gpus], timeout=0)[0]:
            one, self.coming = self.coming, None
            try:
                found = ray.get(one.gpus)
            except ray.exceptions.RayError:  # its machine is gone, or somebody killed it: it is asked for again
                one.kill()
            else:
                gpus = found.split(",") if found and one.has.get("GPU") else []
                self._held[one] = tuple((gpu, min(1.0, one.has["GPU"] / len(gpus))) for gpu in gpus)
                self._add_up()
        if self._held and (ended := ray.wait([one.end for one in self._held], num_returns=len(self._held), timeout=0)[0]):
            for one in [one for one in self._held if one.end in ended]:
                one.kill()  # or it is only out of reach, and keeps what it has
                del self._held[one]
            self._add_up()

    def give(self) -> None:
        """Give all of it back."""
        for one in [*self._held, *([self.coming] if self.coming is not None else [])]:
            one.kill()
        self._held, self.coming, self.files = {}, None, None
        self._add_up()

    def _add_up(self) -> None:
        total: defaultdict[str, float] = defaultdict(float)
        for one in self._held:
            for name, amount in one.has.items():
                total[name] += amount
        self.has = dict(total)
        self.gpus = tuple(gpu for those in self._held.values() for gpu in those)


def _actor_class() -> Any:
    class Hold:
        def gpus(self) -> str:
            import os

            return os.environ.get("CUDA_VISIBLE_DEVICES", "")

        def stay(self) -> None:
            import threading

            threading.Event().wait()

    Hold.__module__ = "__main__"  # travels by value: nothing of ours need be where it arrives
    return ray.remote(Hold)
