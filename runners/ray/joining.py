"""How this process comes to a Ray cluster: looked at first, as Ray itself takes minutes to notice what is wrong; then joined, quietly.

address, RAY_ADDRESS, or what Ray finds ─> is somebody there? ─> does it speak TLS, as we do?
      ─> if it is not this machine: TLS, or a token, which it does check? ─> ray.init
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
from typing import Any

import ray

from dataflow.errors import DataflowError, Report
from runners.ray.security import checks_tokens, insecurity, keeps_token, show_token
from runners.ray.settings import RaySettings, check_address
from runners.ray.tls import uses_tls

__all__ = ["connection", "is_same", "join", "joined_here", "last_line"]

PATIENCE = 10.0


def join(settings: RaySettings) -> None:
    """Connect this process to the cluster, if it is not connected."""
    address = settings.address
    client = _is_client()
    connected = client or ray.is_initialized()
    real = address if connected else _resolved(address)
    check_address(real, "address" if real == address else "RAY_ADDRESS")
    named = real is not None and real.startswith("ray://")
    if client or named:
        where = f" at {real}" if named else ", by which it is connected"
        hint = "run it on a machine of the cluster, as `ray job submit` does, and give the address without ray://"
        raise DataflowError(Report(f"workers cannot reach this process through Ray's client{where}", hint=hint))
    if connected:
        _check_same(address)
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    host, port = _host(real)
    remote = bool(host) and not _is_here(host)
    if host:  # Ray takes minutes to notice that nobody is there
        _knock(host, port)
    if remote and not settings.insecure and (lack := insecurity(f"{host}:{port}")):
        raise DataflowError(
            Report(
                f"the Ray cluster at {real} {lack}: whoever reaches it runs code on it",
                hint="start it with RAY_AUTH_MODE=token or RAY_USE_TLS=1, or say runner option insecure=True",
            )
        )
    if remote and not settings.insecure and keeps_token():  # it checks tokens, and would not see ours
        hint = "set RAY_AUTH_MODE=token: without it, a token is shown to clusters of this machine alone"
        raise DataflowError(Report(f"the Ray cluster at {real} wants a token, and this process does not show the one it has", hint=hint))
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if not host and real != "auto":
        options["include_dashboard"] = False
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)  # what concerns the user becomes an error of ours
    try:
        if host and not remote and keeps_token() and checks_tokens(f"{host}:{port}"):  # to one that does not, a token would be in the way
            show_token()
        ray.init(real if host else address, **options)  # what Ray finds itself it would show the token in any case
    except (RuntimeError, ConnectionError, ValueError) as error:
        raise _not_joined(error) from error
    finally:
        if level != logging.NOTSET:
            logger.setLevel(level)
    _joined.add(connection())
    _quiet()


def joined_here() -> bool:
    """Whether it was `join` that connected this process, and not its user."""
    return bool(ray.is_initialized()) and connection() in _joined


def connection() -> tuple[str, str, str]:
    """What tells the connection that this process has to a cluster from any other; the first job of every cluster has the same name."""
    context = ray.get_runtime_context()
    return context.get_job_id(), str(context.gcs_address), str(context.get_worker_id())


_joined: set[tuple[str, str, str]] = set()  # our connections


def last_line(text: str) -> str:
    """The last line with anything on it."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), text)[:300]


def _resolved(address: str | None) -> str | None:
    """The address that Ray will use: RAY_ADDRESS and a cluster that runs here count where none is given; None: it will start one."""
    if address not in (None, "auto"):
        return address
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    try:
        from ray._private.services import canonicalize_bootstrap_address

        found = canonicalize_bootstrap_address(address)
    except (ImportError, AttributeError, ConnectionError, ValueError):
        return address  # Ray says itself what is wrong
    return str(found) if found is not None else None


