"""The cluster, as this process knows it: connected once, hidden behind the first work, and kept a while for the runs that follow.

cluster_for ─> join ─> an agent on every machine, which holds what the steps of the run may use there; the pool divides it among them
                          └─ `look`: machines that come, machines that leave
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.metadata
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dataflow.errors import DataflowError, Report
from dataflow.plan.steps import Resources
from dataflow.shard.places import connect
from runners.ray.files import FileServer
from runners.ray.joining import join, last_line
from runners.ray.settings import RaySettings
from runners.ray.transport import FlightTransport

__all__ = ["Cluster", "Machine", "cluster_for", "give_back", "node_of"]

START = 10.0  # seconds that the first run waits for an agent; where none comes, the run itself says what it lacks
TOGETHER = 1.0  # seconds that it waits for the others when one is there
PENDING = 3.0  # seconds after which an agent that has not come is looked after: other jobs may hold some of its cores
LOOK = 1.0
REFUSALS = 3
SETTLED = 60.0  # seconds after which the end of an agent is no sign that its machine cannot have one


@dataclass(eq=False)
class Machine:
    """A machine: its agent, which ``has`` some of its resources, by Ray's names. ``place``: of its files."""

    node: str
    has: dict[str, float]
    agent: Any
    place: str = ""
    folder: str = ""
    since: float = field(default_factory=time.monotonic)

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
    """The cluster of these settings, with agents for steps that ask for resources: the one this process has, where it is that."""
    with _lock:
        known = _known[0] if _known else None
        if known is None or known.settings != settings or not set(asked) <= set(known.asked) or not known.connected():
            if known is not None:
                known.close()
            _known[:] = [Cluster(settings, asked)]
        _known[0].users += 1
        return _known[0]


def give_back() -> None:
    """Keep no cores for runs that may follow, now and from now on: this process has other use for them, such as Ray Data."""
    Cluster.idle = 0.0
    with _lock:
        for one in [one for one in _known if not one.users]:
            _known.remove(one)
            one.close()


def node_of(place: str) -> str | None:
    """Ray's name of the machine of a place, None where it is not known; "" is this process's own."""
    known = [one.node for cluster in _known for one in cluster.machines.values() if one.place == place]
    return known[0] if known else None if place else str(ray.get_runtime_context().get_node_id())


