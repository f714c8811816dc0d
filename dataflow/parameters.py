"""What the command line gave a script by ``--param``, in the processes that its functions run in: `api.settings.param` looks here, too."""

from __future__ import annotations

__all__ = ["given"]

given: dict[str, str] = {}
