"""Which clusters are used, and which are refused. That this machine is another one is all that is pretended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ray.conftest import until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

SCRIPT = """
import runners.ray.joining as joining
joining._is_here = lambda host: False
from dataflow import Pipeline
try:
    print("ran", Pipeline().create([1]).map(str).collect(runner="ray", mode="cluster", progress=False, **{options!r}))
except Exception as error:
    print(type(error).__name__, error)
"""
GOOD, BAD = "b" * 64, "c" * 64


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment without any token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH") and name != "RAY_ADDRESS"}
    return {**kept, "HOME": str(tmp_path)}


def said(environment: dict[str, str], **options: Any) -> str:
    """What a driver says."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(options=options)], env=environment, capture_output=True, text=True, timeout=150
    )
    return done.stdout or done.stderr[-2000:]


def test_a_remote_cluster_without_authentication_is_refused(machines: Any, home: dict[str, str]) -> None:
    assert "would be used without authentication" in said(home, address=machines.address)


@pytest.mark.parametrize("address", [None, "auto"])
def test_an_address_of_the_environment_counts_like_one_that_is_given(machines: Any, home: dict[str, str], address: str | None) -> None:
    assert "would be used without authentication" in said({**home, "RAY_ADDRESS": machines.address}, address=address)


def test_a_token_that_the_cluster_does_not_check_is_none(machines: Any, home: dict[str, str]) -> None:
    text = said({**home, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": GOOD}, address=machines.address)
    assert "does not check tokens" in text and "insecure=True" in text


def test_who_says_so_may_use_it(machines: Any, home: dict[str, str], folder_of_machines: Path) -> None:
    assert said(home, address=machines.address, insecure=True, spill_folder=str(folder_of_machines)).startswith("ran ['1']")


@contextmanager
def head(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """The address of a cluster of one machine, started as its people would."""
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    command = [
        "start", "--head", "--block", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--disable-usage-stats",
        "--object-store-memory=90000000", f"--temp-dir={folder}",
    ]  # fmt: skip
    with open(folder / "head.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *command],
            env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder,
        )  # fmt: skip
    try:
        started = until(lambda: "Ray runtime started" in (folder / "head.log").read_text() or process.poll() is not None, 120)
        if not started or process.poll() is not None:
            pytest.skip(f"Ray does not start here: {(folder / 'head.log').read_text()[-300:]}")
        import ray.util

        yield f"{ray.util.get_node_ip_address()}:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a name that leaves room for those of sockets, of which 107 bytes are all."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_a_cluster_with_a_token_is_used_with_it_and_not_without(home: dict[str, str], short: Path) -> None:
    def token(value: str) -> dict[str, str]:
        return {**home, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": value}

    with head(token(GOOD), short) as address:
        assert said(token(GOOD), address=address).startswith("ran ['1']")
        text = said(token(BAD), address=address)
        assert "uthenticat" in text and "RAY_AUTH_TOKEN" in text
        assert "would be used without authentication" in said(home, address=address)


def test_a_cluster_with_tls_is_used_with_it_and_not_without(home: dict[str, str], short: Path) -> None:
    import ray.util

    names = f"subjectAltName=IP:127.0.0.1,IP:{ray.util.get_node_ip_address()},DNS:localhost"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "2", "-subj", "/CN=ray"]
    subprocess.run(["openssl", *made, "-addext", names], cwd=short, check=True, capture_output=True)
    given = {"RAY_TLS_SERVER_CERT": "c.pem", "RAY_TLS_SERVER_KEY": "k.pem", "RAY_TLS_CA_CERT": "c.pem"}
    safe = {**home, "RAY_USE_TLS": "1", **{name: str(short / file) for name, file in given.items()}}
    with head(safe, short) as address:
        assert said(safe, address=address).startswith("ran ['1']")
        assert "speaks TLS, and this process does not" in said(home, address=address)
