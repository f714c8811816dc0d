"""The logical nodes. A plan is a DAG of them; a node is a vertex, equal only to itself.

    Read ─> ParallelDo ─> GroupByKey ─> CombineValues ─> Write
              │  └─> TaggedOutput
              └─> Flatten ─> Sort | Redistribute ─> View ─> (side input of a ParallelDo, or of Operate)

The relational nodes, on the columns of records, are in `plan.relational`; `Relation` here is what they have in common.
Three more appear only in optimized plans: `Query`, a tree of relational nodes run as one, `Fused`, a tree of steps over one
input, and `Port`, one of the collections such a tree gives. What every node means is said once, by `runners/reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dataflow.algebra.aggregator import Aggregator
from dataflow.plan.origin import Origin
from dataflow.plan.steps import Step
from dataflow.record import record

if TYPE_CHECKING:
    from dataflow.expr.nodes import ExprNode, SortKey
    from dataflow.expr.types import DType

__all__ = [
    "CombineValues", "Exchange", "Flatten", "Fused", "GroupByKey", "Node", "Operate", "ParallelDo", "Pipe", "PipeStep",
    "Port", "Query", "Read", "Redistribute", "Relation", "SideInput", "Sort", "TaggedOutput", "View", "ViewKind", "Write",
]  # fmt: skip

ViewKind = Literal["singleton", "list", "dict", "iterable", "records", "stored"]


class SourceShape(Protocol):
    """What a plan knows of a source: how to name it, what makes two of them the same, and which columns are full."""

    def describe(self) -> str: ...
    def identity(self) -> tuple[Any, ...]: ...
    def without_nulls(self, names: frozenset[str]) -> frozenset[str]: ...


class SinkShape(Protocol):
    """What a plan knows of a sink. ``path``: where it writes."""

    @property
    def path(self) -> str: ...

    def describe(self) -> str: ...


@record(kw_only=True)
class Node:
    """The common part: a unique label, where the user wrote it, and the element's type if known."""

    label: str
    origin: Origin
    element: Any = None

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes whose collections this one reads, side inputs last."""
        return ()

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """The same node over other inputs."""
        assert not inputs
        return self


@record(kw_only=True)
class Read(Node):
    """The elements of a source."""

    source: SourceShape


@record(kw_only=True)
class _OneInput(Node):
    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        (only,) = inputs
        return self if only is self.input else replace(self, input=only)


@record(kw_only=True)
class ParallelDo(_OneInput):
    """A step on every element. ``sides`` are given to its function as further arguments.

    ``alone`` is the reason the optimizer must not fuse it with its producer, if there is one.
    """

    step: Step
    sides: tuple[SideInput, ...] = ()
    alone: str = ""

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input, *self.sides)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        return self if inputs == self.inputs else replace(self, input=inputs[0], sides=inputs[1:])  # type: ignore[arg-type]


@record(kw_only=True)
class TaggedOutput(_OneInput):
    """The elements that a ParallelDo gave under a tag."""

    tag: str


@record(kw_only=True)
class GroupByKey(_OneInput):
    """Pairs to (key, values). Values keep the order of the input's shards unless ``sort_values``.

    ``combiner``, set by the optimizer: values are accumulators made before the shuffle, for the step ``combined_by``.
    ``partitioner(key, n)`` overrides the hash; ``partitions`` the number of reduce tasks.
    """

    sort_values: bool = False
    sort_key: Callable[[Any], Any] | None = None
    partitioner: Callable[[Any, int], int] | None = None
    partitions: int | None = None
    combiner: Aggregator[Any, Any, Any] | None = None
    combined_by: str = ""


@record(kw_only=True)
class CombineValues(_OneInput):
    """(key, values) to (key, aggregate of the values)."""

    aggregator: Aggregator[Any, Any, Any]


@record(kw_only=True)
class Flatten(Node):
    """The elements of all inputs together."""

    parts: tuple[Node, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.parts

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        return self if inputs == self.parts else replace(self, parts=inputs)


@record(kw_only=True)
class Sort(_OneInput):
    """The elements in order of ``key``, records also of their columns (``order``); kept by `collect` and by sinks."""

    key: Callable[[Any], Any] | None = None
    order: tuple[SortKey, ...] | None = None
    descending: bool = False


@record(kw_only=True)
class Redistribute(_OneInput):
    """The same elements, dealt anew over ``partitions`` tasks (and so, at a sink, that many files)."""

    partitions: int


@record(kw_only=True)
class View(_OneInput):
    """A whole collection as one value: a side input, or the value of a PObject; as "records", a table for a query;
    as "stored", files that stay where the run left them.

    ``singleton`` of an empty collection is ``default()``. ``limit``: that many elements are enough.
    """

    kind: ViewKind
    default: Callable[[], Any] | None = None
    limit: int | None = None


@record(kw_only=True)
class Operate(Node):
    """A function of whole values, run once."""

    args: tuple[SideInput, ...]
    fn: Callable[..., Any]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.args

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        return self if inputs == self.args else replace(self, args=inputs)  # type: ignore[arg-type]


SideInput = View | Operate


@record(kw_only=True)
class Write(_OneInput):
    """The elements into a sink; a leaf of the plan."""

    sink: SinkShape


@record(kw_only=True)
class Relation(Node):
    """A step on the columns of records: see `dataflow.plan.relational`. ``schema``: the columns that come out, if known."""

    schema: Mapping[str, DType] | None = None


@record(kw_only=True)
class Query(Node):
    """Only in optimized plans: a tree of relational nodes run as one by the kernel. ``root`` stands over `Given` leaves,
    and leaf ``i`` holds the records of ``sources[i]``: a `Read` that the kernel scans itself, or a `View` of anything else."""

    root: Relation
    sources: tuple[Node, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.sources

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        return self if inputs == self.sources else replace(self, sources=inputs)


@record(kw_only=True)
class Exchange(Node):
    """Only in optimized plans: a relational tree run piece by piece, over records brought together by the hash of their keys.

    Records of all ``parts`` whose ``keys`` (an expression each, of types ``types``) are equal meet in one piece; ``root``, over
    `Given` leaves that stand for the parts, gives the piece's records. Without keys there is one piece.

    ``splittable``: parts whose records need not meet: what the tree gives for any of them, with all of the other part's that have their
    keys, is put together the same. Sizes decide at the shuffle whether they are split.

    ``first``: the part that is made before the other, where its size is a guess and the other is splittable: if it turns out to be at
    most ``whole_below`` bytes, it goes whole to every part of the other, which is not exchanged at all.
    """

    parts: tuple[Node, ...]
    keys: tuple[tuple[ExprNode, ...], ...]
    types: tuple[DType, ...]
    root: Relation
    splittable: tuple[int, ...] = ()
    first: int | None = None
    whole_below: int = 0

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.parts

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        return self if inputs == self.parts else replace(self, parts=inputs)


@record
class PipeStep:
    """A step with the side inputs its function takes."""

    step: Step
    sides: tuple[SideInput, ...] = ()


@record
class Pipe:
    """Fused steps: first ``steps`` in turn, then every one of ``branches``; ``port`` numbers what leaves here.

    ``tag`` is the tagged output of the step before that feeds this pipe (None: its main output).

        steps: [map, filter] ─┬─> port 0           (someone outside reads it)
                              ├─> Pipe [key_by] ──> port 1
                              └─> Pipe tag="bad" ─> port 2
    """

    steps: tuple[PipeStep, ...]
    branches: tuple[Pipe, ...] = ()
    port: int | None = None
    tag: str | None = None


@record(kw_only=True)
class Fused(_OneInput):
    """A tree of steps run in one pass over one input; its collections are read through `Port`."""

    pipe: Pipe

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input, *pipe_sides(self.pipe))

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        from dataclasses import replace

        if inputs == self.inputs:
            return self
        sides = dict(zip(pipe_sides(self.pipe), inputs[1:], strict=True))
        return replace(self, input=inputs[0], pipe=_with_sides(self.pipe, sides))


@record(kw_only=True)
class Port(_OneInput):
    """One of the collections of a `Fused`."""

    index: int


def pipe_sides(pipe: Pipe) -> tuple[SideInput, ...]:
    """The different side inputs of a pipe, in order of first use."""
    found: dict[SideInput, None] = {}
    todo = [pipe]
    while todo:
        one = todo.pop(0)
        found.update((side, None) for step in one.steps for side in step.sides)
        todo[:0] = one.branches
    return tuple(found)


def _with_sides(pipe: Pipe, sides: dict[Any, Any]) -> Pipe:
    from dataclasses import replace

    steps = tuple(replace(s, sides=tuple(sides[side] for side in s.sides)) for s in pipe.steps)
    return replace(pipe, steps=steps, branches=tuple(_with_sides(b, sides) for b in pipe.branches))
