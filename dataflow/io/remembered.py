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
from dataflow.io.footer_shapes import SMALL, Shape, alike, footer_bytes, shape_of
from dataflow.record import record

__all__ = ["Footer", "footer_of", "metadata_of"]

FOOTERS = 200_000  # about 400 bytes each
SHAPES = 32  # each is compared with
METADATA = 128  # 3 kB each, but megabytes for files of thousands of row groups


@record
class Footer:
    """The columns of a file, and of each of its row groups the decoded bytes and the rows."""

    schema: pa.Schema
    groups: tuple[tuple[int, int], ...]


def footer_of(info: FileInfo, open_file: Callable[[str], Any], read_end: Callable[[str, int], bytes] | None = None) -> Footer:
    """The footer of a file; ``open_file`` opens one as `footer_reader.opened_footer` does. ``read_end``, where it costs little, reads
    the last few bytes of one: small files are then compared with those that are known."""
    known = _footers.get((info.path, info.version))
    if known is not None:
        return known
    if read_end is None or not 0 < info.size <= SMALL:
        return _read(info, open_file)[0]
    data = footer_bytes(info.size, lambda count: read_end(info.path, count))
    found = alike(data, info.size, _shapes)
    if found is not None:
        footer = Footer(*found)
        _keep(info, footer)
        return footer
    footer, _ = _read(info, open_file)
    if len(_shapes) < SHAPES and (shape := shape_of(data, footer.schema)) is not None:
        _shapes.append(shape)
    return footer


def metadata_of(info: FileInfo, open_file: Callable[[str], Any]) -> Any:
    """The whole `pyarrow.parquet.FileMetaData` of a file."""
    known = _metadata.get((info.path, info.version))
    return known if known is not None else _read(info, open_file)[1]


_footers: dict[tuple[str, str], Footer] = {}
_metadata: dict[tuple[str, str], Any] = {}
_schemas: dict[bytes, pa.Schema] = {}
_shapes: list[Shape] = []
_lock = threading.Lock()


def _read(info: FileInfo, open_file: Callable[[str], Any]) -> tuple[Footer, Any]:
    with open_file(info.path) as file:
        meta, schema = file.metadata, file.schema_arrow
    groups = (meta.row_group(at) for at in range(meta.num_row_groups))
    footer = Footer(_schemas.setdefault(schema.serialize().to_pybytes(), schema), tuple((g.total_byte_size, g.num_rows) for g in groups))
    _keep(info, footer, meta)
    return footer, meta


def _keep(info: FileInfo, footer: Footer, meta: Any = None) -> None:
    if info.version.startswith(":"):  # a store that does not tell versions
        return
    with _lock:
        for kept, most, value in ((_footers, FOOTERS, footer), (_metadata, METADATA, meta)):
            if value is not None:
                while len(kept) >= most:
                    del kept[next(iter(kept))]
                kept[info.path, info.version] = value  # type: ignore[index]
