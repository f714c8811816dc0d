"""The cluster, as this process knows it: connected once, hidden behind the first work, and kept for the runs that follow.

cluster_for ─> ray.init (found, or started here) ─> same versions? ─> a keeper on every machine ─> `Cluster`
                                                                          └─ `look`: machines that came, machines that left
run ─> hire ─> a hand that is idle, or a new one ─> release ─> idle for ten seconds, then its core is given back
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dataflow.errors import DataflowError, Report
from dataflow.plan.steps import Resources
from dataflow.scheduling.events import AttemptId
from dataflow.shard.places import connect
from runners.ray.files import FlightTransport
from runners.ray.hand import Setup
from runners.ray.keeper import machine
from runners.ray.settings import RaySettings

__all__ = ["Cluster", "Hired", "Machine", "cluster_for"]

START = 60.0  # seconds until a keeper or a hand must have answered
LOOK = 1.0
IDLE = 10.0  # seconds that a hand without work keeps its core for a run that may follow


@dataclass(eq=False)
class Machine:
    """A machine of the cluster. ``place``: where its files are served."""

    node: str
    cores: int
    keeper: Any
    resources: dict[str, float]
    place: str = ""
    folder: str = ""

    def has(self) -> dict[str, float]:
        """What the machine has, without what Ray adds for its own use."""
        return {name: amount for name, amount in self.resources.items() if ":" not in name and name != "object_store_memory"}

    def room(self, asked: Resources | None, taken: list[Resources | None]) -> int:
        """How many more hands with these resources it has room for, beside those there."""
        left = dict(self.resources)
        for one in taken:
            for name, amount in amounts(one).items():
                left[name] = left.get(name, 0) - amount
        return max(0, min(int(left.get(name, 0) / amount + 1e-9) for name, amount in amounts(asked).items() if amount))


def amounts(asked: Resources | None) -> dict[str, float]:
    """Resources by Ray's names."""
    if asked is None:
        return {"CPU": 1}
    return {"CPU": asked.cpus, "GPU": asked.gpus, "memory": asked.memory, **dict(asked.custom)}


@dataclass(eq=False)
class Hired:
    """An actor that runs attempts. ``name``: of its files; ``process``: 0 until it said hello; ``calls``: the running one first."""

    machine: Machine
    actor: Any
    name: str
    hello: Any
    process: int = 0
    calls: dict[Any, AttemptId] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    resources: Resources | None = None
    idle_since: float = 0.0


def cluster_for(settings: RaySettings) -> Cluster:
    """The cluster of these settings: the one this process is connected to, where it is that."""
    with _lock:
        known = _known[0] if _known else None
        if known is None or known.settings != settings or not known.connected():
            if known is not None:
                known.close()
            _known[:] = [Cluster(settings)]
        return _known[0]


