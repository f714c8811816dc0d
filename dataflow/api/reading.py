"""Where collections come from: values at hand, tables of others, and files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dataflow.api.building import Labels, plan_error
from dataflow.api.collection import PCollection
from dataflow.api.table import PTable
from dataflow.plan.nodes import Read
from dataflow.plan.origin import caller
from dataflow.sizes import parse_size

if TYPE_CHECKING:
    from dataflow.api.pipeline import Pipeline
    from dataflow.io.columnar import ColumnarSource

__all__ = ["Reading"]

T = TypeVar("T")
S = TypeVar("S", bound="ColumnarSource")
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def _check_elements(values: object) -> None:
    """Not one text, whose characters would be the elements, nor a mapping, whose keys would."""
    if isinstance(values, Mapping):
        hint = "create(d.items()) has its pairs, create([d]) is one record, from_arrow(pyarrow.table(d)) takes it for columns"
    elif isinstance(values, (str, bytes, bytearray)):
        hint = "create([text]) is one element, create(list(text)) each character"
    elif isinstance(values, Iterable) or hasattr(values, "__getitem__"):
        return
    else:
        hint = "create([value]) is one element"
    raise plan_error(f"create takes elements one by one, as a list has them, and this is one {type(values).__name__}", hint=hint)


class Reading:
    """The part of `Pipeline` that begins collections."""

    labels: Labels

    def create(self, values: Iterable[T], label: str | None = None, *, schema: Any = None) -> PCollection[T]:
        """A collection of values at hand.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([3, 1, 2]).map(lambda n: n * 10).collect()
        [30, 10, 20]

        ``schema``: of records, their columns and types: names to types, a ``pyarrow.Schema``, or a dataclass. Without it they are those
        that the records have, and of no records unknown.

        >>> Pipeline().create([], schema={"who": str, "price": "decimal(15, 2)"}).schema
        {'who': DType('string'), 'price': DType('decimal(15, 2)')}
        """
        from dataflow.io.whole import ListSource

        _check_elements(values)
        if schema is not None:
            from dataflow.api.creating import records_of, schema_said

            said = schema_said(schema)
            return cast("PCollection[T]", self.from_arrow(records_of(values, said), label or "create"))
        if isinstance(values, (list, tuple, range)) or not hasattr(values, "__arrow_c_stream__"):
            return self._read(ListSource(list(values)), label or "create")
        return cast("PCollection[T]", self.from_arrow(values, label))

    def from_arrow(self, data: Any, label: str | None = None) -> PCollection[dict[str, Any]]:
        """The rows of anything that speaks the Arrow stream interface: pandas, Polars, DuckDB, pyarrow, …, as records.

        >>> from dataflow import Pipeline
        >>> import pyarrow as pa
        >>> Pipeline().from_arrow(pa.table({"n": [1, 2]})).collect()
        [{'n': 1}, {'n': 2}]
        """
        import pyarrow as pa

        from dataflow.io.whole import ArrowSource

        if not hasattr(data, "__arrow_c_stream__"):
            raise plan_error(
                f"from_arrow needs an object with __arrow_c_stream__, not {type(data).__name__}", hint="create() takes plain values"
            )
        try:
            if hasattr(data, "index") and hasattr(data, "columns"):  # of pandas, whose index is no column if it has no name
                named = any(name is not None for name in data.index.names)
                table = pa.Table.from_pandas(data, preserve_index=None if named else False)
            else:
                table = pa.RecordBatchReader.from_stream(data).read_all()
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise plan_error(f"from_arrow cannot read this {type(data).__name__}: {error}") from error
        return self._read(ArrowSource(table), label or "from_arrow", dict[str, Any])

    def from_ray(self, dataset: Any, label: str | None = None) -> PCollection[dict[str, Any]]:
        """The rows of a ``ray.data.Dataset`` as records, read where its blocks are. Needs the extra ``ray``.

        >>> from dataflow import Pipeline
        >>> orders = Pipeline().from_ray(ray.data.read_parquet("orders/"))  # doctest: +SKIP

        A split is a block, by reference: whoever reads it sees the memory of Ray's object store, on Ray and on this machine's processes.
        The dataset is computed when the run begins, and once. `PCollection.to_ray` is the way back.
        """
        from dataflow.api.ray_data import ray_data

        return self._read(ray_data().source_of(dataset), label or "from_ray", dict[str, Any])

    def read_text(
        self,
        paths: Paths,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        longest: int | str = "256MiB",
        on_error: str = "raise",
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> PCollection[str]:
        """The lines of text files (``.gz``, ``.bz2``, ``.xz``, ``.zst`` too) without line ends.

        >>> from dataflow import Pipeline
        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe("/read-text/a.txt", b"to be\\nor not\\n")
        >>> Pipeline().read_text("memory://read-text/*.txt").collect()
        ['to be', 'or not']

        ``paths``: files, folders, globs, lists of these, anywhere fsspec reaches. ``on_error="skip"`` sets lines aside
        that are not text in the encoding. A line of more bytes than ``longest`` is an error.
        """
        from dataflow.io.text import TextSource

        _known_encoding(encoding)
        _known_errors(errors)
        source = TextSource(
            _paths(paths), dict(storage_options or {}), _skips(on_error), encoding=encoding, errors=errors, longest=parse_size(longest)
        )
        return self._read(source, label or "read_text", str)

    def read_jsonl(
        self,
        paths: Paths,
        *,
        schema: Any = None,
        longest: int | str = "256MiB",
        on_error: str = "raise",
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> PCollection[Any]:
        """The values of JSON-lines files; objects are dicts.

        >>> from dataflow import Pipeline
        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe("/read-jsonl/a.jsonl", b'{"n": 1}\\n{"n": 2}\\n')
        >>> Pipeline().read_jsonl("memory://read-jsonl/").collect()
        [{'n': 1}, {'n': 2}]

        >>> Pipeline().read_jsonl("memory://read-jsonl/", schema={"n": float}).collect()
        [{'n': 1.0}, {'n': 2.0}]

        ``schema``: the columns of all records and their types, as for `create`; what a record lacks is null, and what it has beside them an
        error. Without it, steps on columns know those of the first 8,192 lines of the first files; a record with others is an error there.
        ``on_error="skip"`` sets bad lines aside. A line of more bytes than ``longest`` is an error.
        """
        from dataflow.io.jsonl import JsonLinesSource

        types: dict[str, Any] = {}
        if schema:
            from dataflow.api.creating import schema_said

            types = {field.name: field.type for field in schema_said(schema)}
        source = JsonLinesSource(_paths(paths), dict(storage_options or {}), _skips(on_error), longest=parse_size(longest), schema=types)
        return self._read(source, label or "read_jsonl")

    def read_csv(
        self,
        paths: Paths,
        *,
        delimiter: str = ",",
        header: bool = True,
        names: Sequence[str] = (),
        schema: Any = None,
        encoding: str = "utf-8",
        columns: str = "equal",
        longest: int | str = "256MiB",
        on_error: str = "raise",
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> PCollection[dict[str, Any]]:
        """The rows of CSV files as records. Types are those of the first rows, or ``schema``'s (name to Arrow type).

        >>> from dataflow import Pipeline
        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe("/read-csv/a.csv", b"name,price\\ntea,2\\n")
        >>> Pipeline().read_csv("memory://read-csv/a.csv").collect()
        [{'name': 'tea', 'price': 2}]

        ``columns="union"``: files may have different columns. ``on_error="skip"``: ragged rows are set aside.
        A row of more bytes than ``longest`` is an error: often a quote that is never closed.
        """
        from dataflow.api.creating import schema_said
        from dataflow.io.csv import CsvSource

        _known_encoding(encoding)
        _one_character(delimiter)
        types = {field.name: field.type for field in schema_said(schema)} if schema else {}
        source = CsvSource(
            _paths(paths), dict(storage_options or {}), _skips(on_error), delimiter=delimiter, header=header, names=tuple(names),
            schema=types, encoding=encoding, union=_union(columns), longest=parse_size(longest),
        )  # fmt: skip
        return self._read(source, label or "read_csv", dict[str, Any])

    def read_parquet(
        self,
        paths: Paths,
        *,
        columns: Sequence[str] | None = None,
        schema: str = "equal",
        on_error: str = "raise",
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> PCollection[dict[str, Any]]:
        """The rows of Parquet files as records, page checksums verified; ``columns`` reads only those.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"name": "tea", "price": 2}]).write_parquet("memory://read-parquet", mode="overwrite")
        >>> p.run(progress=False).outputs[0].files
        1
        >>> Pipeline().read_parquet("memory://read-parquet", columns=["price"]).collect()
        [{'price': 2}]

        Files must agree on their columns unless ``schema="union"``; ``on_error="skip"`` passes over unreadable files.
        """
        from dataflow.io.parquet import ParquetSource

        source = _columnar(ParquetSource, paths, columns, schema, on_error, storage_options)
        return self._read(source, label or "read_parquet", dict[str, Any])

    def read_ipc(
        self,
        paths: Paths,
        *,
        columns: Sequence[str] | None = None,
        schema: str = "equal",
        on_error: str = "raise",
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> PCollection[dict[str, Any]]:
        """The rows of Arrow IPC (Feather v2) files as records, validated before use.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"name": "tea", "price": 2}]).write_ipc("memory://read-ipc", mode="overwrite")
        >>> p.run(progress=False).outputs[0].files
        1
        >>> Pipeline().read_ipc("memory://read-ipc").collect()
        [{'name': 'tea', 'price': 2}]
        """
        from dataflow.io.ipc import IpcSource

        source = _columnar(IpcSource, paths, columns, schema, on_error, storage_options)
        return self._read(source, label or "read_ipc", dict[str, Any])

    def read_avro(
        self, paths: Paths, *, storage_options: Mapping[str, Any] | None = None, label: str | None = None
    ) -> PCollection[dict[str, Any]]:
        """The records of Avro files. Needs the extra ``avro``.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"name": "tea", "price": 2}]).write_avro("memory://read-avro", mode="overwrite")
        >>> p.run(progress=False).outputs[0].files
        1
        >>> Pipeline().read_avro("memory://read-avro").collect()
        [{'name': 'tea', 'price': 2}]
        """
        from dataflow.io.whole import AvroSource

        return self._read(AvroSource(_paths(paths), dict(storage_options or {})), label or "read_avro", dict[str, Any])

    def read_binary(
        self, paths: Paths, *, storage_options: Mapping[str, Any] | None = None, label: str | None = None
    ) -> PTable[str, bytes]:
        """Each file whole: pairs (path, bytes).

        >>> from dataflow import Pipeline
        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe("/read-binary/a.jpg", b"\\xff\\xd8")
        >>> Pipeline().read_binary("memory://read-binary/").map_values(len).collect()
        [('memory://read-binary/a.jpg', 2)]
        """
        from dataflow.io.whole import BinarySource

        found = self._read(BinarySource(_paths(paths), dict(storage_options or {})), label or "read_binary", tuple[str, bytes])
        return PTable(found.pipeline, found.node)

    def _read(self, source: Any, label: str, element: Any = None) -> PCollection[Any]:
        return PCollection(cast("Pipeline", self), Read(label=self.labels.unique(label), origin=caller(), element=element, source=source))


def _columnar(
    kind: type[S], paths: Paths, columns: Sequence[str] | None, schema: str, on_error: str, storage_options: Mapping[str, Any] | None
) -> S:
    """Files that hold columns, of which only some may be wanted."""
    only = tuple(columns) if columns else None
    return kind(_paths(paths), dict(storage_options or {}), _skips(on_error), union=_union(schema), only=only)


def _paths(paths: Paths) -> tuple[str, ...]:
    many = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found = tuple(os.fspath(path) for path in many)
    if not found or not all(found):
        raise plan_error("no path was given")
    return found


def _one_character(delimiter: str) -> None:
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise plan_error(f"a delimiter is one character of ASCII, and no quote or line end, not {delimiter!r}")


def _known_errors(errors: str) -> None:
    if errors not in (known := ("strict", "replace", "ignore", "backslashreplace")):
        text = f"errors is {', '.join(map(repr, known[:-1]))} or {known[-1]!r}, not {errors!r}"
        raise plan_error(text, hint="read_binary takes what is no text")


def _known_encoding(name: str) -> None:
    import codecs

    try:
        codecs.lookup(name)
    except LookupError:
        raise plan_error(f"there is no encoding {name!r}", hint="utf-8, latin-1 and utf-16 are common ones") from None


def _skips(on_error: str) -> bool:
    if on_error not in ("raise", "skip"):
        raise plan_error(f'on_error is "raise" or "skip", not {on_error!r}')
    return on_error == "skip"


def _union(columns: str) -> bool:
    if columns not in ("equal", "union"):
        raise plan_error(f'files may have "equal" columns or their "union", not {columns!r}')
    return columns == "union"
