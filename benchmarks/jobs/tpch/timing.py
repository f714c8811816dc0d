"""Runs the 22 queries one after the other in one process, with their times as the result. Needs nothing but the standard library."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def run(query: Callable[[int], T], write: Callable[[T, Path], None], target: str) -> None:
    """Print the seconds of each query, from its writing to its last record here; results are kept outside of that."""
    folder = Path(target)
    folder.mkdir()
    parts: dict[str, float] = {}
    for number in range(1, 23):
        begun = time.perf_counter()
        found = query(number)
        parts[f"q{number}"] = time.perf_counter() - begun
        write(found, folder / f"q{number:02}.parquet")
    print(json.dumps({"seconds": sum(parts.values()), "parts": parts}))
