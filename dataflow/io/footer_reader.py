"""The footer of a Parquet file by itself: its metadata and its columns.

`pyarrow.parquet` opens files by way of `pyarrow.fs`, and so imports Arrow's clients of all stores, and ``ssl`` for them: 15 ms that a
small run must not pay to see the columns of its input. The reader below it is the one that it uses; as that is Arrow's own, a version that
has no such reader is asked in the official way.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO

__all__ = ["LIMITS", "opened_footer"]

LIMITS = {"thrift_string_size_limit": 1 << 26, "thrift_container_size_limit": 1 << 22}  # a damaged length asks for no more memory


@contextmanager
def opened_footer(file: str | BinaryIO) -> Generator[Any]:
    """A file, by its path or opened, with its ``metadata`` and ``schema_arrow``; it is closed afterwards.

    >>> import io, pyarrow as pa, pyarrow.parquet as pq
    >>> pq.write_table(pa.table({"n": [1, 2]}), out := io.BytesIO())
    >>> with opened_footer(out) as footer:
    ...     footer.metadata.num_rows, footer.schema_arrow.names
    (2, ['n'])
    """
    with closing(_opened(file)) as footer:
        yield footer


def _opened(file: str | BinaryIO) -> Any:
    try:
        from pyarrow._parquet import ParquetReader

        reader = ParquetReader()
        reader.open(file, arrow_extensions_enabled=True, **LIMITS)
    except (ImportError, TypeError):
        from pyarrow.parquet import ParquetFile

        return ParquetFile(file, **LIMITS)
    return reader
