"""Ray Data, where it is installed: its door is the Ray runner's, found by name as runners are."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dataflow.api.building import plan_error

__all__ = ["ray_data"]


def ray_data() -> Any:
    """The module that knows Ray's datasets."""
    try:
        return import_module("runners.ray.datasets")
    except ModuleNotFoundError as error:
        raise plan_error(f"Ray Data cannot be used: {error}", hint="pip install 'dataflow-engine[ray,pandas]'") from error
