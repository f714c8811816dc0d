"""How many records each node of a plan gives, and how much the inputs of a query take in memory, guessed before anything runs.

    Read (footers, a sample) ─> Where ─> Join ─> GroupAggregate ─> …       each by `cardinality`
         rows, columns

What is not known stays so: above records that a Python function makes there is no estimate. How wrong estimates get after a few joins
is in Leis et al., "How good are query optimizers, really?" (VLDB 2015); so nothing here is relied on where much is at stake.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dataflow.errors import DataflowError
from dataflow.expr.nodes import columns_of, name_of
from dataflow.expr.types import DType
from dataflow.optimizer.cardinality import estimate, together
from dataflow.plan.nodes import Exchange, Flatten, Fused, Node, ParallelDo, Port, Query, Read, Relation, Sort, View
from dataflow.plan.relational import Distinct, Given, GroupAggregate, Join, Project, Table, Where
from dataflow.plan.statistics import Statistics
from dataflow.plan.traversal import consumers, topological

__all__ = ["columns_that_matter", "estimate_notes", "estimated_bytes", "estimates", "needed_columns"]


def estimated_bytes(source: Node, columns: tuple[str, ...] | None) -> int:
    """About how much the records of a source take in memory: of a read its own estimate, of anything else that of what it reads."""
    total = 0
    for node in topological((source,)):
        if isinstance(node, Read):
            size = getattr(node.source, "estimated_bytes", None)
            total += int(size(columns if node is source else None)) if size is not None else 0
    return total


def needed_columns(query: Query) -> list[tuple[str, ...] | None]:
    """The columns of each input that a query uses, None for all: those of the selects that `prune_columns` put over it."""
    found: list[tuple[str, ...] | None] = [None] * len(query.sources)
    readers = consumers((query.root,))
    for node in topological((query.root,)):
        if isinstance(node, Given) and node.schema is not None:
            above = readers[id(node)]
            if all(isinstance(one, Project) and not one.keep for one in above):
                used = {name for one in above if isinstance(one, Project) for expr in one.exprs for name in columns_of(expr)}
                found[node.index] = tuple(name for name in node.schema if name in used)
    return found


def columns_that_matter(order: Sequence[Node]) -> set[str]:
    """The names of the columns by which nodes choose, join or group, all the way down; of a wide table these are few."""
    names: set[str] = set()
    for node in reversed(order):
        match node:
            case Where(predicate=predicate):
                names.update(columns_of(predicate))
            case GroupAggregate(keys=exprs):
                names.update(name for expr in exprs for name in columns_of(expr))
            case Distinct(columns=columns):
                names.update(columns or ())
            case Project(exprs=exprs):
                names.update([name for expr in exprs if name_of(expr) in names for name in columns_of(expr)])
            case Join(left_on=left_on, right_on=right_on, residual=residual, suffix=suffix):
                exprs = (*left_on, *right_on, *((residual,) if residual is not None else ()))
                names.update(name for expr in exprs for name in columns_of(expr))
                names.update([name.removesuffix(suffix) for name in names])
            case _:
                pass
    return names


def estimates(nodes: Iterable[Node], columns: Collection[str] | None = None) -> dict[int, Statistics]:
    """By the id of each node below these of which something is known, and of those within queries: what is known. ``columns``: the
    names of those that are asked about, None for all."""
    found: dict[int, Statistics] = {}

    def of_source(read: Read, schema: Mapping[str, DType] | None) -> Statistics | None:
        """What a source says of its columns. One that cannot be read says nothing; the run will say why."""
        ask = getattr(read.source, "statistics", None)
        if ask is None or schema is None:
            return None
        try:
            known: Statistics | None = ask({name: kind for name, kind in schema.items() if columns is None or name in columns})
        except (DataflowError, OSError):
            return None
        return known

    def inside(root: Relation, sources: Sequence[Node]) -> Statistics | None:
        """The nodes of a tree over `Given` leaves."""
        for node in topological((root,)):
            assert isinstance(node, Relation)
            if isinstance(node, Given):
                source = sources[node.index]
                made = of_source(source, node.schema) if isinstance(source, Read) else found.get(id(source))
            else:
                made = estimate(node, [found.get(id(child)) for child in node.inputs])
            if made is not None:
                found[id(node)] = made
        return found.get(id(root))

    def made_by(node: Node) -> Statistics | None:
        match node:
            case Query(sources=sources, root=root) | Exchange(parts=sources, root=root):
                return inside(root, sources)
            case ParallelDo(input=below, step=step, sides=sides) if step.kind == "query":
                return inside(step.arg, (*_read_together(below), *sides))
            case Fused(input=below, pipe=pipe) if not pipe.branches and all(one.step.kind == "query" for one in pipe.steps):
                for one in pipe.steps:
                    inside(one.step.arg, (*_read_together(below), *one.sides))
                    below = one.step.arg
                return found.get(id(below))
            case View(input=below) | Sort(input=below) | Port(input=below):
                return found.get(id(below))
            case Flatten(parts=parts):
                known = [found[id(part)] for part in parts if id(part) in found]
                return together(known) if len(known) == len(parts) else None
            case Table(input=Read() as read, schema=schema):
                return of_source(read, schema)
            case Relation():
                return estimate(node, [found.get(id(child)) for child in node.inputs])
            case _:
                return None

    for node in topological(nodes):
        made = made_by(node)
        if made is not None:
            found[id(node)] = made
    return found


def _read_together(node: Node) -> tuple[Node, ...]:
    """The collections that a step is given with a node: of sources that are read together, all."""
    if not isinstance(node, Read):
        return (node,)
    return tuple(replace(node, source=part) for part in getattr(node.source, "parts", ())) or (node,)


def estimate_notes(plan: Iterable[Node], counted: Mapping[int, int] | None = None) -> dict[int, str]:
    """What `explain` says of each relational node, by its id: the estimate, and beside it what was ``counted``."""
    from dataflow.plan.explain_relational import sized

    known = estimates(plan)
    counted = counted or {}
    notes = {}
    for node in topological(plan):
        tops: dict[int, Relation] = {}
        match node:
            case Relation():
                tops[id(node)] = node
            case Query(root=root):
                tops = {id(one): one for one in topological((root,)) if isinstance(one, Relation)}
            case Exchange(root=root):
                tops[id(node)] = root
            case ParallelDo(step=step) if step.kind == "query":
                tops[id(node)] = step.arg
            case Fused(pipe=pipe) if id(node) in known:
                tops[id(node)] = pipe.steps[-1].step.arg
            case _:
                pass
        for at, top in tops.items():
            if at in known:
                notes[at] = sized(known[at].rows, known[at].bytes(top.schema or {}), counted.get(at))
    return notes
