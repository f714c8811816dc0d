"""How a cluster is found and used; known before Ray is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["INSIDE", "RaySettings"]

INSIDE = "DATAFLOW_RAY_CLUSTER"  # in the environment of a worker: the address of the cluster that it works for


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
