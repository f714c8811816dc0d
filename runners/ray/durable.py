"""Durable shuffles: what tasks write for each other goes to storage that all machines see, and outlives the machine that wrote it.

    shuffle_folder="/mnt/common"  ─> file:///mnt/common/dataflow-<run>/      hands write there, every hand reads there itself
    shuffle_folder="s3://bucket/x" ─> s3://bucket/x/dataflow-<run>/

A machine that vanishes then costs the attempts it ran, and no work that was done: for machines that are cheap because they may be
taken away at any moment.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from dataflow.errors import DataflowError, Report, redact
from dataflow.shard.places import is_shared, make_folder, remove_folder

__all__ = ["shared_folder"]


def shared_folder(parent: str, run: str, stack: ExitStack) -> str:
    """The URL of a new folder of a run, which goes with the run."""
    if any(part.startswith("memory:") for part in parent.split("::")):  # fsspec chains them so
        raise _unusable("memory:// is this process's own, and no machine sees another's", parent)
    url = parent.rstrip("/") if is_shared(parent) else f"file://{os.path.abspath(parent)}"
    made = f"{url}/dataflow-{run}"
    try:
        make_folder(made)
    except (OSError, ImportError, ValueError) as error:
        raise _unusable(error, parent) from error
    stack.callback(remove_folder, made)
    return made


def _unusable(why: object, parent: str) -> DataflowError:
    return DataflowError(
        Report(
            f"shuffle_folder cannot be used: {redact(str(why))}",
            location=redact(parent),
            hint="a folder that all machines of the cluster share, or a URL that fsspec knows, such as s3://bucket/folder",
        )
    )
