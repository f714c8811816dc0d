"""Which cluster a process is on, which it may be told to use, and what is no address of one."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dataflow import DataflowError

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]
joining: Any = pytest.importorskip("runners.ray.joining", reason="Ray is not installed")
settings: Any = pytest.importorskip("runners.ray.settings")
runner: Any = pytest.importorskip("runners.ray.runner")


@pytest.mark.parametrize("address", ["nonsense", "", "192.0.2.2", "192.0.2.2:", "192.0.2.2:99999", "http://192.0.2.2:8265", 6379])
def test_what_is_no_address_is_refused_when_the_runner_is_made(address: Any) -> None:
    with pytest.raises(DataflowError, match=r"is not the address of a Ray cluster\n.*HOST:PORT"):
        runner.RayRunner(address=address)


@pytest.mark.parametrize("address", [None, "auto", "local", "192.0.2.2:6379", "head.example.org:6379", "[2001:db8::1]:6379"])
def test_what_may_be_an_address_is_not(address: str | None) -> None:
    runner.RayRunner(address=address)


def test_what_the_environment_has_for_an_address_is_looked_at_like_one_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining.ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "head")
    with pytest.raises(DataflowError, match="RAY_ADDRESS 'head' is not the address"):
        joining.join(settings.RaySettings())


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of this machine, on a cluster of which this process is said to be."""
    from ray.util import get_node_ip_address

    host = get_node_ip_address()
    monkeypatch.setattr(joining.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(joining.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address=f"{host}:6379"))
    return host


def test_every_name_of_this_machine_is_of_the_cluster_that_this_process_is_on(connected: str) -> None:
    for address in (f"{connected}:6379", "localhost:6379", "127.0.0.1:6379", None, "auto"):
        joining.join(settings.RaySettings(address))


def test_another_port_or_machine_is_another_cluster(connected: str) -> None:
    for address in ("localhost:6380", "203.0.113.1:6379"):
        with pytest.raises(DataflowError, match=f"connected to the Ray cluster at {connected}:6379, not to {address}"):
            joining.join(settings.RaySettings(address))


def test_a_new_cluster_is_not_another_ones(machines: Any) -> None:
    joining.join(settings.RaySettings(machines.address))
    with pytest.raises(DataflowError, match=r'connected to the Ray cluster at .*address="local" is for a new one\n.*ray.shutdown'):
        joining.join(settings.RaySettings("local"))


def test_a_cluster_that_this_process_started_is_used_again(connected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray._private.worker as worker

    monkeypatch.setattr(worker, "_global_node", SimpleNamespace(is_head=lambda: True))
    joining.join(settings.RaySettings("local"))


SERVER = """
import socket, sys, ray
from ray.util.client.server.server import serve

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
server = serve("127.0.0.1", port, ray_connect_handler=lambda job_config=None, **_: ray.init({address!r}, job_config=job_config))
print(port, flush=True)
sys.stdin.read()
server.stop(0)
"""
CLIENT = """
import ray
from dataflow import Pipeline

ray.init({session!r})
for address in (None, {session!r}):
    try:
        print(Pipeline().create([1]).map(str).collect(runner="ray", mode="cluster", progress=False, address=address))
    except Exception as error:
        print(error)
"""


def test_a_session_of_rays_client_is_refused_in_a_sentence(machines: Any) -> None:
    command = [sys.executable, "-c", SERVER.format(address=machines.address)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        session = f"ray://127.0.0.1:{server.stdout.readline().strip()}"
        done = subprocess.run([sys.executable, "-c", CLIENT.format(session=session)], capture_output=True, text=True, timeout=90)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stdout + done.stderr[-2000:]
    assert lines[0] == "workers cannot reach this process through Ray's client, by which it is connected"
    assert lines[2] == f"workers cannot reach this process through Ray's client at {session}"
    assert lines[1] == lines[3] and "run it on a machine of the cluster" in lines[1]
