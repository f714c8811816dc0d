"""The cluster, as this process knows it: connected once, hidden behind the first work, and kept a while for the runs that follow.

cluster_for ─> ray.init (found, or started here) ─> an agent on every machine, and one more where steps ask for resources
                                                        └─ `look`: machines that come, machines that leave
"""

from __future__ import annotations

import atexit
import importlib.metadata
import logging
import os
import secrets
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dataflow.errors import DataflowError, Report
from dataflow.plan.steps import Resources
from dataflow.shard.places import connect
from runners.ray.agent import machine
from runners.ray.settings import RaySettings
from runners.ray.transport import FlightTransport

__all__ = ["Cluster", "Machine", "cluster_for"]

START = 60.0  # seconds until an agent must have answered
LOOK = 1.0
IDLE = 10.0  # seconds that the agents keep their cores for a run that may follow
REFUSALS = 3


@dataclass(eq=False)
class Machine:
    """A machine, for steps that ask for the same resources: its agent, which has room for ``slots`` workers. ``place``: of its files."""

    node: str
    asked: Resources | None
    slots: int
    agent: Any
    place: str = ""
    folder: str = ""

    @property
    def key(self) -> tuple[str, Resources | None]:
        return self.node, self.asked

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


class Cluster:
    """A connection, shared by the runs of this process."""

    def __init__(self, settings: RaySettings, asked: tuple[Resources, ...]) -> None:
        self.settings, self.asked = settings, asked
        self.token = secrets.token_hex(16)
        self.machines: dict[tuple[str, Resources | None], Machine] = {}
        self.coming: dict[tuple[str, Resources | None], tuple[Machine, Any]] = {}
        self.refusals: dict[str, int] = {}
        self.users = 0
        self._looked = 0.0
        self._looking = threading.RLock()
        _join(settings)
        context = ray.get_runtime_context()
        self.job, self.node = context.get_job_id(), context.get_node_id()
        self.address = ray.util.get_node_ip_address()
        self.setup = {"path": [p or os.getcwd() for p in sys.path], "cwd": os.getcwd()}
        self._imports = ray.put(self.setup)
        self.look(START)
        if not self.machines:
            raise DataflowError(Report("the Ray cluster has no machine with a core", hint="look at `ray status`"))
        self.own = next((one for one in self.machines.values() if one.node == self.node), None)
        if self.own is None:
            raise DataflowError(
                Report(
                    "this process is on no machine of the Ray cluster, so its workers could not reach it",
                    hint="run it on one of them, as `ray job submit` does",
                )
            )
        self.transport = FlightTransport(self.own.place, self.token)
        connect(self.transport)
        atexit.register(self.close)

    def connected(self) -> bool:
        """Whether this is still what Ray is connected to."""
        return bool(ray.is_initialized()) and ray.get_runtime_context().get_job_id() == self.job

    def share(self, folders: list[str]) -> None:
        """Files of this process, below these folders, may be read by the others."""
        assert self.own is not None
        ray.get(self.own.call("share", folders), timeout=START)

    def release(self, run: str) -> None:
        """A run is over. If no other begins soon, the cores are given back."""
        with _lock:
            self.users -= 1
        for one in self.machines.values():
            one.call("clear", run)
        timer = threading.Timer(IDLE, self._leave)
        timer.daemon = True
        timer.start()
        self._released = time.monotonic()

    def _leave(self) -> None:
        with _lock:
            if self.users or time.monotonic() - self._released < IDLE - 0.5:
                return
            if _known and _known[0] is self:
                _known.clear()
            self.close()

    def close(self) -> None:
        """This process needs the cluster no more."""
        atexit.unregister(self.close)
        machines, self.machines = list(self.machines.values()), {}
        if machines and self.connected():
            ray.wait([one.call("close") for one in machines], num_returns=len(machines), timeout=2.0)
            for one in machines:
                ray.kill(one.agent)
        connect(None)
        self.transport.close()

    # -- machines

    def look(self, wait: float = 0.0) -> None:
        """Notice machines that come and go. ``wait``: seconds for those that are coming."""
        now = time.monotonic()
        if not wait and now - self._looked < LOOK:
            return
        with self._looking:
            self._looked = now
            alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
            for node, found in alive.items():
                for asked, slots in _shares(found["Resources"], self.asked).items():
                    key = (node, asked)
                    if key not in self.machines and key not in self.coming and self.refusals.get(node, 0) < REFUSALS:
                        one = Machine(node, asked, slots, self._agent(node, found["NodeManagerAddress"], asked, slots))
                        self.coming[key] = (one, one.call("place"))
            for key, (one, place) in list(self.coming.items()):
                if one.node not in alive:
                    del self.coming[key]
                elif ray.wait([place], timeout=wait)[0]:
                    del self.coming[key]
                    self._welcome(one, place)
            for one in [one for one in self.machines.values() if one.node not in alive]:
                self.drop(one)

    def _welcome(self, one: Machine, place: Any) -> None:
        try:
            one.place, one.folder, name = ray.get(place)
        except ray.exceptions.RayActorError as error:
            if getattr(error, "_actor_init_failed", False) or "creation task" in str(error):
                reason = _last_line(str(error))
                raise DataflowError(Report(f"a machine of the cluster cannot run this: {reason}", hint=_INSTALL)) from error
            self.refusals[one.node] = self.refusals.get(one.node, 0) + 1  # gone again
            return
        self._check(one, name)
        self.machines[one.key] = one

    def drop(self, one: Machine) -> None:
        """A machine that no longer answers is as good as gone, even while Ray still counts on it."""
        with self._looking:
            if self.machines.pop(one.key, None) is not None:
                self.refusals[one.node] = self.refusals.get(one.node, 0) + 1

    def _agent(self, node: str, address: str, asked: Resources | None, slots: int) -> Any:
        need = asked or Resources()
        options: dict[str, Any] = {"num_cpus": need.cpus * slots, "num_gpus": need.gpus * slots, "max_restarts": 0, "max_task_retries": 0}
        if need.memory:
            options["memory"] = need.memory * slots
        options["resources"] = {name: amount * slots for name, amount in need.custom}
        made = _actor().options(**options, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        return made.remote([self._imports], _VERSIONS, (self.token, address, self.settings.spill_folder, slots, need.gpus))

    def _check(self, one: Machine, name: str) -> None:
        """Local paths must be seen by machines that are not this one."""
        if name == machine():
            return
        for path in self.settings.paths:
            if not ray.get(one.call("sees", path), timeout=START):
                raise DataflowError(
                    Report(
                        f"{path} is not to be seen from machine {one.place.removeprefix('grpc://')} of the cluster",
                        hint="read from and write to storage that all machines share, such as s3:// or a common folder",
                    )
                )


_lock = threading.Lock()
_known: list[Cluster] = []
_INSTALL = "install the same versions on all machines, or give the runner runtime_env={'pip': [...]}"
_VERSIONS = {
    "python": "{}.{}".format(*sys.version_info),
    **{name: importlib.metadata.version(name) for name in ("pyarrow", "polars", "cloudpickle")},
}


def _shares(has: dict[str, float], asked: tuple[Resources, ...]) -> dict[Resources | None, int]:
    """How many workers of each kind a machine has room for: those that ask for something first, the rest of the cores for the others.

    >>> _shares({"CPU": 4, "GPU": 2}, (Resources(gpus=1),))
    {Resources(cpus=1, memory=0, gpus=1, custom=()): 2, None: 2}
    """
    left = dict(has)
    found: dict[Resources | None, int] = {}
    for one in asked:
        needs = {"CPU": one.cpus, "GPU": one.gpus, "memory": one.memory, **dict(one.custom)}
        slots = min(int(left.get(name, 0) / amount + 1e-9) for name, amount in needs.items() if amount)
        if slots > 0:
            found[one] = slots
            for name, amount in needs.items():
                left[name] = left.get(name, 0) - amount * slots
    if int(left["CPU"]) > 0:
        found[None] = int(left["CPU"])
    return found


def _join(settings: RaySettings) -> None:
    """Connect this process to the cluster."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = settings.address
    remote = address is not None and _elsewhere(address)
    secure = os.environ.get("RAY_AUTH_MODE") == "token" or os.environ.get("RAY_USE_TLS") == "1"
    if remote and not secure and not settings.insecure:
        raise DataflowError(
            Report(
                f"the Ray cluster at {address} would be used without authentication: whoever reaches it runs code on it",
                hint="start it with RAY_AUTH_MODE=token or RAY_USE_TLS=1, or say runner option insecure=True",
            )
        )
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if not remote and address != "auto":
        options["include_dashboard"] = False
    environment = dict(settings.runtime_env)
    if remote and "py_modules" not in environment:
        environment["py_modules"] = _packages()
    logger = logging.getLogger("ray")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)  # what concerns the user becomes an error of ours
    try:
        ray.init(address, runtime_env=environment or None, **options)
    except (RuntimeError, ConnectionError, ValueError) as error:
        text = _last_line(str(error))
        hint = "use the Ray and Python of the cluster" if "ersion" in text else "is it running? `ray status` tells"
        raise DataflowError(Report(f"no connection to the Ray cluster: {text}", hint=hint)) from error


def _elsewhere(address: str) -> bool:
    """Whether an address is another machine's: none of this machine's own can be bound to."""
    host = address.rpartition("://")[2].rpartition(":")[0]
    if address in ("local", "auto") or not host:
        return False
    try:
        found = socket.getaddrinfo(host, None)[0]
        with socket.socket(found[0], socket.SOCK_DGRAM) as one:
            one.bind((found[4][0], 0))
    except OSError:
        return True
    return False


def _packages() -> list[str]:
    """The folders of our own packages, for machines that do not have them."""
    import dataflow
    import runners

    return [os.path.dirname(package.__file__ or next(iter(package.__path__))) for package in (dataflow, runners)]


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), text)[:300]


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
