"""Ray's errors in our words."""

from __future__ import annotations

from dataflow.errors import DataflowError, Report, WorkerCrashedError

__all__ = ["cannot_start"]


def cannot_start(text: str) -> DataflowError:
    """Workers on the cluster that end before they are ready."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "no reason given")
    return WorkerCrashedError(
        Report(
            f"workers cannot be started on the Ray cluster: {reason[:300]}",
            hint="the same Python, pyarrow and packages are needed on all machines; `ray logs` has more",
        )
    )
