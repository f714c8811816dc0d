"""Makes the inputs, the same on every machine, and knows from the making what a right result is."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

__all__ = ["counts_fingerprint", "made_once", "random_records", "zipf_text"]

WORDS = 200_000
WORDS_A_LINE = 12
RECORD = 100
LETTERS = np.array(list("etaoinshrdlcumwfgypbvkjxqz"))


def made_once(path: Path, make: Callable[[Path], str]) -> str:
    """What ``make`` says of the file it writes; done once, and remembered beside the file."""
    known = path.with_name(path.name + ".expected")
    if not (path.exists() and known.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        known.write_text(json.dumps(make(part)))
        part.rename(path)
    return str(json.loads(known.read_text()))


def counts_fingerprint(counts: Iterable[tuple[str, int]]) -> str:
    """Rows, sum and checksum of word counts in any order."""
    rows = total = mixed = 0
    for word, count in counts:
        rows += 1
        total += count
        mixed = (mixed + zlib.crc32(word.encode()) * count) % 2**64
    return f"{rows} words, {total} in all, checksum {mixed:016x}"


def zipf_text(path: Path, size: int, lines: int | None = None) -> str:
    """About ``size`` bytes, or ``lines`` lines, of words whose frequency falls as rank**-1.07, as in natural text."""
    rng = np.random.default_rng(20261120)
    words = _vocabulary(rng)
    weights = np.arange(1, WORDS + 1) ** -1.07
    edges = np.cumsum(weights / weights.sum())
    counts = np.zeros(WORDS, np.int64)
    written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size if lines is None else not written:
            some = lines or min(100_000, (size - written) // 70 + 1)
            picked = np.minimum(np.searchsorted(edges, rng.random(some * WORDS_A_LINE)), WORDS - 1)
            counts += np.bincount(picked, minlength=WORDS)
            text = [words[i] for i in picked.tolist()]
            written += file.write("\n".join(" ".join(text[i : i + WORDS_A_LINE]) for i in range(0, len(text), WORDS_A_LINE)) + "\n")
    return counts_fingerprint((word, count) for word, count in zip(words, counts.tolist(), strict=True) if count)


def _vocabulary(rng: np.random.Generator) -> list[str]:
    """Different words, short ones first."""
    found: dict[str, None] = {}
    turn = 0
    while len(found) < WORDS:
        turn += 1
        length = min(1 + turn, 10)
        drawn = LETTERS[np.minimum(rng.exponential(6, (8_000, length)).astype(int), len(LETTERS) - 1)]
        found.update(dict.fromkeys(map("".join, drawn.tolist())))
    return list(found)[:WORDS]


def random_records(path: Path, count: int) -> str:
    """``count`` lines of 99 printable ASCII characters; gives the SHA-256 of the lines in order of their bytes."""
    rng = np.random.default_rng(20261121)
    records = np.empty((count, RECORD), np.uint8)
    for first in range(0, count, 500_000):
        records[first : first + 500_000] = rng.integers(33, 127, size=(min(500_000, count - first), RECORD), dtype=np.uint8)
    records[:, -1] = ord("\n")
    records.tofile(path)
    lines = records.view(f"S{RECORD}").ravel()
    lines.sort()
    return hashlib.sha256(lines.data).hexdigest()
