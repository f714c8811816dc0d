"""A file of one format that is read as another, told by its first bytes; asked for where a file cannot be read, or holds zeros.

>>> mistaken_for(b"PAR1\\x15\\x04")
'it begins as a Parquet file does: read_parquet'
>>> mistaken_for(b"name,price")
''
"""

from __future__ import annotations

__all__ = ["mistaken_for"]

_BEGINNINGS = (
    (b"PAR1", "a Parquet file", "read_parquet"),
    (b"ARROW1", "a file of Arrow IPC", "read_ipc"),
    (b"Obj\x01", "an Avro file", "read_avro"),
    (b"PK\x03\x04", "a zip archive, such as a workbook of Excel,", "unpack it, or save it as CSV"),
    (b"\x1f\x8b", "a file compressed by gzip", "its name is to end in .gz"),
    (b"BZh", "a file compressed by bzip2", "its name is to end in .bz2"),
    (b"\xfd7zXZ\x00", "a file compressed by xz", "its name is to end in .xz"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd", "its name is to end in .zst"),
    (b"ORC", "an ORC file", "convert it to Parquet"),
    (b"SQLite format 3\x00", "a database of SQLite", "export its tables"),
    (b"\x89HDF\r\n", "an HDF5 file", "convert it to Parquet"),
)


def mistaken_for(head: bytes) -> str:
    """What a file seems to be by its first bytes, and what to do then; "" if that is not known."""
    return next((f"it begins as {what} does: {then}" for begins, what, then in _BEGINNINGS if head.startswith(begins)), "")
