"""Ray Data's datasets as sources and results: Arrow blocks stay where they are in Ray's object store.

    Pipeline.from_ray(dataset) ─> DatasetSource ─> a split a block, by reference ─> whoever reads it maps the store's memory: no copy
    collection.to_ray() ─> kept files of the run ─> a block a file, made on the machine of the file ─> ray.data.Dataset

The life of a split: the dataset is computed before the run takes any core (`check`), as Ray would need some for it; `BlockRows` travels
as the address of the object and of its owner; a worker process connects to Ray at the first one it reads, a third of a second once.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dataflow.api.building import plan_error
from dataflow.errors import DataflowError, InputError, Report, redact
from dataflow.io.schema import conform, table_of, unify
from dataflow.io.source import Piece, Place, Source, Split
from dataflow.shard.batch import Records
from dataflow.shard.codec import decode_batch
from dataflow.shard.runfile import RunFile, read_block
from runners.ray.causes import first_cause
from runners.ray.cluster import give_back, node_of
from runners.ray.joining import join
from runners.ray.settings import RaySettings

__all__ = ["BlockRows", "DatasetSource", "dataset_of", "source_of", "stored_tables"]

ROWS = 65_536
PICKLED = "ray.data.arrow_pickled_object"  # Ray's type of what Arrow cannot hold; data selects no code here
PATIENCE = 600.0  # seconds for a block: it may have to be computed again, or read from a disk


def source_of(dataset: Any) -> DatasetSource:
    """The rows of a dataset, which is not computed yet."""
    import ray.data

    if not isinstance(dataset, ray.data.Dataset):
        raise plan_error(f"from_ray needs a ray.data.Dataset, not {type(dataset).__name__}", hint="from_arrow takes what speaks Arrow")
    return DatasetSource(dataset)


@dataclass(frozen=True, eq=False)
class DatasetSource(Source):
    """The rows of a Ray dataset as records."""

    dataset: Any

    has_columns = True

    @cached_property
    def blocks(self) -> list[tuple[Any, int, int, int]]:
        """Reference, first row, row after the last, and bytes of every block; the dataset is computed for it, once."""
        found = []
        from ray.data.dataset import MaterializedDataset  # a second or two, and a worker does without

        if not isinstance(self.dataset, MaterializedDataset):
            give_back()
        try:
            for bundle in self.dataset.iter_internal_ref_bundles():
                for entry, part in zip(bundle.blocks, bundle.slices or itertools.repeat(None)):
                    ref, meta = (entry.ref, entry.metadata) if hasattr(entry, "ref") else entry  # pairs before Ray 2.60
                    rows = meta.num_rows if meta.num_rows is not None else len(_arrow(ray.get(ref)))
                    start, stop = (part.start_offset, part.end_offset) if part is not None else (0, rows)
                    if stop > start:
                        found.append((ref, start, stop, (meta.size_bytes or 0) * (stop - start) // rows))
        except ray.exceptions.RayError as error:
            said, failed = first_cause(error)
            raise InputError(Report(f"the Ray dataset cannot be computed: {said}", failed=failed, trace=redact(str(error)))) from error
        return found

    @cached_property
    def layout(self) -> pa.Schema:
        """The columns, those of the first block where Ray does not know them."""
        known = self.dataset.schema(fetch_if_missing=False)
        if known is not None and isinstance(known.base_schema, pa.Schema):
            return pa.schema(list(zip(known.names, known.types, strict=True)))
        for ref, *_ in self.blocks:
            return _arrow(ray.get(ref)).schema.remove_metadata()
        return pa.schema([])

    def columns(self) -> pa.Schema:
        return self.layout

    def check(self) -> list[Report]:
        try:
            self.blocks  # noqa: B018 - before the run takes the cores that Ray would compute it with
            odd = [field.name for field in self.layout if getattr(field.type, "extension_name", "") == PICKLED]
        except DataflowError as error:
            return [error.report]
        hint = "map it to values that Arrow has a type for"
        return [Report(f"column {odd[0]!r} of the Ray dataset holds pickled objects", hint=hint)] if odd else []

    def estimated_bytes(self, names: tuple[str, ...] | None = None) -> int:
        share = 1.0 if names is None else len(names) / max(1, len(self.layout))
        return int(sum(size for *_, size in self.blocks) * share)

    def describe(self) -> str:
        return "Ray dataset"

    def splits(self, target: int) -> list[Split]:
        found: list[Split] = []
        for number, (ref, start, stop, size) in enumerate(self.blocks):
            pieces = max(1, min(stop - start, round(size / target)))
            edges = [start + (stop - start) * i // pieces for i in range(pieces + 1)]
            for a, b in itertools.pairwise(edges):
                found.append(Split(f"block {number} of the Ray dataset", a, b, size // pieces, extra=BlockRows(ref, a, b)))
        return found

    def read(self, split: Split) -> Iterator[Piece]:
        table = split.extra.table()
        for start in range(0, table.num_rows, ROWS):
            piece = table.slice(start, ROWS)
            yield Piece(Records(piece), Place(split.name, split.start + start + 1), bytes=piece.nbytes)

    def __reduce__(self) -> tuple[Any, ...]:
        return DatasetSource, (None,)  # workers get their blocks with the splits


class BlockRows:
    """Rows of a block in Ray's object store. Pickled, it is the object's address, and copies nothing."""

    def __init__(self, ref: Any, start: int, stop: int, address: tuple[Any, ...] | None = None) -> None:
        self.ref, self.start, self.stop, self.address = ref, start, stop, address

    def table(self) -> pa.Table:
        """The rows, in the store's own memory where that is this machine's."""
        if self.ref is None:
            self.ref = _arrived(*self.address)  # type: ignore[misc]
        try:
            return _arrow(ray.get(self.ref, timeout=PATIENCE)).slice(self.start, self.stop - self.start)
        except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
            raise InputError(
                Report(
                    f"a block of the Ray dataset is not to be had: {_first_line(error)}",
                    hint="blocks go with the process that computed them, and with their machine",
                )
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        address = self.address
        if address is None:
            # what Ray itself does to send a reference, without its pinning the object for as long as this process lives
            binary, owner, status = ray._private.worker.global_worker.core_worker.serialize_object_ref(self.ref)[:3]
            binary = binary.binary() if hasattr(binary, "binary") else binary
            address = (binary, owner, status, ray.get_runtime_context().gcs_address)
        return BlockRows, (None, self.start, self.stop, address)


def _arrived(binary: bytes, owner: bytes, status: bytes, cluster: str) -> Any:
    """A reference to an object of another process."""
    if not ray.is_initialized():
        ray.init(cluster, log_to_driver=False, configure_logging=False)
    ref = ray.ObjectRef(binary, owner)
    ray._private.worker.global_worker.core_worker.deserialize_and_register_object_ref(binary, ray.ObjectRef.nil(), owner, status)
    return ref


def _arrow(block: Any) -> pa.Table:
    """A block as a table."""
    if isinstance(block, pa.Table):
        return block
    from ray.data.block import BlockAccessor

    return BlockAccessor.for_block(block).to_arrow()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(getattr(error, "cause", None) or error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def stored_tables(files: Sequence[RunFile], address: str | None = None) -> list[Any]:
    """The elements of kept files as tables in Ray's store, one a file. ``address``: of the cluster, if this process is on none yet."""
    join(RaySettings(address))
    files = [file for file in files if file.rows]
    found: list[Any] = [None] * len(files)
    schemas: list[Any] = [None] * len(files)
    waiting = []
    for node in dict.fromkeys(node_of(file.place) for file in files):
        there = [at for at, file in enumerate(files) if node_of(file.place) == node]
        if node is None:
            for at in there:
                table = _table_of(files[at])
                found[at], schemas[at] = ray.put(table), table.schema
            continue
        for share in (there[first::READERS] for first in range(min(READERS, len(there)))):
            own = [replace(files[at], place="") for at in share]
            waiting.append((share, _reader(node).remote(_imports(), own)))
    for share, made in waiting:
        for at in share:
            try:
                schemas[at], found[at] = ray.get(next(made)), next(made)
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, DataflowError) else error from None
    whole = unify([("an earlier file", schema) for schema in schemas])
    return [table if schema.equals(whole) else _fitted(table, whole) for table, schema in zip(found, schemas, strict=True)]


