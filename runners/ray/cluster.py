"""The cluster, as this process knows it: connected once, hidden behind the first work, and kept a while for the runs that follow.

cluster_for ─> join ─> an agent on every machine, and what the steps of the run may use there is held; the pool divides it among them
                          └─ `look`: machines that come, machines that leave, what is taken and given back (`taking.py`)

Runs with other settings (another ``runtime_env``, another folder) have agents of their own. The cores go from those whose runs are over
to those that wait.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dataflow.errors import DataflowError, Report
from dataflow.parameters import given
from dataflow.plan.steps import Resources
from runners.ray.bootstrap import VERSIONS, actor_class, bootstrap_with, packages
from runners.ray.environment import Environment
from runners.ray.failures import in_our_words, raylet_lost
from runners.ray.holding import Holding, room, usable
from runners.ray.joining import join, joined_here, last_line
from runners.ray.link import linked
from runners.ray.machine import Machine
from runners.ray.settings import RaySettings
from runners.ray.taking import LOOK, START, Taking

__all__ = ["Cluster", "cluster_for", "give_back", "node_of"]

TOGETHER = 1.0  # seconds that it waits for the others when one is there
REFUSALS = 3
GUEST = 1.0  # seconds for which cores are kept where the user has connected this process, who may have other use for them
SETTLED = 60.0  # seconds after which the end of an agent is no sign that its machine cannot have one


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
    known = [one.node for cluster in list(_known) for one in list(cluster.machines.values()) if one.place == place]
    return known[0] if known else None if place else str(ray.get_runtime_context().get_node_id())


class Cluster:
    """A connection, shared by the runs of this process. ``idle``: for how many seconds at most all is kept for a run that may follow;
    ``rest``: after how many without use a run gives back what is held on a machine. To take it again, with its workers, takes one or two.
    """

    idle, rest = 5.0, 5.0

    def __init__(self, settings: RaySettings, asked: tuple[Resources, ...]) -> None:
        self.settings, self.asked = settings, asked
        self.machines: dict[str, Machine] = {}  # by node
        self.coming: dict[str, tuple[Machine, Any]] = {}
        self.away: dict[str, Machine] = {}  # had nothing of a run, and nothing to do
        self.refusals: dict[str, int] = {}
        self.totals: list[dict[str, float]] = []  # of all machines, whoever holds it now
        self.users = 0
        self.taking = Taking(self)
        self._places: set[str] = set()  # of all agents there were
        self.looked = self._released = 0.0
        self.lock = threading.RLock()
        self._begun = False
        self._packages: Any = None  # in Ray's store, as long as an agent may want them: Ray ends a process that cannot get its object back
        _join(settings)
        self.link = link = linked()
        self.node, self.address, self.token, self.server, self.transport = link.node, link.address, link.token, link.server, link.transport
        atexit.register(self.close)

    def begin(self) -> None:
        """Ask for the agents, and wait for the first."""
        with self.lock:
            if not self._begun:
                self.environment = Environment(self.settings.runtime_env)
                digest, self._packed = packages()
                self.given = {
                    "versions": VERSIONS, "path": _path(), "environment": self.environment.path,
                    "cwd": "" if self.environment.cwd else os.getcwd(), **bootstrap_with(digest),
                }  # fmt: skip
                self.look(START)
                self._begun = True
            for one in self.machines.values():
                one.cores.needed = time.monotonic()
            self.away.clear()

    @property
    def here(self) -> str:
        """The place of this process's own files."""
        return self.server.place

    def setup(self, one: Machine) -> dict[str, Any]:
        """Where a worker of a machine finds modules and files: as its agent does, and as this process does now."""
        path = [*one.path, *(path for path in _path() if path not in one.path)]
        return {"path": path, "cwd": one.cwd if self.environment.cwd else os.getcwd(), "params": given}

    def connected(self) -> bool:
        """Whether this is still what Ray is connected to."""
        return self.link.connected()

    def waits(self) -> bool:
        """Whether other runs of this process, with other settings, hold cores, or are before us in asking for them."""
        return any(one is not self and one.users and any(machine.cores for machine in list(one.machines.values())) for one in list(_known))

    def asks(self) -> bool:
        """Whether it waits for something."""
        return bool(self.coming) or any(one.cores.coming or one.other.coming for one in list(self.machines.values()))

    def share(self, folders: list[str]) -> None:
        """Files of this process, below these folders, may be read by the others."""
        self.server.folders += map(os.path.realpath, folders)

    def release(self, run: str) -> None:
        """A run is over. If no other begins soon, the cores are given back."""
        connected = self.connected()
        for one in list(self.machines.values()):
            if connected:
                one.call("clear", run)
            self.taking.leave(one.cores, run)
            self.taking.leave(one.other, run)
        with _lock:
            self.users -= 1
            self._released = time.monotonic()
            if not self.users and self in _known and any(one.asks() for one in _known if one is not self):
                _forget([self])
                return
        timer = threading.Timer(self.patience, self._leave)
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        with _lock:
            if self not in _known or self.users or time.monotonic() - self._released < self.patience - 0.5:
                return
            _forget([self])

    @property
    def patience(self) -> float:
        """For how many seconds all is kept between runs: less where the user has connected this process, and does other things on it."""
        return self.idle if joined_here() else min(self.idle, GUEST)

    def close(self) -> None:
        """This process needs the cluster no more."""
        atexit.unregister(self.close)
        machines, self.machines = list(self.machines.values()), {}
        coming, self.coming = list(self.coming.values()), {}
        if self.connected():
            if machines:
                ray.wait([one.call("close") for one in machines], num_returns=len(machines), timeout=1.0)
            for one in [*machines, *(one for one, _ in coming)]:
                one.end()
        self.link.release()

    # -- machines

    def look(self, wait: float = 0.0) -> None:
        """Notice machines that come and go. ``wait``: seconds for the first of those that are coming."""
        now = time.monotonic()
        if not wait and now - self.looked < LOOK:
            if self.asks():  # what has come is used at once; to see that asks nobody
                self.link.check()
                with self.lock:
                    self._meet(0)
            return
        if not self.link.head_answers():
            return  # Ray would wait for it, and end this process after a minute
        with self.lock:
            self.looked = now
            going = _draining()
            there = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
            if self.node not in there:  # the agents end with it, and Ray ends this process when it looks for its objects
                raise raylet_lost()
            alive = {node: one for node, one in there.items() if one["Resources"].get("CPU")}
            free = [node for node in alive if self.refusals.get(node, 0) < REFUSALS and node not in going]
            self.totals = [alive[node]["Resources"] for node in free]
            for node in free:
                full = usable(alive[node]["Resources"], self.asked)
                if full["CPU"] and node not in self.machines and node not in self.coming and node not in self.away:
                    self._invite(node, alive[node]["NodeManagerAddress"], full)
            self.away = {node: one for node, one in self.away.items() if node in free}
            for node in [node for node in self.coming if node not in alive]:
                self.coming.pop(node)[0].end()
            self._meet(wait)
            if not self.coming:
                self._packages = None
            for one in list(self.machines.values()):
                if one.node in going and one.stays:
                    one.until = now + going[one.node]
                if one.node not in alive:
                    self.drop(one)
            self.taking.look(now)

    def left(self, one: Machine) -> None:
        """A run has nothing more on a machine that goes; with the last, its agent goes."""
        with self.lock:
            one.left += 1
            last = one.left >= self.users and self.machines.get(one.node) is one
            if last:
                del self.machines[one.node]
        if last:
            threading.Thread(target=one.end, args=(1.0,), daemon=True).start()

    def could_hold(self, asked: Resources | None) -> bool:
        """Whether some machine has what a step asks for, though others may hold it now."""
        return any(room(asked, total) for total in self.totals)

    def _invite(self, node: str, address: str, full: dict[str, float]) -> None:
        """Ask for an agent, and for what can be used there."""
        cores, other = Holding(node, {"CPU": full["CPU"]}), Holding(node, {name: full[name] for name in full if name != "CPU"})
        one = Machine(node, self._agent(node, address, full), self.link, cores, other, address=address)
        cores.ask(cores.full)
        self.coming[node] = (one, one.call("place"))

    def _meet(self, wait: float) -> None:
        """Take in the agents that are there, and what is held."""
        limit = time.monotonic() + wait
        while True:
            self.link.check()
            for node, (one, place) in list(self.coming.items()):
                if ray.wait([place], timeout=0)[0]:
                    del self.coming[node]
                    self._welcome(one, place)
            for one in self.machines.values():
                one.cores.meet()
                one.other.meet()
            if any(one.slots for one in self.machines.values()):
                limit = min(limit, time.monotonic() + TOGETHER)
            if time.monotonic() >= limit or not self.asks():
                return
            time.sleep(0.02)

    def _welcome(self, one: Machine, place: Any) -> None:
        try:
            one.place, one.folder, one.path, one.cwd, one.log = ray.get(place)
        except ray.exceptions.ActorUnschedulableError:  # its machine goes just now
            one.end()
            self.refusals[one.node] = self.refusals.get(one.node, 0) + 1
            return
        except ray.exceptions.RayActorError as error:
            one.end()
            if getattr(error, "_actor_init_failed", False) or "creation task" in str(error):
                reason = last_line(str(error))
                if self._begun and self.machines:  # others are at work, and one that came late is no reason to end that
                    _log.warning("a machine of the Ray cluster is left, as it cannot run this: %s", reason)
                    self.refusals[one.node] = REFUSALS
                    return
                hint = _FOLDER if "cannot use spill_folder" in reason else _INSTALL
                raise DataflowError(Report(f"a machine of the cluster cannot run this: {reason}", hint=hint)) from error
            self.refusals[one.node] = self.refusals.get(one.node, 0) + 1  # gone again
            return
        except ray.exceptions.RayError as error:
            one.end()
            raise in_our_words(error, one.address) from error
        if one.place in self._places:  # an agent had its port that is gone, and so are the files of that place
            one.end()
            return
        self._places.add(one.place)
        self.machines[one.node] = one
        one.cores.needed = time.monotonic()
        if one.node == self.node:
            self.transport.here += (one.place,)

    def drop(self, one: Machine) -> None:
        """A machine that no longer answers is as good as gone, even while Ray still counts on it."""
        with self.lock:
            if self.machines.get(one.node) is one:
                del self.machines[one.node]
                settled = time.monotonic() - one.since > SETTLED
                self.refusals[one.node] = 1 if settled else self.refusals.get(one.node, 0) + 1
                one.end()  # it may be there after all, and what is held there would stay so

    def _agent(self, node: str, address: str, full: dict[str, float]) -> Any:
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0}
        if (environment := self.environment.brought()) is not None:
            options["runtime_env"] = environment
        if self._packages is None:
            self._packages = ray.put(self._packed)
        made = actor_class().options(**options, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        return made.remote([self._packages], self.given, (self.token, address, self.settings.spill_folder, int(full["CPU"])))


_log = logging.getLogger("dataflow")
_join = join
_lock = threading.Lock()
_known: list[Cluster] = []
_INSTALL = "install the same versions on all machines, or give the runner runtime_env={'pip': [...]}"
_FOLDER = "spill_folder is one that every machine can make and write, each its own; without it, they use their temporary folders"


def _draining() -> dict[str, float]:
    """The machines that Ray takes away, and in how many seconds, a day if it does not say; nothing where Ray does not tell."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private.state import state

        now = time.time()
        return {node: max(0.1, when / 1000 - now) if when else 86400.0 for node, when in state.get_draining_nodes().items()}
    return {}


def _path() -> list[str]:
    """Where this process looks for modules."""
    return [path or os.getcwd() for path in sys.path]
