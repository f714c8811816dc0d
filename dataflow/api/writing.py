"""Sending a collection into files. Nothing is written until `Pipeline.run`, and then whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.api.base import Deferred
from dataflow.api.building import plan_error
from dataflow.plan.nodes import Node, Redistribute, Write
from dataflow.plan.origin import caller
from dataflow.plan.types import clashes, show

if TYPE_CHECKING:
    from dataflow.api.pipeline import Pipeline

__all__ = ["Writing"]

T = TypeVar("T")


class Writing(Deferred[T]):
    """The part of `PCollection` that writes.

    Common arguments: ``mode`` is "error" (the default: a target with data fails before any work), "overwrite" (the old
    data is replaced whole) or "append". ``files`` deals the rows over that many files; ``rows_per_file`` and
    ``bytes_per_file`` begin a new file when one has that much; ``storage_options`` go to fsspec and are never shown.
    """

    def write_parquet(
        self,
        path: str,
        *,
        mode: str = "error",
        files: int | None = None,
        rows_per_file: int | None = None,
        bytes_per_file: int | None = None,
        partition_by: Sequence[str] = (),
        schema: Any = None,
        compression: str = "zstd",
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Write Parquet files with page checksums into the folder ``path``; ``partition_by`` makes Hive folders.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"day": 1, "n": 5}]).write_parquet("memory://parquet-example")
        >>> p.run(progress=False).outputs[0].rows
        1
        """
        self._write("parquet", path, mode, files, rows_per_file, bytes_per_file, partition_by, schema, compression, storage_options, label)

    def write_csv(
        self,
        path: str,
        *,
        mode: str = "error",
        files: int | None = None,
        rows_per_file: int | None = None,
        bytes_per_file: int | None = None,
        partition_by: Sequence[str] = (),
        schema: Any = None,
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Write CSV files, each with a header.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"day": 1, "n": 5}, {"day": 2, "n": 7}]).write_csv("memory://csv-example", mode="overwrite")
        >>> p.run(progress=False).outputs[0].rows
        2
        >>> Pipeline().read_csv("memory://csv-example").collect()
        [{'day': 1, 'n': 5}, {'day': 2, 'n': 7}]
        """
        self._write("csv", path, mode, files, rows_per_file, bytes_per_file, partition_by, schema, None, storage_options, label)

    def write_ipc(
        self,
        path: str,
        *,
        mode: str = "error",
        files: int | None = None,
        rows_per_file: int | None = None,
        bytes_per_file: int | None = None,
        partition_by: Sequence[str] = (),
        schema: Any = None,
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Write Arrow IPC (Feather v2) files.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"day": 1, "n": 5}, {"day": 2, "n": 7}]).write_ipc("memory://ipc-example", mode="overwrite")
        >>> p.run(progress=False).outputs[0].rows
        2
        >>> Pipeline().read_ipc("memory://ipc-example").collect()
        [{'day': 1, 'n': 5}, {'day': 2, 'n': 7}]
        """
        self._write("ipc", path, mode, files, rows_per_file, bytes_per_file, partition_by, schema, None, storage_options, label)

    def write_avro(
        self,
        path: str,
        *,
        mode: str = "error",
        files: int | None = None,
        rows_per_file: int | None = None,
        bytes_per_file: int | None = None,
        schema: Any = None,
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Write Avro files. Needs the extra ``avro``.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"day": 1, "n": 5}, {"day": 2, "n": 7}]).write_avro("memory://avro-example", mode="overwrite")
        >>> p.run(progress=False).outputs[0].rows
        2
        >>> Pipeline().read_avro("memory://avro-example").collect()
        [{'day': 1, 'n': 5}, {'day': 2, 'n': 7}]
        """
        self._write("avro", path, mode, files, rows_per_file, bytes_per_file, (), schema, None, storage_options, label)

    def write_jsonl(
        self,
        path: str,
        *,
        mode: str = "error",
        files: int | None = None,
        rows_per_file: int | None = None,
        bytes_per_file: int | None = None,
        partition_by: Sequence[str] = (),
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Write one JSON value a line.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([{"a": [1, None]}, "text"]).write_jsonl("memory://jsonl-example", mode="overwrite")
        >>> p.run(progress=False).outputs[0].rows
        2
        >>> Pipeline().read_jsonl("memory://jsonl-example").collect()
        [{'a': [1, None]}, 'text']
        """
        self._write("jsonl", path, mode, files, rows_per_file, bytes_per_file, partition_by, None, None, storage_options, label)

    def write_text(
        self,
        path: str,
        *,
        mode: str = "error",
        files: int | None = None,
        rows_per_file: int | None = None,
        bytes_per_file: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Write strings, one a line.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create(["to be", "or not"]).write_text("memory://text-example", mode="overwrite")
        >>> p.run(progress=False).outputs[0].rows
        2
        >>> Pipeline().read_text("memory://text-example").collect()
        ['to be', 'or not']
        """
        if clashes(self.node.element, str):
            raise plan_error(f"write_text writes strings, and the elements are {show(self.node.element)}", hint="map(str), or write_jsonl")
        self._write("text", path, mode, files, rows_per_file, bytes_per_file, (), None, None, storage_options, label)

    def _write(
        self,
        form: Any,
        path: str,
        mode: Any,
        files: int | None,
        rows: int | None,
        size: int | None,
        partition_by: Sequence[str],
        schema: Any,
        compression: str | None,
        options: Mapping[str, Any] | None,
        label: str | None,
    ) -> None:
        from dataflow.io.sink import FileSink

        origin = caller()
        if mode not in ("error", "overwrite", "append"):
            raise plan_error(f'mode is "error", "overwrite" or "append", not {mode!r}', origin)
        for name, number in (("files", files), ("rows_per_file", rows), ("bytes_per_file", size)):
            if number is not None and number < 1:
                raise plan_error(f"{name} must be at least 1, not {number}", origin)
        by = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
        types = {field.name: field.type for field in schema} if schema is not None and not isinstance(schema, Mapping) else schema
        node = self.node
        columns = _Columns(self.pipeline, node, types or {})
        sink = FileSink(str(path), form, mode, dict(options or {}), rows, size, by, types, compression, columns)
        labels = self.pipeline.labels
        if files is not None:
            node = Redistribute(label=labels.unique("redistribute"), origin=origin, element=node.element, input=node, partitions=files)
        label = labels.unique(label or f"write {form}")
        self.pipeline.add_output(Write(label=label, origin=origin, element=node.element, input=node, sink=sink))


class _Columns:
    """The columns of an output, as far as they are known without its rows. Stays in this process: a worker's copy is None."""

    def __init__(self, pipeline: Pipeline, node: Node, declared: Mapping[str, Any]) -> None:
        self.pipeline, self.node, self.declared = pipeline, node, declared

    def __call__(self) -> Any:
        import pyarrow as pa

        from dataflow.kernels.types import to_arrow

        known = self.pipeline.written(self.node)
        if known is None and not self.declared:
            return None
        kinds = {name: to_arrow(kind) for name, kind in (known or {}).items()}
        said = {name: kind for name, kind in self.declared.items() if known is None or name in known}
        return pa.schema(list({**kinds, **said}.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()