def dataset_of(tables: Sequence[Any], nothing: Callable[[], pa.Table]) -> Any:
    """Stored tables as a dataset. The cores that the run had are given back for it: Ray needs some for every block."""
    import ray.data

    give_back()
    return ray.data.from_arrow_refs(list(tables)) if tables else ray.data.from_arrow(nothing())


READERS = 4  # tasks on a machine that read at once


def _table_of(file: RunFile) -> pa.Table:
    """The elements of a file as a table that Ray's store takes as it is."""
    tables = [table_of(batch) for batch in (decode_batch(read_block(file, block)) for block in file.blocks) if len(batch)]
    schema = unify([("an earlier batch", table.schema.remove_metadata()) for table in tables])
    kinds = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}  # of which Ray would pickle the values
    schema = pa.schema([field.with_type(kinds.get(field.type, field.type)) for field in schema])
    return pa.concat_tables([conform(table, schema) for table in tables])


def _imports() -> list[str]:
    return [path or os.getcwd() for path in sys.path]


def _reader(node: str) -> Any:
    """A task on a machine that gives the table and the schema of each file; it travels by value, until it has set the path."""

    def read(path: list[str], files: list[Any]) -> Iterator[Any]:
        import sys

        sys.path.extend(one for one in path if one not in sys.path)
        from runners.ray.datasets import _table_of

        for file in files:
            table = _table_of(file)
            yield table.schema
            yield table

    read.__module__ = "__main__"
    where = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, num_returns="streaming", scheduling_strategy=where)(read)


def _fitted(table: Any, schema: pa.Schema) -> Any:
    """A stored table in the columns and types of all."""

    def fit(path: list[str], table: pa.Table, schema: pa.Schema) -> pa.Table:
        import sys

        sys.path.extend(one for one in path if one not in sys.path)
        from dataflow.io.schema import conform

        return conform(table, schema)

    fit.__module__ = "__main__"
    return ray.remote(num_cpus=0)(fit).remote(_imports(), table, schema)
