"""The cluster, as this process knows it: connected once, hidden behind the first work, and kept a while for the runs that follow.

cluster_for ─> join ─> an agent on every machine, which holds what the steps of the run may use there; the pool divides it among them
                          └─ `look`: machines that come, machines that leave, cores that others gave back

Runs with other settings (another ``runtime_env``, another folder) have agents of their own. The cores go from those whose runs are over
to those that wait.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dataflow.errors import DataflowError, Report
from dataflow.plan.steps import Resources
from runners.ray.bootstrap import VERSIONS, actor_class, bootstrap_with, packages
from runners.ray.environment import Environment
from runners.ray.failures import in_our_words
from runners.ray.joining import join, last_line
from runners.ray.link import linked
from runners.ray.settings import RaySettings

__all__ = ["Cluster", "Machine", "cluster_for", "give_back", "node_of"]

START = 10.0  # seconds that the first run waits for an agent; where none comes, the run itself says what it lacks
TOGETHER = 1.0  # seconds that it waits for the others when one is there
PENDING = 3.0  # seconds after which an agent that has not come is looked after: other jobs may hold some of its cores
LOOK = 1.0
GROW = 5.0
REFUSALS = 3
SETTLED = 60.0  # seconds after which the end of an agent is no sign that its machine cannot have one


@dataclass(eq=False)
class Machine:
    """A machine: its agent, which ``has`` some of its resources, by Ray's names. ``place``: of its files; ``path``, ``cwd``: where its
    workers find modules and files; ``log``: what they print goes there. ``until``: when it goes, if that is known; how many runs have
    ``left`` it. ``name``: the node's, or another where the node has an agent already: for what others held when that came."""

    node: str
    has: dict[str, float]
    agent: Any
    address: str = ""
    place: str = ""
    folder: str = ""
    path: tuple[str, ...] = ()
    cwd: str = ""
    log: str = ""
    since: float = field(default_factory=time.monotonic)
    until: float = 0.0
    left: int = 0
    name: str = ""

    @property
    def stays(self) -> bool:
        """Whether the cluster has not said that it goes."""
        return not self.until

    @property
    def slots(self) -> int:
        """How many workers there are at most."""
        return int(self.has["CPU"])

    def room(self, asked: Resources | None, taken: Mapping[Resources | None, int]) -> int:
        """For how many workers more there is room beside some."""
        left = dict(self.has)
        for kind, count in taken.items():
            for name, amount in _amounts(kind).items():
                left[name] = left.get(name, 0) - amount * count
        return _room(asked, left)

    def call(self, method: str, *arguments: Any) -> Any:
        """A reference to what the agent answers."""
        return self.agent.call.remote(method, *arguments)


def cluster_for(settings: RaySettings, asked: tuple[Resources, ...]) -> Cluster:
    """The cluster of these settings, with agents for steps that ask for resources: one this process has, where there is such a one."""
    with _lock:
        _forget([one for one in _known if not one.connected()])
        found = next((one for one in _known if one.settings == settings and set(asked) <= set(one.asked)), None)
        if found is None:
            _forget([one for one in _known if not one.users])  # their cores are wanted
            found = Cluster(settings, asked)
            _known.append(found)
        found.users += 1
    try:
        found.begin()
    except BaseException:
        with _lock:
            found.users -= 1
            _forget([found] if found in _known and not found.users else [])
        raise
    return found


def _forget(those: list[Cluster]) -> None:
    for one in those:
        _known.remove(one)
        one.close()


def give_back() -> None:
    """Keep no cores for runs that may follow, now and from now on: this process has other use for them, such as Ray Data."""
    Cluster.idle = 0.0
    with _lock:
        _forget([one for one in _known if not one.users])


def node_of(place: str) -> str | None:
    """Ray's name of the machine of a place, None where it is not known; "" is this process's own."""
    known = [one.node for cluster in _known for one in cluster.machines.values() if one.place == place]
    return known[0] if known else None if place else str(ray.get_runtime_context().get_node_id())


