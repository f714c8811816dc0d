"""Ray's errors in our words: what happened, on which machine, where its log is, what helps.

RayError ─ `in_our_words` ─> DataflowError, MemoryLimitError, WorkerCrashedError or ResourceError; Ray's own stays its ``__cause__``
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import ray
from ray import exceptions

from dataflow.errors import DataflowError, MemoryLimitError, Report, ResourceError, ShardLostError, WorkerCrashedError

__all__ = ["cannot_start", "head_lost", "in_our_words", "said_by_ray"]

# The first that fits: what happened, what helps, our class.
_WORDS: tuple[tuple[str, str, str, type[DataflowError]], ...] = (
    (
        "RuntimeEnvSetupError",
        "the run's runtime_env cannot be set up",
        "`runtime_env_setup-*.log` in that machine's logs has all that pip and others said",
        DataflowError,
    ),
    (
        "OutOfMemoryError",
        "Ray ended a process of ours, as the machine was out of memory",
        "give the run less with runner option memory=, or fewer workers a machine with .resources(memory=…)",
        MemoryLimitError,
    ),
    ("AuthenticationError", "the Ray cluster refuses this process", "RAY_AUTH_TOKEN must be that of the cluster", DataflowError),
    ("ActorUnschedulableError", "Ray cannot place an agent of ours", "`ray status` tells what the machines have", ResourceError),
    ("TaskUnschedulableError", "Ray cannot place a task", "`ray status` tells what the machines have", ResourceError),
    (
        "LocalRayletDiedError",
        "Ray's own process on a machine has ended",
        "`raylet.out` in that machine's logs says why",
        WorkerCrashedError,
    ),
    ("NodeDiedError", "a machine is gone", "`ray status` tells which are left", WorkerCrashedError),
    ("RayActorError", "an agent of ours has ended", "`raylet.out` in that machine's logs says why", WorkerCrashedError),
    ("ObjectStoreFullError", "Ray's object store is full", "start the machines with a larger --object-store-memory", ResourceError),
    ("OutOfDiskError", "a machine's disk is full", "Ray spills to its temporary folder; see `ray start --temp-dir`", ResourceError),
    ("ObjectLostError", "data that Ray held is lost, with the machine or the process it was on", "make the dataset again", ShardLostError),
    ("GetTimeoutError", "the Ray cluster does not answer", "`ray status` tells whether its head is there", DataflowError),
    ("RpcError", "the Ray cluster does not answer", "`ray status` tells whether its head is there", DataflowError),
)


def in_our_words(error: BaseException, machine: str = "", log: str = "") -> DataflowError:
    """An error of Ray's. ``machine``: on which it was, if it is known; ``log``: where that machine keeps what its processes say."""
    found = next((row for row in _WORDS if isinstance(error, getattr(exceptions, row[0], ()))), None)
    what, hint, kind = found[1:] if found is not None else (f"Ray failed ({type(error).__name__})", "`ray logs` has more", DataflowError)
    node = machine or str(getattr(error, "node_ip_address", "") or "")
    reason = _reason(str(error))
    return kind(Report(f"{what}{f' (machine {node})' if node else ''}: {reason}", location=log, hint=hint))


@contextmanager
def said_by_ray(check: Callable[[], None] = lambda: None) -> Generator[None]:
    """What Ray raises within is raised in our words. ``check`` raises what explains all else."""
    try:
        yield
    except DataflowError:
        raise
    except Exception as error:
        try:
            check()
        except DataflowError as reason:
            raise reason from error
        if isinstance(error, exceptions.RayError):
            raise in_our_words(error) from error
        raise


def left(address: str) -> DataflowError:
    """This process is not connected to the cluster any more."""
    return DataflowError(
        Report(
            f"this process has left the Ray cluster at {address} while a run went on there",
            hint="ray.shutdown() ends what runs on the cluster: call it when the run is over",
        )
    )


def head_lost(address: str, seconds: float) -> DataflowError:
    """Nobody is at the address of the cluster's head any more."""
    return DataflowError(
        Report(
            f"the head of the Ray cluster at {address} has not answered for {seconds:.0f} seconds",
            location=f"{ray.util.get_node_ip_address()}: {_logs()}",
            hint="`gcs_server.out` in the head's logs says why it ended; start the cluster again, then the run",
        )
    )


def raylet_lost() -> DataflowError:
    """This machine does not belong to the cluster any more."""
    return DataflowError(
        Report(
            "Ray's own process on this machine, its raylet, has ended, and with it what this run had on the cluster",
            location=f"{ray.util.get_node_ip_address()}: {_logs()}",
            hint="`raylet.out` in these logs says why; start Ray here again, then the run",
        )
    )


def _logs() -> str:
    """Where Ray's logs are on this machine."""
    try:
        from ray._private.worker import global_worker

        return str(global_worker.node.get_logs_dir_path())
    except (ImportError, AttributeError):
        return "/tmp/ray/session_latest/logs"


def _reason(text: str) -> str:
    """The line that says the most: the last that names an error, else the first that is not a title."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and set(line.strip()) - set("=-^~ ")]
    named = [line for line in lines if "error" in line.lower() and not line.endswith(":")]
    return (named or lines[-1:] or ["it does not say why"])[-1][:300]


def cannot_start(text: str) -> DataflowError:
    """Workers on the cluster that end before they are ready."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "no reason given")
    return WorkerCrashedError(
        Report(
            f"workers cannot be started on the Ray cluster: {reason[:300]}",
            hint="the same Python, pyarrow and packages are needed on all machines; `ray logs` has more",
        )
    )
