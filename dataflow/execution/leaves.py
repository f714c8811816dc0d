"""The inputs of a relational tree where it runs, and its results: columns that are only carried come out as they went in.

Leaf, Leaf ─> lineage ─> frames of what the kernel takes ─> kernels.relations.query ─> kernels.query.batches
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflow.execution.imagined import imagined, without_nothing
from dataflow.execution.lineage import Lineage, lineage
from dataflow.execution.runtime_filters import with_key_filters
from dataflow.plan.nodes import Relation
from dataflow.plan.relational import Explode, Given, Limit, OrderBy, Project, Union, Unnest, Unpivot, Where
from dataflow.plan.traversal import topological
from dataflow.record import record
from dataflow.shard.arrow import empty_table

if TYPE_CHECKING:
    from dataflow.expr.types import Schema
    from dataflow.kernels.query import ParquetScan
    from dataflow.kernels.relations import Frame

__all__ = ["Leaf", "counts", "leaf_of_scan", "leaf_of_stream", "leaf_of_table", "results", "stops_early"]


@record(eq=True)
class Leaf:
    """An input of a query: its columns as Arrow has them, and the frame of it, given the columns that expressions read. ``scan``: of
    files that the kernel reads; ``table``: of what is at hand."""

    layout: pa.Schema
    frame: Callable[[Collection[str]], Frame]
    scan: ParquetScan | None = None
    table: pa.Table | None = None


def leaf_of_table(table: pa.Table) -> Leaf:
    """A table at hand."""

    def frame(read: Collection[str]) -> Frame:
        from dataflow.kernels.query import frame_of_table

        return frame_of_table(table, read)

    return Leaf(table.schema, frame, table=table)


def leaf_of_stream(make: Callable[[Sequence[str] | None], Iterator[pa.Table]], layout: pa.Schema) -> Leaf:
    """Tables that are read when the query wants them, given the columns that it does."""

    def frame(read: Collection[str]) -> Frame:
        from dataflow.kernels.query import frame_of_stream

        return frame_of_stream(make, layout, read)

    return Leaf(layout, frame)


def leaf_of_scan(scan: ParquetScan) -> Leaf:
    """Files that the kernel reads."""

    def frame(read: Collection[str]) -> Frame:
        from dataflow.kernels.query import scan_parquet

        return scan_parquet(scan)

    layout = scan.schema if scan.columns is None else pa.schema([scan.schema.field(name) for name in scan.columns])
    return Leaf(layout, frame, scan)


def results(root: Relation, leaves: Sequence[Leaf], *, ordered: bool = False) -> Iterator[pa.Table]:
    """The records of a tree over its inputs. One table at least, of no rows where there are none. ``ordered``: in the same order each
    time."""
    from dataflow.execution.sums import sums_named
    from dataflow.io.checksums import Verification
    from dataflow.kernels.carrying import check_carried
    from dataflow.kernels.query import batches
    from dataflow.kernels.relations import query

    for leaf in leaves:
        check_carried(leaf.layout)
    _check_orders(root)
    unknown = {node.index for node in topological((root,)) if isinstance(node, Given) and node.schema is None} & {
        at for at, leaf in enumerate(leaves) if not len(leaf.layout)
    }
    root = without_nothing(root, unknown) if unknown else root
    givens = [node for node in topological((root,)) if isinstance(node, Given)]
    planned = {node.index: node.schema for node in givens if node.schema is not None}
    if unknown:
        planned = {**imagined(root), **planned}
    leaves = [leaf if len(leaf.layout) or not planned.get(at) else _empty(planned[at]) for at, leaf in enumerate(leaves)]
    root = with_key_filters(root, leaves)
    flow = lineage(root, [leaf.layout.names for leaf in leaves])
    frames = [leaf.frame({name for index, name in flow.read if index == at}) for at, leaf in enumerate(leaves)]
    found = query(root, {id(node): frames[node.index] for node in givens}, ordered=ordered)
    carried = _carried(flow, [leaf.layout for leaf in leaves], found.schema)
    verifications = [
        Verification(tuple(zip(leaf.scan.paths, leaf.scan.versions, strict=True)), _names(flow, at), leaf.scan.rows)
        for at, leaf in enumerate(leaves)
        if leaf.scan is not None
    ]
    try:
        try:
            yield from sums_named(root, batches(found, carried))
        except Exception:
            for one in verifications:  # damage explains what the kernel says of it
                one.finish()
            raise
        for one in verifications:
            one.finish()
    finally:
        for one in verifications:
            one.stop()


def counts(root: Relation, leaves: Sequence[Leaf]) -> dict[int, int]:
    """How many records each node of a tree gives over its inputs, by its id."""
    from dataflow.kernels import relations

    flow = lineage(root, [leaf.layout.names for leaf in leaves])
    frames = [leaf.frame({name for index, name in flow.read if index == at}) for at, leaf in enumerate(leaves)]
    return relations.counts(root, {id(node): frames[node.index] for node in topological((root,)) if isinstance(node, Given)})


def _check_orders(root: Relation) -> None:
    from dataflow.kernels.shuffling import check_order

    for node in topological((root,)):
        if isinstance(node, OrderBy) and node.schema is not None:
            check_order(node.keys, node.schema)


def _names(flow: Lineage, at: int) -> set[str]:
    return {name for index, name in flow.used if index == at}


def stops_early(root: Relation) -> bool:
    """Whether a tree may be done before it has read its inputs."""
    below: set[int] = set()  # nodes whose records go to a limit as they are made
    for node in reversed(topological((root,))):
        if isinstance(node, Limit) or id(node) in below:
            if isinstance(node, Given):
                return True
            if isinstance(node, (Limit, Where, Project, Explode, Unnest, Unpivot, Union)):
                below.update(map(id, node.inputs))
    return False


def _empty(schema: Schema) -> Leaf:
    """A part from which nothing came, with the columns that were planned."""
    from dataflow.kernels.types import to_arrow

    return leaf_of_table(empty_table(pa.schema([(name, to_arrow(kind)) for name, kind in schema.items()])))


def _carried(flow: Lineage, layouts: Sequence[pa.Schema], schema: Schema) -> dict[str, pa.Field]:
    """The columns of the result that are columns of the inputs, all of one Arrow type, which the plan's agrees with."""
    from dataflow.kernels.carrying import returned
    from dataflow.kernels.types import from_arrow

    found = {}
    for name, kind in schema.items():
        fields = [layouts[index].field(column) for index, column in sorted(flow.carried.get(name, ()))]
        if fields and all(field.type == fields[0].type for field in fields) and from_arrow(fields[0].type) == kind:
            metadata = fields[0].metadata if all(field.metadata == fields[0].metadata for field in fields) else None
            found[name] = pa.field(name, returned(fields[0].type), metadata=metadata)
    return found
