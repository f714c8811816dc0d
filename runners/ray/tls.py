"""TLS for what goes between machines of a run: used where the cluster's own connections have it, with the cluster's certificates.

    RAY_USE_TLS=1, RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY, RAY_TLS_CA_CERT      (Ray's, on every machine; workers inherit them)

    FileServer <── Flight, grpc+tls ──> FlightTransport      both show a certificate of the cluster's authority, as Ray's own do
    driver     <── `relay.secured` ──> worker                so do these

The token of the run stays; it is sent within TLS.
"""

from __future__ import annotations

import os
from typing import Any

from dataflow.errors import DataflowError, Report

__all__ = ["certificates", "flight_client", "flight_server", "unusable", "uses_tls"]


def uses_tls() -> bool:
    """Whether the cluster that this process belongs to speaks TLS."""
    return os.environ.get("RAY_USE_TLS", "").lower() in ("1", "true")  # as Ray reads it


def flight_server() -> dict[str, Any]:
    """What a Flight server is made with, beside its address."""
    if not uses_tls():
        return {}
    chain, key, authority = map(_content, certificates())
    return {"tls_certificates": [(chain, key)], "verify_client": True, "root_certificates": authority}


def flight_client() -> dict[str, Any]:
    """What a Flight client connects with."""
    if not uses_tls():
        return {}
    chain, key, authority = map(_content, certificates())
    return {"tls_root_certs": authority, "cert_chain": chain, "private_key": key}


def certificates() -> tuple[str, str, str]:
    """The paths of certificate, key and authority."""
    names = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
    found = [os.environ.get(name, "") for name in names]
    if missing := [name for name, path in zip(names, found, strict=True) if not path]:
        raise unusable(f"{' and '.join(missing)} not set")
    return found[0], found[1], found[2]


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unusable(error) from error


def unusable(why: object) -> DataflowError:
    """The error of TLS without usable certificates."""
    return DataflowError(
        Report(
            f"RAY_USE_TLS is set, and the certificates cannot be used: {why}",
            location=os.uname().nodename,
            hint="RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT name files, on every machine of the cluster",
        )
    )
