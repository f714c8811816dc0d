"""What Ray reports, in our words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataflow import DataflowError, Pipeline
from dataflow.errors import MemoryLimitError, WorkerCrashedError
from tests.ray.conftest import NODE
from tests.ray.test_faults import shown

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_errors_of_ray_name_what_happened_where_and_what_helps() -> None:
    exceptions = pytest.importorskip("ray").exceptions
    from runners.ray.failures import in_our_words, said_by_ray

    text = "Could not create the actor\n[Node 10.0.0.7] Traceback\n  File x\nRuntimeError: no such package as xyz\n^^^^"
    found = in_our_words(exceptions.RuntimeEnvSetupError(text), "10.0.0.7", "/logs")
    assert "(machine 10.0.0.7): RuntimeError: no such package as xyz" in str(found) and "runtime_env_setup" in str(found)
    assert "/logs" in str(found)
    assert isinstance(in_our_words(exceptions.OutOfMemoryError("too much")), MemoryLimitError)
    assert isinstance(in_our_words(exceptions.ActorDiedError()), WorkerCrashedError)
    assert "Ray failed (RaySystemError)" in str(in_our_words(exceptions.RaySystemError("odd")))
    with pytest.raises(DataflowError) as caught, said_by_ray():
        raise exceptions.GetTimeoutError("x")
    assert isinstance(caught.value.__cause__, exceptions.GetTimeoutError)


CHAINED = """\x1b[36mray::Map(outer)()\x1b[39m (pid=1, ip=10.0.0.7)
  File "/usr/lib/python3.11/concurrent/futures/thread.py", line 58, in run
    result = self.fn(*self.args, **self.kwargs)
             ^^^^^^^^^^
  File "/home/ann/job.py", line 11, in inner
    return int(row)
           ^^^^^^^^
ValueError: invalid literal

The above exception was the direct cause of the following exception:

\x1b[36mray::Map(outer)()\x1b[39m (pid=1, ip=10.0.0.7)
  File "/home/ann/job.py", line 15, in outer
    raise KeyError("bad row") from error
KeyError: 'bad row'

The above exception was the direct cause of the following exception:

\x1b[36mray::Map(outer)()\x1b[39m (pid=1, ip=10.0.0.7)
ray.exceptions.UserCodeException: UDF failed to process a data block.
Failed to apply UDF transform after 1/1 attempts.
"""
DIED = """The actor died because of an error raised in its creation task, ray::MapWorker.__init__() (pid=1)
           ^^^^^^^^
  File "/venv/lib/python3.11/site-packages/ray/data/x.py", line 738, in __init__
    self._init_udf()
  File "/home/ann/job.py", line 3, in __init__
OSError: no model"""


def test_what_failed_in_a_function_of_the_users_is_found_in_the_text_of_ray() -> None:
    exceptions = pytest.importorskip("ray").exceptions
    from runners.ray.causes import first_cause

    found = first_cause(exceptions.RayError(CHAINED))
    assert found == ("KeyError: 'bad row', caused by ValueError: invalid literal", ("job.py:11 in inner: return int(row)",))
    assert first_cause(exceptions.RayError(DIED)) == ("OSError: no model", ("job.py:3 in __init__",))
    whole = exceptions.UserCodeException("UDF failed")
    whole.__cause__ = KeyError("k")
    assert first_cause(whole) == ("KeyError: 'k'", ())
    assert first_cause(exceptions.RayError("the actor is gone\nlong ago")) == ("the actor is gone", ())


def test_a_crash_names_the_machine_and_its_log(tmp_path: Path, options: dict[str, Any]) -> None:
    def die(n: int) -> int:
        if n == 7:
            print("about to die", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with pytest.raises(WorkerCrashedError) as caught:
        Pipeline().create(range(20)).map(die).collect(**options)
    text = shown(caught.value)
    assert "on machine " in text
    log = text.partition("which logs to ")[2].split()[0].rstrip(",")
    assert "about to die" in Path(log).read_text()


def test_an_environment_that_cannot_be_set_up_is_an_error_of_ours(options: dict[str, Any]) -> None:
    environment = {"pip": ["no-such-package-of-ours==9.9"]}  # or there is no virtualenv; in both cases it fails
    with pytest.raises(DataflowError) as caught:
        Pipeline().create([1]).map(str).collect(**options, runtime_env=environment)
    assert "the run's runtime_env cannot be set up (machine " in shown(caught.value)


HEADLESS = """
import os, threading, time
os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = "12"  # after which Ray ends the process
from ray.cluster_utils import Cluster
from dataflow import Pipeline
from runners.ray import link
link.LOST = 2.0
cluster = Cluster(initialize_head=True, head_node_args={node!r})

def when_it_has_begun(do):
    begun = {begun!r} + do.__name__

    def slow(n):
        import time
        open(begun, "w").close()
        time.sleep(0.2)
        return n

    def wait():
        while not os.path.exists(begun):
            time.sleep(0.1)
        do()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    try:
        Pipeline().create(range(400)).redistribute(400).map(slow).collect(**{options!r}, address=cluster.address)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    waiter.join()

def leave():
    import ray
    ray.shutdown()

when_it_has_begun(leave)
import ray
print("on a cluster:", ray.is_initialized(), flush=True)
when_it_has_begun(cluster.head_node.all_processes["gcs_server"][0].process.kill)
time.sleep(15)
print("lives", flush=True)
os._exit(0)
"""


def test_a_connection_or_a_head_that_is_lost_ends_the_run_and_not_the_users_process(tmp_path: Path) -> None:
    folders = {
        "spill_folder": str(tmp_path / "agents"),
        "spill_folders": [str(tmp_path / "spill")],
        "skipped_to": str(tmp_path / "skipped"),
    }
    own = {"runner": "ray", "mode": "cluster", "progress": False, "memory": "64MiB", **folders}
    node = {**NODE, "include_dashboard": False, "no_monitor": True}
    alone = {**os.environ, "RAY_ENABLE_AUTO_CONNECT": "1"}  # as it is for users: a call of Ray's would start a cluster
    script = HEADLESS.format(node=node, begun=str(tmp_path / "begun"), options=own)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=150, start_new_session=True, env=alone)
    assert "DataflowError this process has left the Ray cluster at" in done.stdout, done.stderr[-2000:]
    assert "on a cluster: False" in done.stdout
    assert "the head of the Ray cluster at" in done.stdout and "has not answered for 2 seconds" in done.stdout, done.stderr[-2000:]
    assert done.stdout.strip().endswith("lives")
