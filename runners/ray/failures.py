"""Ray's errors in our words."""

from __future__ import annotations

import re

from dataflow.errors import DataflowError, Report, WorkerCrashedError

__all__ = ["cannot_start", "how_it_died"]


def how_it_died(error: Exception) -> str:
    """How a hand ended, in the words of the scheduler, which tries a lack of memory otherwise than a crash."""
    text = " ".join(str(error).split())
    # Ray's text of any death speaks of the system's OOM killer as one of the possible reasons
    if type(error).__name__ == "OutOfMemoryError" or "running low on memory" in text:
        return "out of memory (ended by Ray, as its machine ran short)"
    signal = re.search(r"SIG[A-Z]+|exit code -?\d+", text)
    return f"worker crashed ({signal[0]})" if signal else "worker crashed (its process on the Ray cluster is gone)"


def cannot_start(error: Exception) -> DataflowError:
    """Workers on the cluster that end before they are ready."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else type(error).__name__)
    return WorkerCrashedError(
        Report(
            f"workers cannot be started on the Ray cluster: {reason[:300]}",
            hint="the same Python, pyarrow and packages are needed on all machines; `ray logs` has more",
        )
    )
