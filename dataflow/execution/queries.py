"""A relational query at work in one task: its inputs become lazy frames, its result comes back batch by batch.

sources (scanned by the kernel itself) ─┐
                                        ├─> leaves.results ─> streaming engine ─> Records, Records, …
side values (kept files of the run) ────┘
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from dataflow.errors import DataflowError, InputError, Report, SchemaError, StepError
from dataflow.execution.context import TaskContext, text_of
from dataflow.execution.failures import trace_of, user_frames
from dataflow.execution.first_halves import pays, without_groups
from dataflow.execution.leaves import Leaf, counts, leaf_of_scan, leaf_of_stream, leaf_of_table, results, stops_early
from dataflow.execution.sides import KeptIterable
from dataflow.expr.typing import ExprError
from dataflow.io.bundling import bundled
from dataflow.io.checksums import has_checksums
from dataflow.io.listings import Listings, one_listing
from dataflow.io.schema import conform, table_of, unify
from dataflow.io.source import Piece, Source, Split
from dataflow.io.whole import ArrowSource
from dataflow.physical.program import PieceRoot, QueryRoot, ScanRoot, ShuffleInput
from dataflow.plan.labels import users_label
from dataflow.plan.nodes import Relation
from dataflow.plan.origin import Origin
from dataflow.shard.batch import Batch, Records
from dataflow.shard.codec import decode_batch
from dataflow.shard.runfile import read_block

SCANNED = 1 << 25
_KINDS = {"i": "int", "u": "uint", "f": "float"}

__all__ = ["count_records", "kept_table", "named", "run_piece", "run_query", "run_scan", "united"]


def run_query(root: QueryRoot, label: str, sides: dict[str, Any], context: TaskContext) -> Iterator[Batch]:
    """The records of a query, in batches, in order where it has one."""
    leaves: list[Leaf] = []
    with named(root.origin, label, lambda: _places(leaves)):
        for given in root.inputs:
            leaves.append(_kept_leaf(sides[given]) if isinstance(given, str) else _source_leaf(given, root.relation, context))
        for table in results(root.relation, leaves, ordered=context.ordered):
            yield Records(table)


def count_records(root: Relation, sources: Sequence[Source]) -> dict[int, int]:
    """How many records each node of a query gives, by its id. It is run for that."""
    return counts(root, [_source_leaf(source, root) for source in sources])


def _source_leaf(source: Source, root: Relation, context: TaskContext | None = None) -> Leaf:
    """A source as the kernel scans it, if it can; not where it would stop early, and read what it has not verified. The ``context`` is
    told how much that is, of which the kernel says nothing."""
    with one_listing() as known:
        scan = source.kernel_scan()
        if scan is not None and not (stops_early(root) and has_checksums(scan.paths[0])):
            if context is not None:
                context.bytes_read += source.scanned_bytes()
            return leaf_of_scan(scan)
        return _read_leaf(source, known)


def _places(leaves: list[Leaf]) -> str:
    """The files that the kernel reads, for an error of which it does not say the file."""
    paths = [path for leaf in leaves if leaf.scan is not None for path in leaf.scan.paths]
    return paths[0] if len(paths) == 1 else f"one of {len(paths)} files, {paths[0]} to {paths[-1]}" if paths else ""


def run_scan(root: ScanRoot, splits: tuple[Split, ...], label: str, context: TaskContext) -> Iterator[Batch]:
    """The records that a query makes of splits of files, which the kernel scans itself."""
    sides = [leaf_of_table(kept_table(context.sides[name])) for name in root.sides]
    single = None if root.source.keeps_keys else without_groups(root.relation)
    for some in _together(splits):
        context.bytes_read += sum(split.bytes for split in some)
        names = [split.name for split in some]
        with named(root.origin, label, names[0] if len(names) == 1 else f"one of {len(names)} files, {names[0]} to {names[-1]}"):
            leaves = [*map(leaf_of_scan, root.source.scan_splits(some)), *sides]
            relation = root.relation if single is None or pays(root.relation, leaves) else single
            for table in results(relation, leaves, ordered=context.ordered):
                if table.num_rows:
                    yield Records(table)


def _together(splits: tuple[Split, ...]) -> Iterator[list[Split]]:
    """Splits as the kernel reads them: small whole files many at a time, as starting a query takes milliseconds."""
    some: list[Split] = []
    held = 0
    for split in splits:
        if some and (split.extra[2] is not None or some[0].extra[2] is not None or held > SCANNED):
            yield some
            some, held = [], 0
        some.append(split)
        held += split.bytes
    if some:
        yield some


def run_piece(root: PieceRoot, given: ShuffleInput, label: str, context: TaskContext) -> Iterator[Batch]:
    """The records that a query makes of a range of a shuffle."""
    from dataflow.execution.pieces import read_piece

    parts: list[list[pa.Table]] = [[] for _ in range(root.sides)]
    for side, coded in read_piece(given):
        context.bytes_read += coded.nbytes
        batch = decode_batch(coded)
        assert isinstance(batch, Records)
        parts[side].append(batch.table)
    if not any(parts) and (given.first or given.hashes is not None):
        return  # nothing fell here; the first piece alone answers for a collection that is empty altogether
    with named(root.origin, label):
        for table in results(root.relation, [leaf_of_table(united(tables)) for tables in parts], ordered=context.ordered):
            if table.num_rows:
                yield Records(table)


@contextmanager
def named(origin: Origin, label: str, place: str | Callable[[], str] = "") -> Generator[None]:
    """Errors of the kernel as ours: the step, the user's line, the file."""

    label = users_label(label)

    def where() -> str:
        return place if isinstance(place, str) else place()

    try:
        yield
    except (InputError, SchemaError) as error:
        if error.report.steps:
            raise
        at = {"steps": (label,), "declared": str(origin), "declared_text": origin.text()}
        raise type(error)(replace(error.report, location=error.report.location or where(), **at)) from error.__cause__  # type: ignore[arg-type]
    except (DataflowError, OSError, MemoryError):
        raise
    except Exception as error:
        hint = error.hint if isinstance(error, ExprError) else ""
        failed = user_frames(error)
        text = _in_short(" ".join(text_of(error).split()))[:400]
        what = f"{type(error).__name__}: {text}" if failed else text  # of the user's function, or the kernel
        report = Report(
            f"{label} failed: {what}", steps=(label,), declared=str(origin), declared_text=origin.text(), failed=failed,
            record=getattr(error, "record", ""), location=where(), hint=hint, trace=trace_of(error),
        )  # fmt: skip
        raise StepError(report) from error


