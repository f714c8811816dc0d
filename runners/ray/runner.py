"""The Ray runner: the same plan and scheduler on a cluster."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from types import NoneType
from typing import Any, Literal

from dataflow.driving.driver import Driver, RunnerWorkers, source_bytes
from dataflow.driving.memory import machine_memory
from dataflow.errors import DataflowError, Report
from dataflow.physical.phases import PhysicalPlan
from dataflow.scheduling.work import SMALL_BYTES
from dataflow.sizes import parse_size
from runners.ray.durable import shared_folder
from runners.ray.settings import RaySettings, check_address
from runners.ray.workers import RayWorkers

__all__ = ["RayRunner"]

DEFAULT_SHARE = 0.6


class RayRunner(Driver):
    """Runs plans on a Ray cluster.

    ``address``: of the cluster (HOST:PORT), or "local" for a new one; without, one that runs on this machine is used, or else started.
    ``mode``: "auto" keeps what is small in this process and does not even import Ray for it; "cluster" sends everything. ``memory``:
    bytes (or "64GiB") that the run's data may take on all machines together; by default 60% of this machine's. ``spill_folder``: where
    every machine keeps shuffles.
    ``shuffle_folder``: a folder that all machines share, or a URL such as ``s3://bucket/folder``, where shuffles go instead, so that a
    machine may vanish without what it wrote. ``runtime_env``: Ray's, for packages that the workers need. ``insecure``: use a remote
    cluster though it asks for no token. The other options are those of `Driver`.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        mode: Literal["auto", "cluster"] = "auto",
        memory: str | int | None = None,
        spill_folder: str | None = None,
        shuffle_folder: str | None = None,
        runtime_env: dict[str, Any] | None = None,
        insecure: bool = False,
        **options: Any,
    ) -> None:
        if find_spec("ray") is None:
            raise DataflowError(Report("the ray runner needs Ray", hint="pip install 'dataflow-engine[ray]'"))
        if mode not in ("auto", "cluster"):
            raise ValueError(f'mode is "auto" or "cluster", not {mode!r}')
        check_address(address)
        if not isinstance(runtime_env, (dict, NoneType)):
            text = f"runtime_env is a dictionary, such as {{'pip': ['pandas']}}, not {type(runtime_env).__name__}"
            raise DataflowError(Report(text, hint="what it may contain: docs.ray.io, Environment Dependencies"))
        if runtime_env and mode == "cluster":  # else Ray is imported only for what is large, and this is looked at then
            from runners.ray.environment import check_names

            check_names(runtime_env)
        super().__init__(memory=parse_size(memory) if memory is not None else int(machine_memory() * DEFAULT_SHARE), **options)
        self.address, self.mode, self.insecure = address, mode, insecure
        self.spill_folder, self.shuffle_folder, self.runtime_env = spill_folder, shuffle_folder, runtime_env or {}

    @property
    def own_memory(self) -> int:
        """Bytes that the run's data may take in this process: of what all machines have together, what this one has."""
        return min(self.memory, int(machine_memory() * DEFAULT_SHARE))

    def _workers(self, stack: ExitStack, run: str, plan: PhysicalPlan, folders: list[str]) -> RunnerWorkers:
        settings = RaySettings(self.address, self.runtime_env, self.insecure, self.spill_folder, ())
        shared = shared_folder(self.shuffle_folder, run, stack) if self.shuffle_folder is not None else ""
        asked = tuple(dict.fromkeys(phase.program.resources for phase in plan.phases if phase.program.resources is not None))
        workers = RayWorkers(run, settings, folders, self.mode, shared, asked)
        stack.callback(workers.close)
        if self.mode == "cluster" or source_bytes(plan) > SMALL_BYTES:
            workers.warm()
        return workers
