"""What the command line gave a script by ``--param``, in every process that its functions run in; `api.settings.param` reads it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["give", "given"]

given: dict[str, str] = {}


def give(params: Mapping[str, str]) -> None:
    """From now on, these and no others are given."""
    given.clear()
    given.update(params)
