"""What a task runs, as plain picklable data: a root that gives elements, a tree of steps, leaves that take them.

    root (splits of a source | ranges of a shuffle | kept files | one call)
      └─> Branch [step, step] ─┬─> leaf 0 (a shuffle)
                               └─> Branch tag="bad" [step] ──> leaf 1 (a sink)

A program is pickled once a phase and sent to each worker once; tasks carry only their inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dataflow.algebra.aggregator import Aggregator
from dataflow.io.source import Source, Split
from dataflow.plan.nodes import Relation, ViewKind
from dataflow.plan.origin import Origin
from dataflow.plan.steps import Resources, Step
from dataflow.record import record
from dataflow.shard.runfile import RunFile

if TYPE_CHECKING:
    from dataflow.expr.nodes import ExprNode, SortKey
    from dataflow.expr.types import DType
    from dataflow.io.sink import FileSink

__all__ = [
    "BoundStep", "Branch", "DealRoot", "GroupRoot", "KeepLeaf", "KeptRoot", "Leaf", "MergeRoot", "OperateRoot", "PieceRoot", "Program",
    "QueryRoot", "Root", "ScanRoot", "Share", "ShuffleInput", "ShuffleLeaf", "SideValue", "SinkLeaf", "SortRoot", "SourceRoot", "TaskInput",
]  # fmt: skip


@record
class SourceRoot:
    """The elements of splits."""

    source: Source


@record
class GroupRoot:
    """(key, values) of a range of a shuffle; with ``merge``, the step of an aggregator, (key, result) of accumulators."""

    merge: Step | None = None
    sort_values: bool = False
    sort_key: Callable[[Any], Any] | None = None


@record
class SortRoot:
    """The elements of a range of a sorting shuffle, in order."""

    descending: bool = False


@record
class DealRoot:
    """The elements of one share of a redistribution."""


@record
class KeptRoot:
    """The elements of files that an earlier phase kept."""


@record
class MergeRoot:
    """The rows of some files of a shuffle, as they are in it: for one larger file of the same shuffle."""


@record
class OperateRoot:
    """One element: a function's result over whole values."""

    fn: Callable[..., Any]
    args: tuple[str, ...]


@record
class QueryRoot:
    """The records of a relational query. ``inputs``: for each `Given` of the tree a source that the kernel scans, or the
    name of a side value."""

    relation: Relation
    inputs: tuple[Source | str, ...]
    origin: Origin


@record
class ScanRoot:
    """The records that a relational tree makes of splits of a source that the kernel scans itself. ``sides``: whole values."""

    source: Source
    relation: Relation
    sides: tuple[str, ...]
    origin: Origin


@record
class PieceRoot:
    """The records that a relational tree makes of a range of a shuffle with ``sides`` parts; never less than a whole key, except of
    the parts in ``splittable``: the tree may run on any of their records apart. ``first``, ``whole_below``: as of `Exchange`."""

    relation: Relation
    sides: int
    origin: Origin
    splittable: tuple[int, ...] = ()
    first: int | None = None
    whole_below: int = 0


Root = SourceRoot | GroupRoot | SortRoot | DealRoot | KeptRoot | MergeRoot | OperateRoot | QueryRoot | PieceRoot | ScanRoot


@record
class ShuffleLeaf:
    """Elements into a shuffle. ``kind``: by hash of the key ("group"), by order ("sort"), dealt in turn ("deal"), records by
    the hash of expressions ("columns": ``hash_on`` as ``types``; ``side`` numbers the part); "sort" of records has ``order``.
    ``combined_by``: the step of the combiner."""

    shuffle: str
    kind: str
    combiner: Aggregator[Any, Any, Any] | None = None
    sort_key: Callable[[Any], Any] | None = None
    partitioner: Callable[[Any, int], int] | None = None
    partitions: int | None = None
    label: str = ""
    declared: str = ""
    declared_text: str = ""
    combined_by: str = ""
    hash_on: tuple[ExprNode, ...] | None = None
    types: tuple[DType, ...] = ()
    order: tuple[SortKey, ...] | None = None
    side: int = 0


@record
class SinkLeaf:
    """Elements into files of a sink's staging folder."""

    index: int
    sink: FileSink
    staging: str
    label: str = ""
    declared: str = ""
    declared_text: str = ""


@record
class KeepLeaf:
    """Elements into files of the run, for a later phase, a side input, or the user. ``limit`` rows are enough.

    ``records``: kept as columns, for a query.
    """

    name: str
    limit: int | None = None
    records: bool = False


Leaf = ShuffleLeaf | SinkLeaf | KeepLeaf


@record
class BoundStep:
    """A step and the names of the values its function takes besides the element."""

    step: Step
    sides: tuple[str, ...] = ()


@record
class Branch:
    """Steps in turn, then all ``branches`` and ``leaves`` (numbers into `Program.leaves`)."""

    steps: tuple[BoundStep, ...] = ()
    branches: tuple[Branch, ...] = ()
    leaves: tuple[int, ...] = ()
    tag: str | None = None


@record
class Program:
    """All that the tasks of one phase have in common. ``declared``: where the user wrote the root, for messages."""

    phase: str
    label: str
    root: Root
    tree: Branch
    leaves: tuple[Leaf, ...]
    sides: tuple[str, ...] = ()
    declared: str = ""
    declared_text: str = ""
    resources: Resources | None = None


@record
class SideValue:
    """A whole value that steps take: the files that hold it and how they are seen."""

    kind: ViewKind
    files: tuple[RunFile, ...]
    default: Callable[[], Any] | None = None


@record
class Share:
    """Of one side of a range of a shuffle, the rows from one place to another: the number of a file, and of a row of the range in it.

    The rows of a key stand in each file in the order in which its task met them, so a share is the same rows in every attempt.
    """

    side: int
    begin: tuple[int, int]
    end: tuple[int, int]


@record
class ShuffleInput:
    """A range of a shuffle: all the blocks between two keys (`first` inclusive, `last` exclusive; None is open).

    A piece of an exchange may be less than a bucket: the rows whose hash is in ``hashes`` (both inclusive), and of some sides ``shares``.
    """

    files: tuple[RunFile, ...]
    first: Any = None
    last: Any = None
    bytes: int = 0
    hashes: tuple[int, int] | None = None
    shares: tuple[Share, ...] = ()


@record
class TaskInput:
    """What one task reads: splits, or a range of a shuffle, or kept files. ``rows`` restricts it to rows [a, b)."""

    splits: tuple[Split, ...] = ()
    shuffle: ShuffleInput | None = None
    files: tuple[RunFile, ...] = ()
    rows: tuple[int, int | None] = (0, None)
    bytes: int = 0
    seed: int = 0

    def ranges(self) -> list[tuple[str, str, int, int]]:
        """Place, path, offset and length of every block that it reads, in the order of the files."""
        low, high = (self.shuffle.first, self.shuffle.last) if self.shuffle is not None else (None, None)
        return [
            (file.place, file.path, block.offset, block.length)
            for file in (self.shuffle.files if self.shuffle is not None else self.files)
            for block in file.blocks
            if (low is None or block.last >= low) and (high is None or block.first < high)
        ]
