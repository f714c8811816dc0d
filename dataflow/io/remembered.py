"""Footers of Parquet files, read once for each version of a file.

    files() ──> columns, statistics, splits, answers …  each asks for footers ──> remembered by (path, version) ──> the file

A plan asks several times for the same footers: for the columns when a source is named, for its size and statistics when the plan
is made, for its row groups when it is cut into splits. A file's version changes with its content, so what is remembered is
never wrong, and never cleared by a run. What takes much memory, the whole metadata, is kept for few files; schemas are kept once for
all the files that have the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dataflow.io.files import FileInfo
from dataflow.record import record

__all__ = ["Footer", "footer_of", "metadata_of"]

FOOTERS = 200_000  # about 400 bytes each
METADATA = 128  # 3 kB each, but megabytes for files of thousands of row groups


@record
class Footer:
    """The columns of a file, and of each of its row groups the decoded bytes and the rows."""

    schema: pa.Schema
    groups: tuple[tuple[int, int], ...]


def footer_of(info: FileInfo, open_file: Callable[[str], Any]) -> Footer:
    """The footer of a file; ``open_file`` opens one as `pyarrow.parquet.ParquetFile`."""
    known = _footers.get((info.path, info.version))
    return known if known is not None else _read(info, open_file)[0]


def metadata_of(info: FileInfo, open_file: Callable[[str], Any]) -> Any:
    """The whole `pyarrow.parquet.FileMetaData` of a file."""
    known = _metadata.get((info.path, info.version))
    return known if known is not None else _read(info, open_file)[1]


_footers: dict[tuple[str, str], Footer] = {}
_metadata: dict[tuple[str, str], Any] = {}
_schemas: dict[bytes, pa.Schema] = {}
_lock = threading.Lock()


def _read(info: FileInfo, open_file: Callable[[str], Any]) -> tuple[Footer, Any]:
    with open_file(info.path) as file:
        meta, schema = file.metadata, file.schema_arrow
    groups = (meta.row_group(at) for at in range(meta.num_row_groups))
    footer = Footer(_schemas.setdefault(schema.serialize().to_pybytes(), schema), tuple((g.total_byte_size, g.num_rows) for g in groups))
    if not info.version.startswith(":"):  # a store that tells versions
        with _lock:
            for kept, most, value in ((_footers, FOOTERS, footer), (_metadata, METADATA, meta)):
                while len(kept) >= most:
                    del kept[next(iter(kept))]
                kept[info.path, info.version] = value  # type: ignore[index]
    return footer, meta