class Cluster:
    """A connection, shared by the runs of this process."""

    def __init__(self, settings: RaySettings) -> None:
        self.settings = settings
        self.token = secrets.token_hex(16)
        self.machines: dict[str, Machine] = {}
        self.coming: dict[str, tuple[Machine, Any]] = {}
        self.left: set[str] = set()
        self.idle: list[Hired] = []
        self._looked = 0.0
        self._made = 0
        self._looking = threading.RLock()
        _join(settings)
        self._job = ray.get_runtime_context().get_job_id()
        self._imports = ray.put({"path": [p or os.getcwd() for p in sys.path], "cwd": os.getcwd()})
        self.look(START)
        if not self.machines:
            raise DataflowError(Report("the Ray cluster has no machine with a core", hint="look at `ray status`"))
        self.own = next((m for m in self.machines.values() if m.node == ray.get_runtime_context().get_node_id()), None)
        self.here = self.own.place if self.own is not None else ""
        self.transport = FlightTransport(self.here, self.token)
        connect(self.transport)
        atexit.register(self.close)

    def connected(self) -> bool:
        """Whether this is still what Ray is connected to."""
        return ray.is_initialized() and ray.get_runtime_context().get_job_id() == self._job

    def share(self, folders: list[str]) -> None:
        """Files of this process, below these folders, may be read by the others."""
        if self.own is None:
            raise DataflowError(
                Report(
                    "this process is on no machine of the Ray cluster, which could not read its files",
                    hint="run it on one of them, as `ray job submit` does",
                )
            )
        ray.get(self.own.keeper.call.remote("share", folders), timeout=START)

    # -- hands

    def hire(self, machine: Machine, resources: Resources | None) -> Hired:
        """A hand on a machine, with these resources."""
        with self._looking:
            for hand in self.idle:
                if hand.machine is machine and hand.resources == resources:
                    self.idle.remove(hand)
                    return hand
            name = os.path.join(machine.folder, f"hand-{self._made}")
            self._made += 1
        strategy = NodeAffinitySchedulingStrategy(machine.node, soft=False)
        asked = amounts(resources)
        setup = Setup(name, machine.folder, machine.place, self.token, max(1, int(asked["CPU"])))
        options = {"num_cpus": asked["CPU"], "num_gpus": asked.get("GPU", 0), "memory": asked.get("memory") or None}
        custom = dict(resources.custom) if resources is not None else {}
        made = _remote().options(**options, resources=custom, scheduling_strategy=strategy, max_restarts=0, max_task_retries=0)
        actor = made.remote([self._imports], _VERSIONS, "runners.ray.hand", "Hand", (setup,))
        return Hired(machine, actor, name, actor.call.remote("hello"), resources=resources)

    def release(self, hands: list[Hired], run: str) -> None:
        """A run is over: its hands that wait for work may serve another, for a while; the others end."""
        with self._looking:
            for hand in hands:
                if hand.calls or not hand.process:
                    ray.kill(hand.actor)
                else:
                    hand.actor.call.remote("forget", run)
                    hand.ran.clear()
                    hand.idle_since = time.monotonic()
                    self.idle.append(hand)
            for one in self.machines.values():
                one.keeper.call.remote("clear", run)
        timer = threading.Timer(IDLE, self._dismiss)
        timer.daemon = True
        timer.start()

    def _dismiss(self) -> None:
        with self._looking:
            for hand in [hand for hand in self.idle if time.monotonic() - hand.idle_since >= IDLE - 0.1]:
                self.idle.remove(hand)
                if self.connected():
                    ray.kill(hand.actor)

    # -- machines

    def look(self, wait: float = 0.0) -> None:
        """Notice machines that come and go. ``wait``: seconds for those that are coming."""
        now = time.monotonic()
        if not wait and now - self._looked < LOOK:
            return
        with self._looking:
            self._looked = now
            self._look(wait)

    def _look(self, wait: float) -> None:
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
        for node, found in alive.items():
            if node not in self.machines and node not in self.coming and node not in self.left:
                keeper = self._keeper(node, found["NodeManagerAddress"])
                one = Machine(node, max(1, int(found["Resources"]["CPU"])), keeper, dict(found["Resources"]))
                self.coming[node] = (one, keeper.call.remote("place"))
        for node, (one, place) in list(self.coming.items()):
            if ray.wait([place], timeout=wait)[0]:
                del self.coming[node]
                self._welcome(one, place)
        for one in [one for node, one in self.machines.items() if node not in alive]:
            self.drop(one)

    def _welcome(self, one: Machine, place: Any) -> None:
        try:
            one.place, one.folder, name = ray.get(place)
        except ray.exceptions.RayActorError as error:
            if "Error" in (text := str(error)) and "init" in text:
                raise DataflowError(Report(f"a machine of the cluster cannot run this: {_last_line(text)}", hint=_INSTALL)) from error
            self.left.add(one.node)  # gone again
            return
        self._check(one, name)
        self.machines[one.node] = one

    def drop(self, one: Machine) -> None:
        """A machine that no longer answers is as good as gone, even while Ray still counts on it."""
        with self._looking:
            self.left.add(one.node)
            self.machines.pop(one.node, None)
            self.idle = [hand for hand in self.idle if hand.machine is not one]

    def _keeper(self, node: str, address: str) -> Any:
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": strategy, "max_concurrency": 4, "max_restarts": 0}
        made = _remote().options(**options)
        return made.remote([self._imports], _VERSIONS, "runners.ray.keeper", "Keeper", (self.token, address, self.settings.spill_folder))

    def _check(self, one: Machine, name: str) -> None:
        """Local paths must be seen by machines that are not this one."""
        if name == machine():
            return
        for path in self.settings.paths:
            if not ray.get(one.keeper.call.remote("sees", path), timeout=START):
                raise DataflowError(
                    Report(
                        f"{path} is not to be seen from machine {one.place.removeprefix('grpc://')} of the cluster",
                        hint="read from and write to storage that all machines share, such as s3:// or a common folder",
                    )
                )

    def close(self) -> None:
        """This process needs the cluster no more."""
        atexit.unregister(self.close)
        if self.connected():
            closing = [one.keeper.call.remote("close") for one in self.machines.values()]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=2.0)
            for actor in [one.keeper for one in self.machines.values()] + [hand.actor for hand in self.idle]:
                ray.kill(actor)
        connect(None)
        self.transport.close()


_lock = threading.Lock()
_known: list[Cluster] = []
_VERSIONS = {"python": sys.version_info[:2], "pyarrow": pa.__version__, "cloudpickle": __import__("cloudpickle").__version__}
_INSTALL = "install the same versions on all machines, or give the runner runtime_env={'pip': [...]}"


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
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "include_dashboard": False}
    if remote or address == "auto":
        options.pop("include_dashboard")
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


def _remote() -> Any:
    """An actor class that travels by value, as our packages may not be importable where it arrives before it has set the path."""

    class Actor:
        def __init__(self, imports: list[Any], versions: dict[str, Any], module: str, name: str, arguments: tuple[Any, ...]) -> None:
            import importlib
            import os
            import sys

            import ray

            given = ray.get(imports[0])
            sys.path.extend(p for p in given["path"] if p not in sys.path)
            if os.path.isdir(given["cwd"]):
                os.chdir(given["cwd"])
            import cloudpickle
            import pyarrow

            own = {"python": sys.version_info[:2], "pyarrow": pyarrow.__version__, "cloudpickle": cloudpickle.__version__}
            if own != versions:
                raise RuntimeError(f"versions differ: the driver has {versions}, the cluster {own}")
            self.made = getattr(importlib.import_module(module), name)(*arguments)

        def call(self, method: str, *arguments: Any) -> Any:
            return getattr(self.made, method)(*arguments)

    Actor.__module__ = "__main__"
    return ray.remote(Actor)
