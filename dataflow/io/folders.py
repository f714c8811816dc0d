"""Hive folders: the values in the names of folders, and the folders that hold the values a query asks for.

out/dt=2024-01-01/a.parquet  ──folder_values──>  2024-01-01  out/dt=2024-01-01
out/dt=2024-01-02/a.parquet                      2024-01-02  out/dt=2024-01-02
                                                     └─ a condition chooses ──> Chosen, with which a source reads only those
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from dataflow.record import record

if TYPE_CHECKING:
    from dataflow.expr.nodes import ExprNode
    from dataflow.expr.types import Schema
    from dataflow.io.files import FileInfo

__all__ = ["Chosen", "FolderValues", "as_the_kernel_does", "folder_values", "in_path", "types_in_folders", "value_of"]

NULL = "__HIVE_DEFAULT_PARTITION__"


@record
class Chosen:
    """The folders that are read of all there are. ``layout``: the columns in all the files, ``types``: those of the folders; both were
    found from all files, and do not change with how many are read. ``text`` says what was chosen."""

    folders: tuple[str, ...]
    layout: pa.Schema
    types: Mapping[str, pa.DataType]
    text: str


@record
class FolderValues:
    """Every folder that has files, and its values as a row of ``table``."""

    table: pa.Table
    folders: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.folders)

    def columns(self) -> Schema:
        """The columns that folder names tell."""
        from dataflow.kernels.types import schema_from_arrow

        return schema_from_arrow(self.table.schema)

    def where(self, conditions: Sequence[ExprNode]) -> tuple[str, ...] | None:
        """The folders for which conditions are true; None where one fails."""
        from dataflow.kernels.conditions import rows_where

        rows = rows_where(self.table, conditions)
        return tuple(self.folders[at] for at in rows) if rows is not None else None


def in_path(roots: Sequence[str], path: str) -> dict[str, str | None]:
    """The ``key=value`` folders between a root and a file; null for Hive's default partition."""
    root = max((r for r in roots if path == r or path.startswith(r if r.endswith("/") else f"{r}/")), key=len, default="")
    found: dict[str, str | None] = {}
    for part in PurePosixPath(path.removeprefix(root)).parts[:-1]:
        name, equals, value = part.partition("=")
        if equals and name:
            found[unquote(name)] = None if value == NULL else unquote(value)
    return found


def as_the_kernel_does(folders: Sequence[str], names: Collection[str]) -> bool:
    """Whether the kernel, which looks at whole paths, finds these columns in the names of folders and no others, and the same values.

    >>> as_the_kernel_does(["/data/day=1"], ["day"]), as_the_kernel_does(["/run=3/day=1"], ["day"])
    (True, False)
    """
    for folder in folders:
        parts = [part.partition("=") for part in folder.split("/") if "=" in part]
        if [name for name, _, _ in parts] != list(names):
            return False
        for _, _, value in parts:
            read = unquote(value)
            odd = not value or "=" in value or "*" in value or "\ufffd" in read  # of the last the kernel makes nothing
            if odd or (read == NULL != value):
                return False
    return True


def folder_of(path: str) -> str:
    """The folder of a file."""
    return path.rpartition("/")[0]


def types_in_folders(files: Sequence[FileInfo], hive: Callable[[str], dict[str, str | None]]) -> dict[str, pa.DataType]:
    """The columns in folder names and their types: int64 or date32 if all values are spelled as those are written, else text."""
    values: dict[str, set[str]] = {}
    for folder in dict.fromkeys(folder_of(info.path) for info in files):
        for name, value in hive(f"{folder}/x").items():
            values.setdefault(name, set()).update(() if value is None else (value,))
    known = ((_is_int, pa.int64()), (_is_date, pa.date32()))
    return {name: next((kind for fits, kind in known if found and all(map(fits, found))), pa.string()) for name, found in values.items()}


def folder_values(
    files: Sequence[FileInfo], hive: Callable[[str], dict[str, str | None]], types: Mapping[str, pa.DataType]
) -> FolderValues | None:
    """The values of every folder, of columns that all the folders have; None where there are none."""
    folders = tuple(dict.fromkeys(folder_of(info.path) for info in files))
    rows = [hive(f"{folder}/x") for folder in folders]
    names = [name for name in types if all(name in row for row in rows)]
    if not names:
        return None
    columns = {name: pa.array([value_of(row[name], types[name]) for row in rows], types[name]) for name in names}
    return FolderValues(pa.table(columns), folders)


def value_of(text: str | None, kind: Any) -> Any:
    """A folder's value as Python's of the type that all of them have."""
    match str(kind):
        case "int64" if text is not None:
            return int(text)
        case "date32[day]" if text is not None:
            return dt.date.fromisoformat(text)
        case _:
            return text


def _is_int(text: str) -> bool:
    """Whether a text is what an int64 is written as: "7", not "07", which is some code."""
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and str(int(text)) == text and -(2**63) <= int(text) < 2**63


def _is_date(text: str) -> bool:
    if len(text) != 10:
        return False
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
