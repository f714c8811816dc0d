"""How a cluster is found and used; known, and its address looked at, before Ray is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from dataflow.errors import DataflowError, Report, shorten

__all__ = ["INSIDE", "RaySettings", "check_address"]

INSIDE = "DATAFLOW_RAY_CLUSTER"  # in the environment of a worker: the address of the cluster that it works for
_ADDRESS = re.compile(r"[^\s/@]+:(\d{1,5})")


@dataclass(frozen=True)
class RaySettings:
    """How a cluster is found. ``address``: of a cluster, "local" for one started here, None for one that is found or else started;
    ``runtime_env``: Ray's, for packages that the workers need; ``insecure``: whether a remote cluster without a token is used;
    ``spill_folder``: where shuffles go on every machine; ``paths``: local ones that every machine must see."""

    address: str | None = None
    runtime_env: dict[str, Any] = field(default_factory=dict)
    insecure: bool = False
    spill_folder: str | None = None
    paths: tuple[str, ...] = ()


def check_address(address: Any, name: str = "address") -> None:
    """Refuse what cannot be a cluster's address, as Ray takes a while to say less. ``name``: of what holds it.

    >>> check_address("10.0.0.1:6379"), check_address("auto"), check_address(None)
    (None, None, None)
    """
    if address in (None, "auto", "local") or (isinstance(address, str) and address.startswith("ray://")):  # which is refused elsewhere
        return
    found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if found is None or not 0 < int(found[1]) < 65536:
        hint = 'it is HOST:PORT, such as 10.0.0.1:6379, or "local" for a new one; without one, what runs here is used'
        raise DataflowError(Report(f"{name} {shorten(address)} is not the address of a Ray cluster", hint=hint))
