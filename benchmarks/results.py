"""Reads what contenders wrote, in whatever files, and tells its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import counts_fingerprint

__all__ = ["columns_fingerprint", "lines_fingerprint", "rows_fingerprint", "sums_fingerprint", "words_fingerprint"]


def words_fingerprint(target: Path) -> str:
    """Of Parquet files of (word, count)."""
    return counts_fingerprint(pair for table in _tables(target) for pair in zip(table[0].to_pylist(), table[1].to_pylist(), strict=True))


def sums_fingerprint(target: Path) -> str:
    """Of Parquet files of (key, sum)."""
    tables = list(_tables(target))
    if not tables:
        return "nothing"
    whole = pa.concat_tables([table.rename_columns(["key", "sum"]) for table in tables])
    return sums_of(whole["key"].to_numpy(), whole["sum"].to_numpy())


def sums_of(keys: np.ndarray, sums: np.ndarray) -> str:
    """Rows, sum and checksum of sums by key, in any order."""
    mixed = (keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ sums.astype(np.uint64)) * np.uint64(0xC2B2AE3D27D4EB4F)
    return f"{len(keys)} keys, {int(sums.sum())} in all, checksum {int(mixed.sum(dtype=np.uint64)):016x}"


def lines_fingerprint(target: Path) -> str:
    """SHA-256 of a text file, or of the text files of a folder one after the other in order of their names."""
    digest = hashlib.sha256()
    for path in _files(target):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def rows_fingerprint(target: Path) -> str:
    """Of Parquet files of a result each: rows, and SHA-256 of all, in any order, floats to seven digits, decimals without their scale."""
    digest, rows = hashlib.sha256(), 0
    for table in _tables(target):
        lines = sorted("|".join(map(_plainly, row)) for row in zip(*(column.to_pylist() for column in table.columns), strict=True))
        rows += len(lines)
        digest.update("\n".join([*lines, "", ""]).encode())
    return f"{rows} rows, {digest.hexdigest()[:16]}"


def columns_fingerprint(target: Path, sorted_by: Sequence[str] = ()) -> str:
    """Of Parquet files of a large table: rows, and for every column a sum over all of them; and whether rows are ``sorted_by`` columns."""
    rows = 0
    sums: list[int] = []
    last: list[np.ndarray] = []
    ordered = True
    for path in _files(target):
        for batch in pq.ParquetFile(path).iter_batches(1 << 18):
            rows += batch.num_rows
            found = [_column_sum(column) for column in batch.columns]
            sums = [a + b for a, b in zip(sums or [0] * len(found), found, strict=True)]
            keys = [batch.column(name).to_numpy(zero_copy_only=False) for name in sorted_by]
            keys = [np.concatenate(pair) for pair in zip(last, keys, strict=True)] if last else keys
            ordered, last = ordered and _rising(keys), [key[-1:] for key in keys]
    digest = hashlib.sha256(repr(sums).encode()).hexdigest()[:16]
    return f"{rows} rows, {digest}" + ("" if ordered else ", not sorted")


def _rising(keys: list[np.ndarray]) -> bool:
    """Whether no row is before the one above it, compared key by key."""
    before: np.ndarray | bool = False
    for key in reversed(keys):
        before = (key[1:] < key[:-1]) | ((key[1:] == key[:-1]) & before)
    return not np.any(before)


def _column_sum(column: pa.Array) -> int:
    """The sum of numbers and days, of the lengths of text."""
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string(kind) or pa.types.is_string_view(kind):
        column = pc.binary_length(column.cast(pa.large_string()))
    elif pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_decimal(kind):
        return int((pc.sum(column.cast(pa.decimal128(38, kind.scale))).as_py() or 0) * 100)
    return int(pc.sum(column).as_py() or 0)


def _plainly(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.7g}"
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _tables(target: Path) -> Iterator[pa.Table]:
    for path in _files(target):
        yield pq.read_table(path, partitioning=None)


def _files(target: Path) -> list[Path]:
    if target.is_file():
        return [target]
    return sorted(path for path in target.glob("**/*") if path.is_file() and not path.name.startswith((".", "_")))
