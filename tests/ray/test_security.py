"""Which clusters are used, and which are refused. That this machine is another one is all that is pretended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ray.conftest import until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

SCRIPT = """
import runners.ray.joining as joining
if not {here}:
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


def said(environment: dict[str, str], here: bool = False, **options: Any) -> str:
    """What a driver says. ``here``: the machine may be what it is."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(options=options, here=here)], env=environment, capture_output=True, text=True, timeout=150
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


def keep_token(home: dict[str, str]) -> None:
    """As `ray get-auth-token --generate` does, and Ray where it starts a cluster itself."""
    (Path(home["HOME"]) / ".ray").mkdir()
    (Path(home["HOME"]) / ".ray" / "auth_token").write_text(GOOD)


def test_a_token_that_is_kept_is_not_in_the_way_where_none_is_checked(
    machines: Any, home: dict[str, str], folder_of_machines: Path
) -> None:
    keep_token(home)
    where = {**home, "RAY_ADDRESS": machines.address}
    assert said(where, here=True, address="auto", spill_folder=str(folder_of_machines)).startswith("ran ['1']")


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
        os.killpg(process.pid, signal.SIGKILL)  # when asked to, it takes more than twenty seconds
        process.wait()


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
        keep_token(home)
        assert "set RAY_AUTH_MODE=token" in said(home, address=address)
        assert said(home, here=True, address=address).startswith("ran ['1']")


def certified(folder: Path, name: str = "c") -> dict[str, str]:
    """The environment of a machine that speaks TLS, with a certificate made in a folder."""
    import ray.util

    names = f"subjectAltName=IP:127.0.0.1,IP:{ray.util.get_node_ip_address()},DNS:localhost"
    made = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        f"{name}.key",
        "-out",
        f"{name}.pem",
        "-days",
        "2",
        "-subj",
        "/CN=ray",
    ]
    subprocess.run(["openssl", *made, "-addext", names], cwd=folder, check=True, capture_output=True)
    given = {"RAY_TLS_SERVER_CERT": f"{name}.pem", "RAY_TLS_SERVER_KEY": f"{name}.key", "RAY_TLS_CA_CERT": f"{name}.pem"}
    return {"RAY_USE_TLS": "1", **{one: str(folder / file) for one, file in given.items()}}


def test_a_cluster_with_tls_is_used_with_it_and_not_without(home: dict[str, str], short: Path) -> None:
    safe = {**home, **certified(short)}
    with head(safe, short) as address:
        assert said(safe, address=address).startswith("ran ['1']")
        assert "speaks TLS, and this process does not" in said(home, address=address)


@pytest.fixture
def authorities(tmp_path: Path) -> dict[str, dict[str, str]]:
    """The environments of machines of two clusters."""
    return {name: certified(tmp_path, name) for name in ("own", "other")}


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in ("RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_with_tls_what_a_worker_and_its_driver_say_is_encrypted(
    monkeypatch: pytest.MonkeyPatch, authorities: dict[str, dict[str, str]]
) -> None:
    """Between them stands one who listens."""
    from runners.ray.door import Door, knock

    use(monkeypatch, authorities["own"])
    came: queue.SimpleQueue[tuple[int, socket.socket]] = queue.SimpleQueue()
    door = Door("127.0.0.1", "the-token", lambda number, connection: came.put((number, connection)))
    heard = bytearray()

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(1 << 16):
            heard.extend(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def listen() -> None:
        one, _ = between.accept()
        other = socket.create_connection(door.address)
        threading.Thread(target=pass_on, args=(one, other), daemon=True).start()
        pass_on(other, one)

    with socket.create_server(("127.0.0.1", 0)) as between:
        threading.Thread(target=listen, daemon=True).start()
        theirs = knock(between.getsockname()[:2], "the-token", 7)
        number, ours = came.get(timeout=20)
        large = b"all of it" * 1_000_000
        sender = threading.Thread(target=theirs.sendall, args=(large,))
        sender.start()
        got = b""
        while len(got) < len(large):
            got += ours.recv(1 << 20)
        sender.join()
        ours.sendall(b"an answer")
        assert (number, got == large, theirs.recv(100)) == (7, True, b"an answer")
        ours.sendall(b"and the last word")
        ours.close()
        assert (theirs.recv(100), theirs.recv(100)) == (b"and the last word", b"")
        theirs.close()
    assert len(heard) > len(large)
    assert not [said for said in (b"the-token", b"all of it", b"an answer", b"last word") if said in heard]
    door.close()


def test_with_tls_who_has_no_certificate_of_the_cluster_stays_outside(
    monkeypatch: pytest.MonkeyPatch, authorities: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Though it has the token."""
    from runners.ray.door import Door
    from runners.ray.files import FileServer
    from runners.ray.transport import FlightTransport

    use(monkeypatch, authorities["own"])
    came: queue.SimpleQueue[tuple[int, socket.socket]] = queue.SimpleQueue()
    door = Door("127.0.0.1", "the-token", lambda number, connection: came.put((number, connection)))
    server = FileServer("127.0.0.1", "the-token", [str(tmp_path)])
    (tmp_path / "file").write_bytes(b"0123456789")
    own = FlightTransport((), "the-token")
    assert server.place.startswith("grpc+tls://") and own.answer(server.place) == "here"
    assert bytes(own.read(server.place, str(tmp_path / "file"), 2, 5)) == b"23456"
    said = json.dumps({"token": "the-token", "number": 7}).encode()
    other = ssl.create_default_context(cafile=authorities["own"]["RAY_TLS_CA_CERT"])
    other.load_cert_chain(authorities["other"]["RAY_TLS_SERVER_CERT"], authorities["other"]["RAY_TLS_SERVER_KEY"])
    for wrap in (lambda plain: plain, lambda plain: other.wrap_socket(plain, server_hostname="127.0.0.1")):
        with socket.create_connection(door.address, 20) as plain, contextlib.suppress(ConnectionError, ssl.SSLError):
            connection = wrap(plain)
            connection.sendall(len(said).to_bytes(4, "big") + said)
            while connection.recv(100):  # an alert, perhaps
                pass
    use(monkeypatch, authorities["other"])
    assert FlightTransport((), "the-token").answer(server.place) != "here"
    use(monkeypatch, {})
    assert FlightTransport((), "the-token").answer(server.place.replace("grpc+tls", "grpc")) != "here"
    assert came.empty()
    door.close()
    server.shutdown()


def test_a_door_stays_open_though_a_connection_could_not_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a free file handle, say: who knocks waits until there is one."""
    from runners.ray.door import Door, knock

    use(monkeypatch, {})
    failures = iter([OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNABORTED, "Software caused connection abort")])
    accept = socket.socket.accept

    def failing(self: socket.socket) -> Any:
        connection = accept(self)
        if (failure := next(failures, None)) is not None:
            connection[0].close()
            raise failure
        return connection

    monkeypatch.setattr(socket.socket, "accept", failing)
    came: queue.SimpleQueue[tuple[int, socket.socket]] = queue.SimpleQueue()
    door = Door("127.0.0.1", "the-token", lambda number, connection: came.put((number, connection)))
    kept = [knock(door.address, "the-token", number) for number in range(3)]
    assert came.get(timeout=20)[0] == 2
    door.close()
    for one in kept:
        one.close()