class Cluster:
    """A connection, shared by the runs of this process. ``idle``: seconds that the agents keep their cores for a run that may follow."""

    idle = 10.0

    def __init__(self, settings: RaySettings, asked: tuple[Resources, ...]) -> None:
        self.settings, self.asked = settings, asked
        self.machines: dict[str, Machine] = {}  # by name
        self.coming: dict[str, tuple[Machine, Any]] = {}
        self.refusals: dict[str, int] = {}
        self.totals: list[dict[str, float]] = []  # of all machines, whoever holds it now
        self.users = 0
        self._looked = self._released = self._grown = 0.0
        self._looking = threading.RLock()
        self._begun = False
        _join(settings)
        self.link = link = linked()
        self.node, self.address, self.token, self.server, self.transport = link.node, link.address, link.token, link.server, link.transport
        atexit.register(self.close)

    def begin(self) -> None:
        """Ask for the agents, and wait for the first."""
        with self._looking:
            if not self._begun:
                self.environment = Environment(self.settings.runtime_env)
                digest, packed = packages()
                self._packages = ray.put(packed)
                self.given = {
                    "versions": VERSIONS, "path": _path(), "environment": self.environment.path,
                    "cwd": "" if self.environment.cwd else os.getcwd(), **bootstrap_with(digest),
                }  # fmt: skip
                self.look(START)
                self._begun = True

    @property
    def here(self) -> str:
        """The place of this process's own files."""
        return self.server.place

    def setup(self, one: Machine) -> dict[str, Any]:
        """Where a worker of a machine finds modules and files: as its agent does, and as this process does now."""
        path = [*one.path, *(path for path in _path() if path not in one.path)]
        return {"path": path, "cwd": one.cwd if self.environment.cwd else os.getcwd()}

    def connected(self) -> bool:
        """Whether this is still what Ray is connected to."""
        return self.link.connected()

    def waits(self) -> bool:
        """Whether other runs of this process, with other settings, hold cores."""
        return any(one is not self and one.users and one.machines for one in list(_known))

    def share(self, folders: list[str]) -> None:
        """Files of this process, below these folders, may be read by the others."""
        self.server.folders += map(os.path.realpath, folders)

    def release(self, run: str) -> None:
        """A run is over. If no other begins soon, the cores are given back."""
        for one in list(self.machines.values()):
            one.call("clear", run)
        with _lock:
            self.users -= 1
            self._released = time.monotonic()
            if not self.users and self in _known and any(one.coming for one in _known if one is not self):
                _forget([self])
                return
        timer = threading.Timer(self.idle, self._leave)
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        with _lock:
            if self not in _known or self.users or time.monotonic() - self._released < self.idle - 0.5:
                return
            _forget([self])

    def close(self) -> None:
        """This process needs the cluster no more."""
        atexit.unregister(self.close)
        machines, self.machines = list(self.machines.values()), {}
        coming, self.coming = list(self.coming.values()), {}
        if self.connected():
            if machines:
                ray.wait([one.call("close") for one in machines], num_returns=len(machines), timeout=1.0)
            for one in [*machines, *(one for one, _ in coming)]:
                ray.kill(one.agent)
        self.link.release()

    # -- machines

    def look(self, wait: float = 0.0) -> None:
        """Notice machines that come and go. ``wait``: seconds for the first of those that are coming."""
        now = time.monotonic()
        if not wait and now - self._looked < LOOK:
            return
        if not self.link.head_answers():
            return  # Ray would wait for it, and end this process after a minute
        with self._looking:
            self._looked = now
            going = _draining()
            alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
            free = [node for node in alive if self.refusals.get(node, 0) < REFUSALS and node not in going]
            self.totals = [alive[node]["Resources"] for node in free]
            for node in free:
                has = _usable(alive[node]["Resources"], self.asked)
                if has["CPU"] and node not in self.machines and node not in self.coming:
                    self._invite(node, alive[node]["NodeManagerAddress"], has)
            if now - self._grown > GROW:
                self._grown = now
                self._grow({node: alive[node] for node in free})
            self._look_after({node: found for node, found in alive.items() if node not in going})
            self._meet(wait)
            for one in list(self.machines.values()):
                if one.node in going and one.stays:
                    one.until = now + going[one.node]
                if one.node not in alive:
                    self.drop(one)

    def left(self, one: Machine) -> None:
        """A run has nothing more on a machine that goes; with the last, its agent goes."""
        one.left += 1
        if one.left >= self.users and self.machines.get(one.name) is one:
            del self.machines[one.name]
            threading.Thread(target=_close, args=(one,), daemon=True).start()

    def could_hold(self, asked: Resources | None) -> bool:
        """Whether some machine has what a step asks for, though others may hold it now."""
        return any(_room(asked, total) for total in self.totals)

    def _invite(self, node: str, address: str, has: dict[str, float]) -> None:
        """Ask for an agent."""
        name = node if node not in self.machines else next(f"{node}/{n}" for n in itertools.count(2) if f"{node}/{n}" not in self.machines)
        one = Machine(node, has, self._agent(node, address, has), address=address, name=name)
        self.coming[name] = (one, one.call("place"))

    def _grow(self, free: dict[str, Any]) -> None:
        """Where others held some of a machine's cores when its agent came, and have given them back, have another agent for these."""
        held = Counter({one.node: 0 for one in self.machines.values()})
        for one in self.machines.values():
            held[one.node] += one.slots
        short = [node for node in held if node in free and held[node] < int(free[node]["Resources"]["CPU"])]
        short = [node for node in short if all(one.node != node for one, _ in self.coming.values())]
        left = _free() if short else {}
        for node in short:
            has = _usable(left.get(node, {}), self.asked)
            if has["CPU"]:
                self._invite(node, free[node]["NodeManagerAddress"], has)

    def _look_after(self, alive: dict[str, Any]) -> None:
        """Where others hold some of what an agent is to have, have one with what is left."""
        free: dict[str, dict[str, float]] | None = None
        for key, (one, _) in list(self.coming.items()):
            if one.node in alive and time.monotonic() - one.since < PENDING:
                continue
            free = _free() if free is None else free
            left = _usable(free.get(one.node, {}), self.asked)  # none: it has its cores and is starting, or others have them all
            fewer = left["CPU"] > 0 and any(left.get(name, 0) < amount for name, amount in one.has.items())
            if one.node not in alive or fewer:
                del self.coming[key]
                ray.kill(one.agent)
            if one.node in alive and fewer:
                self._invite(one.node, alive[one.node]["NodeManagerAddress"], left)

    def _meet(self, wait: float) -> None:
        """Take in the agents that are there."""
        limit = time.monotonic() + wait
        while self.coming:
            references = [place for _, place in self.coming.values()]
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
            for key, (one, place) in list(self.coming.items()):
                if place in ready:
                    del self.coming[key]
                    self._welcome(one, place)
                    limit = min(limit, time.monotonic() + TOGETHER)
            if time.monotonic() >= limit:
                return
            time.sleep(0.02)

    def _welcome(self, one: Machine, place: Any) -> None:
        try:
            one.place, one.folder, one.path, one.cwd, one.log = ray.get(place)
        except ray.exceptions.RayActorError as error:
            if getattr(error, "_actor_init_failed", False) or "creation task" in str(error):
                reason = last_line(str(error))
                raise DataflowError(Report(f"a machine of the cluster cannot run this: {reason}", hint=_INSTALL)) from error
            self.refusals[one.node] = self.refusals.get(one.node, 0) + 1  # gone again
            return
        except ray.exceptions.RayError as error:
            raise in_our_words(error, one.address) from error
        self.machines[one.name] = one
        if one.node == self.node:
            self.transport.here += (one.place,)

    def drop(self, one: Machine) -> None:
        """A machine that no longer answers is as good as gone, even while Ray still counts on it."""
        with self._looking:
            if self.machines.get(one.name) is one:
                del self.machines[one.name]
                settled = time.monotonic() - one.since > SETTLED
                self.refusals[one.node] = 1 if settled else self.refusals.get(one.node, 0) + 1
                _end(one.agent)  # it may be there after all, and would keep its cores

    def _agent(self, node: str, address: str, has: dict[str, float]) -> Any:
        options: dict[str, Any] = {"num_cpus": has["CPU"], "num_gpus": has.get("GPU", 0), "max_restarts": 0, "max_task_retries": 0}
        if "memory" in has:
            options["memory"] = has["memory"]
        if (environment := self.environment.brought()) is not None:
            options["runtime_env"] = environment
        options["resources"] = {name: amount for name, amount in has.items() if name not in ("CPU", "GPU", "memory")}
        made = actor_class().options(**options, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        return made.remote([self._packages], self.given, (self.token, address, self.settings.spill_folder, int(has["CPU"])))


_join = join
_lock = threading.Lock()
_known: list[Cluster] = []
_INSTALL = "install the same versions on all machines, or give the runner runtime_env={'pip': [...]}"


def _usable(has: dict[str, float], asked: tuple[Resources, ...]) -> dict[str, float]:
    """What of a machine's resources a run can use: the cores, and of all else what as many steps as fit ask for.

    >>> _usable({"CPU": 4, "GPU": 2, "memory": 100}, (Resources(gpus=1),))
    {'CPU': 4, 'GPU': 2}
    """
    found: dict[str, float] = {"CPU": int(has.get("CPU", 0))}
    for one in asked:
        slots = _room(one, has)
        for name, amount in _amounts(one).items():
            if amount and slots and name != "CPU":
                found[name] = max(found.get(name, 0), amount * slots)
    return found


def _amounts(asked: Resources | None) -> dict[str, float]:
    """Resources by Ray's names."""
    if asked is None:
        return {"CPU": 1}
    return {"CPU": asked.cpus, "GPU": asked.gpus, "memory": asked.memory, **dict(asked.custom)}


def _room(asked: Resources | None, left: dict[str, float]) -> int:
    """How many workers with these resources there is room for."""
    return max(0, min(int(left.get(name, 0) / amount + 1e-9) for name, amount in _amounts(asked).items() if amount))


def _close(one: Machine) -> None:
    """Have an agent remove its folder, and end it."""
    ray.wait([one.call("close")], timeout=1.0)
    _end(one.agent)


def _end(agent: Any) -> None:
    with contextlib.suppress(ValueError):
        ray.kill(agent)


def _draining() -> dict[str, float]:
    """The machines that Ray takes away, and in how many seconds, a day if it does not say; nothing where Ray does not tell."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private.state import state

        now = time.time()
        return {node: max(0.1, when / 1000 - now) if when else 86400.0 for node, when in state.get_draining_nodes().items()}
    return {}


def _free() -> dict[str, dict[str, float]]:
    """What no job holds, by machine; nothing where Ray does not tell."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private.state import available_resources_per_node

        return {str(node): dict(left) for node, left in available_resources_per_node().items()}
    return {}


def _path() -> list[str]:
    """Where this process looks for modules."""
    return [path or os.getcwd() for path in sys.path]