def _check_same(address: str | None) -> None:
    """This process is on a cluster already: is it the one?"""
    there = str(ray.get_runtime_context().gcs_address)
    if _host(address)[0] and not is_same(str(address), there):
        text = f"this process is connected to the Ray cluster at {there}, not to {address}"
        raise DataflowError(Report(text, hint="ray.shutdown() leaves the one it is on"))
    if address == "local" and not _started_here():
        text = f'this process is connected to the Ray cluster at {there}, and address="local" is for a new one'
        raise DataflowError(Report(text, hint="ray.shutdown() leaves the one it is on; without an address, that one is used"))


def _is_client() -> bool:
    """Whether this process is on a cluster through Ray's client (ray.init("ray://…")), where Ray's own functions say so at length."""
    from ray.util.client import ray as client

    return bool(client.is_connected())


def _started_here() -> bool:
    """Whether the cluster that this process is on was started by it: an earlier run's, or one of ray.init()."""
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private.worker import _global_node

        return bool(_global_node.is_head())  # who joins one has a node that is none
    return True


def is_same(one: str, other: str) -> bool:
    """Whether two addresses are of one cluster."""
    (host, port), (other_host, other_port) = _host(one), _host(other)
    return port == other_port and _same_host(host, other_host)


def _same_host(one: str, other: str) -> bool:
    """Whether two names or addresses are of one machine; this one's are all of one."""
    return bool(_addresses(one) & _addresses(other)) or (_is_here(one) and _is_here(other))


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def _host(address: str | None) -> tuple[str, int]:
    """Host and port of an address; "" where Ray is to find or to start a cluster."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    return (host, int(port)) if host and port.isdigit() else ("", 0)


def _is_here(host: str) -> bool:
    """Whether a host is this machine: none but its own addresses can be bound to."""
    try:
        found = socket.getaddrinfo(host, None)[0]
        with socket.socket(found[0], socket.SOCK_DGRAM) as one:
            one.bind((found[4][0], 0))
    except OSError:
        return False
    return True


def _knock(host: str, port: int) -> None:
    """Is there somebody, and does he speak as we do? Ray would wait for minutes."""
    try:
        with socket.create_connection((host, port), PATIENCE) as connection:
            speaks = _speaks_tls(connection)
    except OSError as error:
        text = f"no connection to the Ray cluster at {host}:{port}: {error.strerror or error}"
        raise DataflowError(Report(text, hint="is it running? `ray status` tells")) from error
    uses = uses_tls()
    if speaks and not uses:
        hint = "set RAY_USE_TLS=1, RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT, as on its machines"
        raise DataflowError(Report(f"the Ray cluster at {host}:{port} speaks TLS, and this process does not", hint=hint))
    if uses and not speaks:
        raise DataflowError(Report(f"the Ray cluster at {host}:{port} does not speak TLS, and RAY_USE_TLS is 1", hint="unset RAY_USE_TLS"))


def _speaks_tls(connection: socket.socket) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    connection.settimeout(PATIENCE)
    try:
        with context.wrap_socket(connection):
            return True
    except TimeoutError:
        return False
    except ssl.SSLError as error:  # it may want a certificate of ours, but in TLS
        return "CERTIFICATE" in str(error.reason)
    except OSError:
        return False


def _not_joined(error: Exception) -> DataflowError:
    """Ray's error, which says the most at the beginning of the chain."""
    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    text = last_line(str(first if "uthenticat" in str(first) else error))
    hint = "is it running? `ray status` tells"
    if "ersion" in str(error):
        text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())[:300]
        hint = "use the Ray and Python of the cluster"
    elif "uthenticat" in text:
        hint = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token, as on its machines"
    return DataflowError(Report(f"no connection to the Ray cluster: {text}", hint=hint))


def _quiet() -> None:
    """Ray tells of every process that dies, in ten lines; those of a run are in its errors and its log."""
    with contextlib.suppress(ImportError, AttributeError):
        import ray._private.worker as worker

        shown, job = worker.print_to_stdstream, ray.get_runtime_context().get_job_id()

        def show(data: Any, ignore_prefix: bool = False) -> None:
            if not ray.is_initialized() or ray.get_runtime_context().get_job_id() != job:
                shown(data, ignore_prefix)

        worker.print_to_stdstream = show
