"""Parquet files whose footer no longer tells Arrow's schema, for readers that do not know all of Arrow's types. Standard library only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["plain"]

NAME = b"ARROW:schema"


def plain(path: Path) -> str:
    """A copy, made once in a folder beside the file's own, in which the key of Arrow's schema is spelled so that nobody knows it.

    ``tpchgen-cli`` writes there that text is of Arrow's type string view, which Daft 0.7 refuses. Pages and statistics stay as they were.
    """
    copy = path.parent.with_name(f"{path.parent.name}-plain") / path.name
    if not copy.exists():
        copy.parent.mkdir(exist_ok=True)
        part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
        shutil.copyfile(path, part)
        with part.open("r+b") as file:
            file.seek(-8, os.SEEK_END)
            length = int.from_bytes(file.read(4), "little")
            file.seek(-8 - length, os.SEEK_END)
            footer = file.read(length)
            file.seek(-8 - length, os.SEEK_END)
            file.write(footer.replace(NAME, NAME.lower()))
        part.rename(copy)
    return str(copy)