def kept_table(kept: KeptIterable) -> pa.Table:
    """The records of kept files as one table, of the columns and types that hold all of them; remembered in this process for
    the other tasks that join with it."""
    key = tuple(file.path for file in kept.files)
    if key not in _tables:
        while len(_tables) >= MOST_TABLES:
            del _tables[next(iter(_tables))]
        _tables[key] = united(list(_blocks(kept)))
    return _tables[key]


_tables: dict[tuple[str, ...], pa.Table] = {}
MOST_TABLES = 4


def _blocks(kept: KeptIterable) -> Iterator[pa.Table]:
    """The records of kept files, a table a block."""
    for file in kept.files:
        for block in file.blocks:
            yield table_of(decode_batch(read_block(file, block)), None)


def _kept_leaf(kept: KeptIterable) -> Leaf:
    """The records of kept files, read when the query asks for them, in the columns and types that hold all."""
    layouts: list[pa.Schema] = []
    for table in _blocks(kept):
        if not any(table.schema.equals(layout) for layout in layouts):  # a schema with types of others' making may have no hash
            layouts.append(table.schema.remove_metadata())
    layout = unify([("the records", one) for one in layouts])
    return leaf_of_stream(lambda names: (conform(table, layout) for table in _blocks(kept)), layout)


def _read_leaf(source: Source, known: Listings) -> Leaf:
    """The records of a source that the kernel cannot scan, read as the query wants them; a table at hand as it is."""
    if isinstance(source, ArrowSource):
        return leaf_of_table(source.table)
    layout = source.columns()
    if layout is None:
        if (disagreement := getattr(source, "disagreement", None)) is not None and (why := disagreement()) is not None:
            raise why
        raise InputError(Report("the columns of the input are not known", location=source.describe()))

    def tables(names: Sequence[str] | None) -> Iterator[pa.Table]:
        chosen: Any = source
        wanted = layout
        if names is not None and hasattr(source, "pruned"):
            chosen, wanted = source.pruned(tuple(names)), pa.schema([layout.field(name) for name in names])
        with one_listing(known):  # the kernel asks in a thread of its own
            splits = chosen.splits(1 << 26)
        for piece in bundled(chosen.read_all(splits)):
            if len(piece.batch):
                found = table_of(piece.batch, None)
                whole = names is None or len(names) == len(layout)
                yield _sampled(piece, found, wanted, whole) if source.sampled else conform(found, wanted)

    return leaf_of_stream(tables, layout)


def _sampled(piece: Piece, table: pa.Table, wanted: pa.Schema, whole: bool) -> pa.Table:
    """The records of a piece in the columns that the first of the input had (`Source.sampled`). ``whole``: none may be left out."""
    for at, name in enumerate(table.column_names if whole else ()):
        if wanted.get_field_index(name) < 0:
            row = next((row for row, value in enumerate(table.column(at)) if value.is_valid), 0)
            text = f"a record has a column {name!r}, which the first records of the input have not"
            raise SchemaError(Report(text, location=piece.place.of(row), hint="say all columns: read_jsonl(…, schema={…})"))
    try:
        return conform(table, wanted)
    except SchemaError as error:
        hint = "say the types of the columns: read_jsonl(…, schema={…})"
        raise SchemaError(replace(error.report, location=piece.place.of(0), hint=hint)) from error


def _in_short(text: str) -> str:
    """What the kernel says, without its plan, which is not the user's."""
    for end in (
        " Resolved plan until failure",
        " This error occurred with the following context",
        " This error occurred in the following expression",
    ):
        text = text.partition(end)[0]
    if text.startswith("incomplete mapping specified for `replace_strict`"):
        return "a value is none of those that are known: keys of replace_strict, or true, t, 1, false, f, 0 of a text that is cast to bool"
    text = re.sub(r"`([iuf])(8|16|32|64|128)`", lambda found: f"`{_KINDS[found[1]]}{found[2]}`", text).replace("`str`", "`string`")
    return text.replace(" in column 'scalar'", " of a constant").replace(" in column 'literal'", " of a constant")


def united(parts: list[pa.Table]) -> pa.Table:
    """Tables end to end, of the columns and types that hold all of them."""
    if not parts:
        return pa.table({})
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException:  # texts beside a dictionary of them; and what has no common type, for which `unify` has the words
        layout = unify([(f"part {at}", part.schema) for at, part in enumerate(parts, 1)])
        return pa.concat_tables([conform(part, layout) for part in parts])
