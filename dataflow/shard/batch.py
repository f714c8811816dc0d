"""A batch: some elements, held as what they came as, seen as what the next step needs.

Elements stay Python lists inside a chain of Python functions and become Arrow at a boundary only. A batch is
one of the classes below; each gives the same views, made on demand:

    class      holds                              cheap views
    Rows       a list of any values               rows
    Pairs      a column of keys, one of values    keys, values (no tuple is ever made unless asked for)
    Lines      bytes of whole lines of text       rows (one decode and split), arrow (no copy), words
    Values     an Arrow array                     arrow
    Records    an Arrow table of columns          table

    rows() -> list          pairs() -> (list, list)         slice(i, j) -> the same kind of batch
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "MOST_BYTES", "Batch", "Lines", "NotPairs", "Pairs", "Records", "Rows", "Same", "Values", "in_parts", "numpy_offsets", "raw_pairs",
]  # fmt: skip


class NotPairs(TypeError):
    """An element that should be a (key, value) pair is not; ``index`` is its place in the batch."""

    def __init__(self, index: int, element: Any) -> None:
        super().__init__(f"expected a (key, value) pair, got {type(element).__name__}")
        self.index, self.element = index, element


class Batch:
    """Some elements. See the module's header for the kinds."""

    __slots__ = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def rows(self) -> list[Any]:
        """The elements as a list; do not change it."""
        raise NotImplementedError

    def slice(self, start: int, stop: int) -> Batch:
        """The elements from ``start`` up to ``stop``."""
        return Rows(self.rows()[start:stop])

    def pairs(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """The keys and the values of a batch of pairs."""
        return split_pairs(self.rows())


class Rows(Batch):
    """A list of values."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def rows(self) -> list[Any]:
        return self.items


class Pairs(Batch):
    """Pairs as two columns of equal length, each a list or an Arrow array."""

    __slots__ = ("keys", "values")

    def __init__(self, keys: Sequence[Any], values: Sequence[Any]) -> None:
        self.keys, self.values = keys, values

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self) -> list[Any]:
        return list(zip(*self.pairs(), strict=True))

    def slice(self, start: int, stop: int) -> Batch:
        return Pairs(self.keys[start:stop], self.values[start:stop])

    def pairs(self) -> tuple[Sequence[Any], Sequence[Any]]:
        return _python(self.keys), _python(self.values)


def _python(column: Sequence[Any]) -> Sequence[Any]:
    if isinstance(column, (list, Same)):
        return column
    if hasattr(column, "to_pylist"):
        from dataflow.shard.codec import to_list

        return to_list(column)  # type: ignore[arg-type]
    return list(column)


def raw_pairs(batch: Batch) -> tuple[Sequence[Any], Sequence[Any]]:
    """Keys and values as they are held: Arrow columns stay Arrow."""
    return (batch.keys, batch.values) if isinstance(batch, Pairs) else batch.pairs()


class Lines(Batch):
    """Whole lines of UTF-8 text, each ended by a newline except perhaps the last. Rows have no line ends."""

    __slots__ = ("_ends", "_rows", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._ends: np.ndarray | None = None
        self._rows: list[Any] | None = None

    def ends(self) -> np.ndarray:
        """For each line the offset just past its last character, the newline not counted."""
        if self._ends is None:
            found = np.flatnonzero(np.frombuffer(self.data, np.uint8) == 10)
            if not self.data.endswith(b"\n") and self.data:
                found = np.append(found, len(self.data))
            self._ends = found
        return self._ends

    def __len__(self) -> int:
        return len(self._rows) if self._rows is not None else len(self.ends())

    def rows(self) -> list[Any]:
        if self._rows is None:
            text = self.data.decode()
            rows = text.split("\n")
            if rows and rows[-1] == "":
                rows.pop()
            if "\r" in text:
                rows = [row[:-1] if row.endswith("\r") else row for row in rows]
            self._rows = rows
        return self._rows

    def slice(self, start: int, stop: int) -> Batch:
        ends = self.ends()
        start, stop = min(start, len(ends)), min(stop, len(ends))
        begin = 0 if start == 0 else int(ends[start - 1]) + 1
        end = int(ends[stop - 1]) + 1 if stop > start else begin
        return Lines(self.data[begin:end])

    def arrow(self) -> pa.Array:
        """The lines as a ``large_string`` array over the same bytes where they hold no carriage return."""
        import pyarrow as pa

        if b"\r" in self.data:
            return pa.array(self.rows(), pa.large_string())
        ends = self.ends()
        data = np.frombuffer(self.data, np.uint8)
        keep = np.ones(len(data), bool)
        keep[ends[ends < len(data)]] = False
        offsets = np.empty(len(ends) + 1, np.int64)
        offsets[0] = 0
        offsets[1:] = ends - np.arange(len(ends))
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data[keep])]
        return pa.Array.from_buffers(pa.large_string(), len(ends), buffers)


class Values(Batch):
    """An Arrow array of values."""

    __slots__ = ("_rows", "array")

    def __init__(self, array: pa.Array) -> None:
        self.array = array
        self._rows: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.array)

    def rows(self) -> list[Any]:
        if self._rows is None:
            from dataflow.shard.codec import to_list

            self._rows = to_list(self.array)
        return self._rows

    def slice(self, start: int, stop: int) -> Batch:
        return Values(self.array.slice(start, max(0, stop - start)))


class Records(Batch):
    """Records as the columns of an Arrow table; a row is a dict."""

    __slots__ = ("_rows", "table")

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._rows: list[Any] | None = None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def rows(self) -> list[Any]:
        if self._rows is None:
            from dataflow.shard.codec import to_list

            names = self.table.column_names
            columns = [to_list(column) for column in self.table.columns]
            self._rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if names else [{}] * len(self)
        return self._rows

    def slice(self, start: int, stop: int) -> Batch:
        return Records(self.table.slice(start, max(0, stop - start)))


class Same(Sequence[Any]):
    """One value, many times, without the list."""

    __slots__ = ("times", "value")

    def __init__(self, value: Any, count: int) -> None:
        self.value, self.times = value, count

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Any]:
        return repeat(self.value, self.times)

    def __getitem__(self, index: Any) -> Any:
        return Same(self.value, len(range(*index.indices(self.times)))) if isinstance(index, slice) else self.value


MOST_BYTES = 1 << 30  # that are put end to end: Arrow counts the bytes of most texts in 32 bits, and some of its kernels count twice


def in_parts(batch: Batch, most: int | None = None) -> Iterator[Batch]:
    """A batch in parts that can be encoded: records of no more bytes than 32 bits count, but for a single one.

    >>> import pyarrow as pa
    >>> [len(part) for part in in_parts(Records(pa.table({"s": ["x" * 100] * 5})), 250)]
    [2, 1, 2]
    """
    most = MOST_BYTES if most is None else most
    if not isinstance(batch, Records) or len(batch) < 2 or batch.table.nbytes <= most:
        yield batch
        return
    half = len(batch) // 2
    yield from in_parts(batch.slice(0, half), most)
    yield from in_parts(batch.slice(half, len(batch)), most)


_FIRST, _SECOND = itemgetter(0), itemgetter(1)


def split_pairs(rows: list[Any]) -> tuple[list[Any], list[Any]]:
    """Keys and values of a list of pairs (two itemgetters are 20 times faster here than ``zip(*rows)``)."""
    kinds = set(map(type, rows))
    if kinds <= {tuple} and set(map(len, rows)) <= {2}:
        return list(map(_FIRST, rows)), list(map(_SECOND, rows))
    for index, row in enumerate(rows):
        if not isinstance(row, tuple) or len(row) != 2:
            raise NotPairs(index, row)
    return [row[0] for row in rows], [row[1] for row in rows]


def numpy_offsets(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (length n + 1) and bytes of a large_string or large_binary array, without a copy."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8)
    return ends, np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
