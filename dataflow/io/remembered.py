"""Footers of Parquet files, read once for each version of a file.

    files() ──> columns, statistics, splits, answers …  each asks for footers ──> remembered by (path, version) ──> the file

A plan asks several times for the same footers: for the columns when a source is named, for its size and statistics when the plan
is made, for its row groups when it is cut into splits. A file's version changes with its content, so what is remembered is
never wrong, and never cleared by a run. So are the statistics of columns: to guess one from 64 row groups takes a fifth of a
millisecond, and a small query over several tables asks for thirty. What takes much memory, the whole metadata, is kept for few
files; schemas are kept once for all the files that have the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from dataflow.expr.types import Schema
from dataflow.io.files import FileInfo
from dataflow.io.footer_shapes import SMALL, Shape, alike, footer_bytes, shape_of
from dataflow.plan.statistics import ColumnStatistics, Statistics
from dataflow.record import record

__all__ = ["Footer", "footer_of", "metadata_of", "statistics_of", "without_nulls_of"]

FOOTERS = 200_000  # about 400 bytes each
SHAPES = 32  # each is compared with
COLUMNS = 10_000  # about 300 bytes each
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


def statistics_of(
    files: Sequence[FileInfo], share: float, schema: Schema, guess: Callable[[Schema], Statistics | None]
) -> Statistics | None:
    """What files, which are ``share`` of all, tell of columns; those of which nothing is remembered are guessed."""
    key = share, *((info.path, info.version) for info in files)
    rows = _rows.get(key)
    known = {name: _columns.get((key, name, kind)) for name, kind in schema.items()}
    missing = {name: schema[name] for name, one in known.items() if one is None}
    if missing or rows is None:
        found = guess(missing)
        if found is None:
            return None
        rows = found.rows
        known |= found.columns
        if not any(info.version.startswith(":") for info in files):
            with _lock:
                _put(_rows, COLUMNS, key, rows)
                for name, one in found.columns.items():
                    _put(_columns, COLUMNS, (key, name, schema[name]), one)
    return Statistics(rows, {name: one for name, one in known.items() if one is not None})


def without_nulls_of(info: FileInfo, names: frozenset[str], look: Callable[[frozenset[str]], frozenset[str]]) -> frozenset[str]:
    """Those of some columns that hold no null in a file; ``look`` tells of those of which nothing is remembered."""
    key = info.path, info.version
    known = {name: _nulls.get((*key, name)) for name in names}
    missing = frozenset(name for name, full in known.items() if full is None)
    found = look(missing) if missing else frozenset()
    if missing and not info.version.startswith(":"):
        with _lock:
            for name in missing:
                _put(_nulls, COLUMNS, (*key, name), name in found)
    return found.union(name for name, full in known.items() if full)


_rows: dict[Any, float] = {}
_nulls: dict[tuple[str, str, str], bool] = {}
_columns: dict[Any, ColumnStatistics] = {}
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
                _put(kept, most, (info.path, info.version), value)


def _put(kept: dict[Any, Any], most: int, key: Any, value: Any) -> None:
    while len(kept) >= most:
        del kept[next(iter(kept))]
    kept[key] = value