class Cluster:
    """A connection, shared by the runs of this process. ``idle``: seconds that the agents keep their cores for a run that may follow."""

    idle = 10.0

    def __init__(self, settings: RaySettings, asked: tuple[Resources, ...]) -> None:
        self.settings, self.asked = settings, asked
        self.token = secrets.token_hex(16)
        self.machines: dict[str, Machine] = {}  # by Ray's name of the node
        self.coming: dict[str, tuple[Machine, Any]] = {}
        self.refusals: dict[str, int] = {}
        self.totals: list[dict[str, float]] = []  # of all machines, whoever holds it now
        self.users = 0
        self._looked = self._released = 0.0
        self._looking = threading.RLock()
        _join(settings)
        context = ray.get_runtime_context()
        self.job, self.node = context.get_job_id(), context.get_node_id()
        self.address = ray.util.get_node_ip_address()
        self.setup = {"path": [p or os.getcwd() for p in sys.path], "cwd": os.getcwd()}
        self._imports = ray.put(self.setup)
        self.server = FileServer(self.address, self.token, [])
        threading.Thread(target=self.server.serve, name="files", daemon=True).start()
        self.transport = FlightTransport((self.server.place,), self.token)
        connect(self.transport)
        atexit.register(self.close)
        self.look(START)

    @property
    def here(self) -> str:
        """The place of this process's own files."""
        return self.server.place

    def connected(self) -> bool:
        """Whether this is still what Ray is connected to."""
        return bool(ray.is_initialized()) and ray.get_runtime_context().get_job_id() == self.job

    def share(self, folders: list[str]) -> None:
        """Files of this process, below these folders, may be read by the others."""
        self.server.folders += map(os.path.realpath, folders)

    def release(self, run: str) -> None:
        """A run is over. If no other begins soon, the cores are given back."""
        with _lock:
            self.users -= 1
        for one in self.machines.values():
            one.call("clear", run)
        self._released = time.monotonic()
        timer = threading.Timer(self.idle, self._leave)
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        with _lock:
            if self not in _known or self.users or time.monotonic() - self._released < self.idle - 0.5:
                return
            _known.remove(self)
            self.close()

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
        connect(None)
        self.transport.close()
        threading.Thread(target=self.server.shutdown, daemon=True).start()  # it waits for calls that are being answered

    # -- machines

    def look(self, wait: float = 0.0) -> None:
        """Notice machines that come and go. ``wait``: seconds for the first of those that are coming."""
        now = time.monotonic()
        if not wait and now - self._looked < LOOK:
            return
        with self._looking:
            self._looked = now
            alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
            self.totals = [found["Resources"] for found in alive.values()]
            for node, found in alive.items():
                has = _usable(found["Resources"], self.asked)
                known = node in self.machines or node in self.coming
                if has["CPU"] and not known and self.refusals.get(node, 0) < REFUSALS:
                    self._invite(node, found["NodeManagerAddress"], has)
            self._look_after(alive)
            self._meet(wait)
            for one in [one for one in self.machines.values() if one.node not in alive]:
                self.drop(one)

    def could_hold(self, asked: Resources | None) -> bool:
        """Whether some machine has what a step asks for, though others may hold it now."""
        return any(_room(asked, total) for total in self.totals)

    def _invite(self, node: str, address: str, has: dict[str, float]) -> None:
        """Ask for an agent."""
        one = Machine(node, has, self._agent(node, address, has))
        self.coming[node] = (one, one.call("place"))

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
            one.place, one.folder = ray.get(place)
        except ray.exceptions.RayActorError as error:
            if getattr(error, "_actor_init_failed", False) or "creation task" in str(error):
                reason = last_line(str(error))
                raise DataflowError(Report(f"a machine of the cluster cannot run this: {reason}", hint=_INSTALL)) from error
            self.refusals[one.node] = self.refusals.get(one.node, 0) + 1  # gone again
            return
        self.machines[one.node] = one
        if one.node == self.node:
            self.transport.here += (one.place,)

    def drop(self, one: Machine) -> None:
        """A machine that no longer answers is as good as gone, even while Ray still counts on it."""
        with self._looking:
            if self.machines.get(one.node) is one:
                del self.machines[one.node]
                settled = time.monotonic() - one.since > SETTLED
                self.refusals[one.node] = 1 if settled else self.refusals.get(one.node, 0) + 1
                with contextlib.suppress(ValueError):  # it may be there after all, and would keep its cores
                    ray.kill(one.agent)

    def _agent(self, node: str, address: str, has: dict[str, float]) -> Any:
        options: dict[str, Any] = {"num_cpus": has["CPU"], "num_gpus": has.get("GPU", 0), "max_restarts": 0, "max_task_retries": 0}
        if "memory" in has:
            options["memory"] = has["memory"]
        options["resources"] = {name: amount for name, amount in has.items() if name not in ("CPU", "GPU", "memory")}
        made = _actor().options(**options, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        return made.remote([self._imports], _VERSIONS, (self.token, address, self.settings.spill_folder, int(has["CPU"])))


_join = join
_lock = threading.Lock()
_known: list[Cluster] = []
_INSTALL = "install the same versions on all machines, or give the runner runtime_env={'pip': [...]}"
_VERSIONS = {
    "python": "{}.{}".format(*sys.version_info),
    **{name: importlib.metadata.version(name) for name in ("pyarrow", "polars", "cloudpickle")},
}


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


def _free() -> dict[str, dict[str, float]]:
    """What no job holds, by machine; nothing where Ray does not tell."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private.state import available_resources_per_node

        return {str(node): dict(left) for node, left in available_resources_per_node().items()}
    return {}


def _actor() -> Any:
    """The agent's class for Ray. It travels by value, as our packages may not be importable where it arrives before it has set the path."""

    class Agent:
        def __init__(self, imports: list[Any], versions: dict[str, Any], arguments: tuple[Any, ...]) -> None:
            import importlib.metadata
            import os
            import sys

            import ray

            given = ray.get(imports[0])
            sys.path.extend(p for p in given["path"] if p not in sys.path)
            if os.path.isdir(given["cwd"]):
                os.chdir(given["cwd"])
            own = {name: importlib.metadata.version(name) for name in versions if name != "python"}
            own["python"] = "{}.{}".format(*sys.version_info)
            if own != versions:
                differ = ", ".join(f"{name} {versions[name]} here and {own[name]} there" for name in own if own[name] != versions[name])
                raise RuntimeError(f"versions differ: {differ}")
            from runners.ray.agent import Agent as Made

            self.made = Made(*arguments)

        def call(self, method: str, *arguments: Any) -> Any:
            return getattr(self.made, method)(*arguments)

    Agent.__module__ = "__main__"
    return ray.remote(Agent)
