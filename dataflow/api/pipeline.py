"""Pipeline: where collections begin, and what runs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, TypeVar, cast

from dataflow.api.building import Labels, plan_error
from dataflow.api.collection import PCollection
from dataflow.api.pobject import PObject, operate_node
from dataflow.api.results import analyzed, explained, looked_at
from dataflow.api.settings import settings
from dataflow.api.table import PTable
from dataflow.collector import patient_collector
from dataflow.plan.nodes import Node, Read
from dataflow.plan.origin import caller
from dataflow.sizes import parse_size

__all__ = ["Pipeline"]

T = TypeVar("T")
U = TypeVar("U")
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Pipeline:
    """A deferred pipeline: collections are described with it, and nothing happens until something runs.

    ``options`` are defaults for `run`, `collect` and the like: see `run`.

    >>> p = Pipeline("word-count")
    >>> counts = p.create(["to be", "or not to be"]).flat_map(str.split).count()
    >>> sorted(counts.collect())
    [('be', 2), ('not', 1), ('or', 1), ('to', 2)]
    """

    def __init__(self, name: str = "pipeline", **options: Any) -> None:
        self.name, self.options = name, options
        self.labels = Labels()
        self.outputs: list[Node] = []
        self.measured = ""  # the passes and steps of the last run that looked at a collection
        self._columns: dict[int, Any] = {}
        self._tables: dict[int, Node] = {}

    # -- sources

    def create(self, values: Iterable[T], label: str | None = None, *, schema: Any = None) -> PCollection[T]:
        """A collection of values at hand.

        >>> Pipeline().create([3, 1, 2]).map(lambda n: n * 10).collect()
        [30, 10, 20]

        ``schema``: of records, their columns and types: names to types, a ``pyarrow.Schema``, or a dataclass. Without it they are those
        that the records have, and of no records unknown.

        >>> Pipeline().create([], schema={"who": str, "price": "decimal(15, 2)"}).schema
        {'who': DType('string'), 'price': DType('decimal(15, 2)')}
        """
        from dataflow.io.whole import ListSource

        if schema is not None:
            from dataflow.api.creating import records_of, schema_said

            said = schema_said(schema)
            return cast("PCollection[T]", self.from_arrow(records_of(values, said), label or "create"))
        if isinstance(values, (list, tuple, range)) or not hasattr(values, "__arrow_c_stream__"):
            return self._read(ListSource(list(values)), label or "create")
        return cast("PCollection[T]", self.from_arrow(values, label))

    def from_arrow(self, data: Any, label: str | None = None) -> PCollection[dict[str, Any]]:
        """The rows of anything that speaks the Arrow stream interface: pandas, Polars, DuckDB, pyarrow, …, as records.

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
        return self._read(ArrowSource(pa.RecordBatchReader.from_stream(data).read_all()), label or "from_arrow", dict[str, Any])

    def from_ray(self, dataset: Any, label: str | None = None) -> PCollection[dict[str, Any]]:
        """The rows of a ``ray.data.Dataset`` as records, read where its blocks are. Needs the extra ``ray``.

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

        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe("/read-text/a.txt", b"to be\\nor not\\n")
        >>> Pipeline().read_text("memory://read-text/*.txt").collect()
        ['to be', 'or not']

        ``paths``: files, folders, globs, lists of these, anywhere fsspec reaches. ``on_error="skip"`` sets lines aside
        that are not text in the encoding. A line of more bytes than ``longest`` is an error.
        """
        from dataflow.io.text import TextSource

        _known_encoding(encoding)
        source = TextSource(
            _paths(paths), dict(storage_options or {}), _skips(on_error), encoding=encoding, errors=errors, longest=parse_size(longest)
        )
        return self._read(source, label or "read_text", str)

    def read_jsonl(
        self,
        paths: Paths,
        *,
        longest: int | str = "256MiB",
        on_error: str = "raise",
        storage_options: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> PCollection[Any]:
        """The values of JSON-lines files; objects are dicts.

        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe("/read-jsonl/a.jsonl", b'{"n": 1}\\n{"n": 2}\\n')
        >>> Pipeline().read_jsonl("memory://read-jsonl/").collect()
        [{'n': 1}, {'n': 2}]

        ``on_error="skip"`` sets bad lines aside. A line of more bytes than ``longest`` is an error.
        """
        from dataflow.io.jsonl import JsonLinesSource

        source = JsonLinesSource(_paths(paths), dict(storage_options or {}), _skips(on_error), longest=parse_size(longest))
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

        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe("/read-csv/a.csv", b"name,price\\ntea,2\\n")
        >>> Pipeline().read_csv("memory://read-csv/a.csv").collect()
        [{'name': 'tea', 'price': 2}]

        ``columns="union"``: files may have different columns. ``on_error="skip"``: ragged rows are set aside.
        A row of more bytes than ``longest`` is an error: often a quote that is never closed.
        """
        from dataflow.io.csv import CsvSource

        _known_encoding(encoding)
        types = (
            {field.name: field.type for field in schema} if schema is not None and not isinstance(schema, Mapping) else dict(schema or {})
        )
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

        >>> p = Pipeline()
        >>> p.create([{"name": "tea", "price": 2}]).write_parquet("memory://read-parquet", mode="overwrite")
        >>> p.run(progress=False).outputs[0].files
        1
        >>> Pipeline().read_parquet("memory://read-parquet", columns=["price"]).collect()
        [{'price': 2}]

        Files must agree on their columns unless ``schema="union"``; ``on_error="skip"`` passes over unreadable files.
        """
        from dataflow.io.parquet import ParquetSource

        source = ParquetSource(
            _paths(paths), dict(storage_options or {}), _skips(on_error), union=_union(schema), only=tuple(columns) if columns else None
        )
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

        >>> p = Pipeline()
        >>> p.create([{"name": "tea", "price": 2}]).write_ipc("memory://read-ipc", mode="overwrite")
        >>> p.run(progress=False).outputs[0].files
        1
        >>> Pipeline().read_ipc("memory://read-ipc").collect()
        [{'name': 'tea', 'price': 2}]
        """
        from dataflow.io.ipc import IpcSource

        source = IpcSource(
            _paths(paths), dict(storage_options or {}), _skips(on_error), union=_union(schema), only=tuple(columns) if columns else None
        )
        return self._read(source, label or "read_ipc", dict[str, Any])

    def read_avro(
        self, paths: Paths, *, storage_options: Mapping[str, Any] | None = None, label: str | None = None
    ) -> PCollection[dict[str, Any]]:
        """The records of Avro files. Needs the extra ``avro``.

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

        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe("/read-binary/a.jpg", b"\\xff\\xd8")
        >>> Pipeline().read_binary("memory://read-binary/").map_values(len).collect()
        [('memory://read-binary/a.jpg', 2)]
        """
        from dataflow.io.whole import BinarySource

        found = self._read(BinarySource(_paths(paths), dict(storage_options or {})), label or "read_binary", tuple[str, bytes])
        return PTable(self, found.node)

    def sql(self, text: str, /, **tables: PCollection[Any] | str) -> PCollection[dict[str, Any]]:
        """The records of a SELECT over collections of records, named by keyword; a string is a path to read.

        >>> p = Pipeline()
        >>> orders = p.create([{"who": "ann", "price": 3}, {"who": "bob", "price": 4}, {"who": "ann", "price": 5}])
        >>> p.sql("select who, sum(price) as spent from orders group by who order by spent desc", orders=orders).collect()
        [{'who': 'ann', 'spent': 8}, {'who': 'bob', 'spent': 4}]
        """
        from dataflow.api.querying import query

        return query(self, text, tables)

    def operate(self, fn: Callable[..., U], *args: PObject[Any], label: str | None = None) -> PObject[U]:
        """``fn`` of the values of PObjects, run once inside the pipeline."""
        return operate_node(self, fn, args, label)

    def _read(self, source: Any, label: str, element: Any = None) -> PCollection[Any]:
        return PCollection(self, Read(label=self.labels.unique(label), origin=caller(), element=element, source=source))

    def columns(self, node: Node) -> dict[str, Any] | None:
        """Names and types of a node's columns, read from metadata once; None where only the data will tell."""
        from dataflow.api.schemas import columns_known

        return columns_known(node, self._columns)

    def remember(self, node: Node, columns: dict[str, Any]) -> None:
        """The columns of a node of which its own step does not tell them."""
        self._columns[id(node)] = (node, columns)

    def written(self, node: Node) -> dict[str, Any] | None:
        """Names and types of the columns of files that a node is written to; None where only the data will tell."""
        from dataflow.api.schemas import columns_written

        return columns_written(node, self._columns)

    def table(self, node: Node) -> Node:
        """A node of records as relational steps take it: with its columns, where they are known; made once."""
        from dataflow.plan.nodes import Relation
        from dataflow.plan.relational import Table

        schema = self.columns(node) if not isinstance(node, Relation) else None
        if schema is None:
            return node
        if id(node) not in self._tables:
            label = self.labels.unique(f"{node.label} table")
            self._tables[id(node)] = Table(label=label, origin=node.origin, element=node.element, schema=schema, input=node)
        return self._tables[id(node)]

    # -- running

    def run(self, runner: str | Any | None = None, **options: Any) -> Any:
        """Run the pipeline's writes and commit them together; gives a `RunResult`.

        ``runner``: the name of an installed runner ("local" is the default), or an object with ``run(plan)``. Options
        of the local runner: ``memory="8GiB"``, ``workers=4``, ``mode="auto" | "in_process" | "processes"``,
        ``spill_folders=[…]``, ``skipped_to="folder"``, ``task_timeout=600`` (seconds), ``progress=False``,
        ``check_determinism=0.01`` (that share of the tasks runs twice and is compared).
        """
        if not self.outputs:
            raise plan_error("the pipeline writes nothing", hint="add a write_…, or use collect() to look at a collection")
        plan = tuple(self.outputs)
        if settings.explain is not None:
            settings.explain(explained(plan, cut=self.placing(options)))
        try:
            result = self._runner(runner, options).run(plan)
        except KeyboardInterrupt as stop:
            raise _stopped(stop) from None
        if settings.finished is not None:
            settings.finished(result)
        return result

    @contextmanager
    def evaluate(self, plan: tuple[Node, ...], options: dict[str, Any]) -> Generator[list[Any]]:
        """Run a plan of views and give their values; what `collect` and `get` use."""
        if settings.explain is not None:
            settings.explain(explained(plan, cut=self.placing(options)))
        options = dict(options)
        runner = self._runner(options.pop("runner", None), options)
        with ExitStack() as stack:
            try:
                values = stack.enter_context(runner.evaluate(plan))
            except KeyboardInterrupt as stop:
                raise _stopped(stop) from None
            result = getattr(runner, "result", None)
            self.measured = result.measured() if result is not None else ""
            yield values

    def explain(self, form: str = "text", *, analyze: bool = False, **options: Any) -> str:
        """The plan of all writes: as "text" (logical, optimized, stages, and why), "mermaid" or "svg"; ``options`` as of `run`.

        ``analyze``: run it up to the writes, which are left out, and add what was measured; see `PCollection.explain`.
        """
        if not analyze:
            return explained(tuple(self.outputs), form, self.placing(options))
        views = [looked_at(self, node, output.origin) for output in self.outputs for node in output.inputs]
        return analyzed(self, tuple(views), form, options)

    def placing(self, options: dict[str, Any]) -> Any:
        """The rule by which the runner would place queries, None if it has none."""
        options = dict(options)
        runner = self._runner(options.pop("runner", None), options)
        return runner.rule() if hasattr(runner, "rule") else None

    def _runner(self, runner: str | Any | None, options: dict[str, Any]) -> Any:
        chosen = runner or settings.runner or self.options.get("runner") or "local"
        if not isinstance(chosen, str):
            return chosen
        load = _runner_class(chosen)
        own = {name: value for name, value in self.options.items() if name != "runner"}
        try:
            return load(**{**own, **options, **settings.options})
        except (TypeError, ValueError) as error:
            raise plan_error(f"the {chosen} runner cannot take these options: {error}") from error

    def __repr__(self) -> str:
        return f"<Pipeline {self.name!r} with {len(self.outputs)} writes>"

    def _repr_html_(self) -> str:
        return self.explain("svg") if self.outputs else repr(self)


def _stopped(stop: KeyboardInterrupt) -> KeyboardInterrupt:
    """Ctrl-C as the script sees it: the same words, without the frames of whatever the engine was at just then."""
    return KeyboardInterrupt(*stop.args)


def _runner_class(name: str) -> Any:
    """The class of a runner, by its entry point; our own by their known place, which saves reading all packages' metadata."""
    if name in ("local", "ray", "reference"):
        with patient_collector():
            return getattr(import_module(f"runners.{name}"), f"{name.title()}Runner")
    from importlib.metadata import entry_points

    known = {point.name: point for point in entry_points(group="dataflow.runners")}
    if name not in known:
        raise plan_error(f"there is no runner {name!r}", hint=f"installed: {', '.join(sorted(known))}")
    return known[name].load()


def _paths(paths: Paths) -> tuple[str, ...]:
    many = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found = tuple(os.fspath(path) for path in many)
    if not found or not all(found):
        raise plan_error("no path was given")
    return found


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
