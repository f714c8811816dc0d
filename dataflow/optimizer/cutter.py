"""A query cut into pieces: what works on any part of its records becomes steps, and what needs equal keys together exchanges.

What works on any part of a collection (filters, columns, the first half of an aggregation) becomes a step, which is fused with
its neighbours; what needs equal keys together becomes an `Exchange`; an order becomes a `Sort`. A small side of a join goes whole
to every part of the other instead of both being exchanged; a side that may turn out small is made first, and its size then decides.
Tables whose files are in the order of the key are joined range by range (`in_ranges`), before others if need be (`join_mates`).

Life of a node: `Cutter.cut` (of a join `CuttingJoins.join`) gives each relational node a `Part`: a plan node and the tree still to be
run on any part of it; a node that needs more than a part first lets that tree run (`Cutting.made`). The tree of an exchange that
distributes over a side (a join, with what works on any part above it) is marked as splittable by it, for keys that turn out to be heavy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Alias, Column, ExprNode, Window, has_apply, has_window, walk
from dataflow.optimizer.cutting_joins import CuttingJoins
from dataflow.optimizer.estimates import estimated_bytes, needed_columns
from dataflow.optimizer.halves import distinct_first, halves
from dataflow.optimizer.in_ranges import read_in_ranges
from dataflow.optimizer.parts import Part, as_column, planted
from dataflow.optimizer.rule import Remarks
from dataflow.plan.columns_out import named, schema_of
from dataflow.plan.labels import users_label
from dataflow.plan.nodes import Exchange, Flatten, Node, Query, Read, Relation, Sort, View
from dataflow.plan.relational import (
    AsOfJoin,
    Distinct,
    Explode,
    Given,
    GroupAggregate,
    Join,
    Limit,
    OrderBy,
    Project,
    Union,
    Unnest,
    Unpivot,
    Where,
    expressions_of,
)  # fmt: skip
from dataflow.plan.traversal import read_twice, topological

__all__ = ["cut"]


def cut(query: Query, memory: int, remarks: Remarks, labels: Iterator[int]) -> Node:
    """The plan of pieces that gives a query's records; all its columns are known. ``labels``: numbers that no other label has."""
    return Cutter(query, memory, remarks, labels).run()


class Cutter(CuttingJoins):
    """One query, cut node by node. ``needed``: the columns of each input that it uses, None for all."""

    def __init__(self, query: Query, memory: int, remarks: Remarks, labels: Iterator[int]) -> None:
        super().__init__(query, memory, remarks, labels)
        self.needed = needed_columns(query)

    def run(self) -> Node:
        twice = read_twice((self.query.root,))
        for node in topological((self.query.root,)):
            assert isinstance(node, Relation)
            part = self.cut(node)
            if id(node) in twice and self.better_apart(node, part):
                self.remarks.say(f"read apart: {node.label}, as it is joined, and a second scan costs less than a shuffle")
                self.apart.add(id(part.node))
            elif id(node) in twice and not isinstance(node, Given):
                made = self.made(part)
                self.shared[id(made)] = made
                part = self.over(made, part.schema, part.bytes)
            self.parts[id(node)] = part
        found = self.made(self.parts[id(self.query.root)], always=True)
        return replace(found, label=self.query.label)

    def better_apart(self, node: Relation, part: Part) -> bool:
        """Whether all who need a part had better scan its files themselves. In one pass with others, the part of a join could neither wait
        until it is seen that the other side is small, nor be read in ranges of the key: TPC-H 17 and 18 took five times as long."""
        if part.sides or part.together or not (isinstance(part.node, Read) and hasattr(part.node.source, "in_ranges")):
            return False
        if any(has_apply(expr) for below in topological((part.tree,)) for expr in expressions_of(below)):
            return False
        return self.is_joined(node)

    def is_joined(self, node: Relation) -> bool:
        """Whether a join with keys reads a node, or what filters and choices of columns leave of it."""
        readers = list(self.readers[id(node)])
        while readers:
            one = readers.pop()
            if isinstance(one, Join) and one.left_on:
                return True
            if isinstance(one, (Project, Where)):
                readers += self.readers[id(one)]
        return False

    def cut(self, node: Relation) -> Part:
        """What becomes of one relational node, its inputs cut already."""
        match node:
            case Given(index=index):
                return self.source(node, index)
            case Where():
                part = self.parts[id(node.input)]
                if has_window(node.predicate):
                    return self.windowed(node, (node.predicate,), part)
                return self.with_tree(part, node, max(1, part.bytes // 3))
            case Project():
                return self.project(node, self.parts[id(node.input)])
            case Explode() | Unnest() | Unpivot():
                return self.with_tree(self.parts[id(node.input)], node)
            case GroupAggregate():
                return self.aggregate(node, self.parts[id(node.input)])
            case Join():
                return self.join(node)
            case AsOfJoin():
                left, right = self.parts[id(node.left)], self.parts[id(node.right)]
                root = replace(node, left=self.given(node, left, 0), right=self.given(node, right, 1))
                keys = [tuple(Column(n) for n in node.left_by), tuple(Column(n) for n in node.right_by)]
                return self.exchange(node, [left, right], keys, root, left.bytes)
            case OrderBy():
                return self.order(node, self.parts[id(node.input)])
            case Limit():
                return self.limit(node)
            case Distinct(columns=columns):
                part = self.parts[id(node.input)]
                names = tuple(map(Column, columns if columns is not None else part.schema))
                part = self.in_ranges(part, names)
                if self.has_whole_keys(node, part, names):
                    return self.with_tree(part, node)
                part = self.with_tree(part, node)
                piece = replace(node, input=self.given(node, part, 0))
                return self.exchange(node, [part], [names], piece, part.bytes)
            case Union():
                return self.union(node)
            case _:
                raise AssertionError(type(node).__name__)

    def source(self, node: Given, index: int) -> Part:
        made = self.query.sources[index]
        needed = self.needed[index]
        size = estimated_bytes(made, needed)
        if isinstance(made, View):
            return self.over(made.input, node.schema, size)
        assert isinstance(made, Read)
        assert node.schema is not None
        pruned = getattr(made.source, "pruned", None)
        if needed and pruned is not None and len(needed) < len(node.schema):
            made = replace(made, label=self.label(made, "columns"), source=pruned(needed))
            return replace(self.over(made, {name: node.schema[name] for name in needed}, size), sure=True)
        return replace(self.over(made, node.schema, size), sure=True)

    def project(self, node: Project, part: Part) -> Part:
        if not any(has_window(expr) for expr in node.exprs):
            return self.with_tree(part, node)
        return self.windowed(node, node.exprs, part)

    def windowed(self, node: Project | Where, exprs: Sequence[ExprNode], part: Part) -> Part:
        """A node with windows: what they are all partitioned by comes together."""
        windows = [one for expr in exprs for one in walk(expr) if isinstance(one, Window)]
        keys = windows[0].partition
        if any(window.partition != keys for window in windows):  # they meet only in one piece
            shared = tuple(key for key in keys if all(key in window.partition for window in windows))
            keys = shared
        part = self.in_ranges(part, keys)
        if self.has_whole_keys(node, part, keys):
            return self.with_tree(part, node)
        root = replace(node, input=self.given(node, part, 0))
        return self.exchange(node, [part], [keys], root, part.bytes)

    def aggregate(self, node: GroupAggregate, part: Part) -> Part:
        if node.sets is not None:
            return self.grouping_sets(node, part)
        plain = {key.name for key in node.keys if isinstance(key, Column)}
        part = self.in_ranges(part, node.keys)
        if self.has_whole_keys(node, part, node.keys):
            return self.with_tree(part, node)
        if part.together and part.together <= plain and isinstance(part.node, Exchange) and not part.sides:
            self.remarks.say(f"no shuffle: {node.label} groups by what {part.node.label} brought together")
            return self.on_pieces(node, part)
        split = halves(node, part.schema)
        if split is None and (steps := distinct_first(node, part.schema)) is not None:
            inner, outer = steps
            self.remarks.say(f"two steps: {node.label} first finds the different values, then counts them")
            found = self.aggregate(replace(inner, label=self.label(node, "values")), part)
            return self.aggregate(replace(outer, label=self.label(node, "counts")), found)
        if split is None:
            root = replace(node, input=self.given(node, part, 0))
            return self.exchange(node, [part], [node.keys], root, part.bytes)
        keys, partials, finals = split
        first = self.with_tree(part, node, aggs=partials, keys=keys)
        own = tuple(Column(name) for name in named(keys, tuple(part.schema)))
        merged = GroupAggregate(
            label=self.label(node, "merge"), origin=node.origin, input=self.given(node, first, 0), keys=own,
            aggs=tuple(Alias(one, name) for name, one in finals.merges),
        )  # fmt: skip
        merged = replace(merged, schema=schema_of(merged, (first.schema,)))
        shown = Project(label=self.label(node, "present"), origin=node.origin, input=merged, exprs=(*own, *finals.results))
        shown = replace(shown, schema=schema_of(shown, (merged.schema,)))
        return self.exchange(node, [first], [own], shown, part.bytes // 2)

    def in_ranges(self, part: Part, keys: Sequence[ExprNode]) -> Part:
        """A part read in ranges of one of these keys, if its files are in the order of one."""
        if part.together or not keys:
            return part
        found = read_in_ranges([(part.node, part.tree)], [(key,) for key in keys], self.memory)
        if found is None:
            return part
        read, at = found
        key = keys[at]
        assert isinstance(key, Column)
        return replace(part, node=replace(read, label=self.label(part.node, "ranges")), together=frozenset((key.name,)))

    def has_whole_keys(self, node: Relation, part: Part, keys: Sequence[ExprNode]) -> bool:
        """Whether a part is read in ranges that have all records of every combination of keys."""
        if not (isinstance(part.node, Read) and part.together and part.together <= {key.name for key in keys if isinstance(key, Column)}):
            return False
        self.remarks.say(f"no shuffle: {users_label(part.node.label)} is read in ranges of what {node.label} brings together")
        return True

    def on_pieces(self, node: GroupAggregate, part: Part) -> Part:
        """A node that needs equal keys together, run on the pieces in which they are."""
        assert isinstance(part.node, Exchange)
        root = replace(node, input=planted(part.tree, part.node.root), label=self.label(node, "pieces"))
        made = replace(part.node, root=root, splittable=(), first=None, label=self.label(node, "exchange"))
        return replace(self.over(made, node.schema, part.bytes), together=part.together)

    def grouping_sets(self, node: GroupAggregate, part: Part) -> Part:
        """One aggregation for every set, put together: each has keys of its own to meet by."""
        source = self.made(part)
        found: list[Node] = []
        assert node.sets is not None
        assert node.schema is not None
        for chosen in node.sets:
            one = self.over(source, part.schema, part.bytes)
            root = replace(node, sets=(chosen,), input=self.given(node, one, 0), label=self.label(node, "set"))
            keys = tuple(node.keys[at] for at in chosen)
            found.append(self.made(self.exchange(node, [one], [keys], root, part.bytes)))
        flat = Flatten(label=self.label(node, "sets"), origin=node.origin, element=dict[str, Any], parts=tuple(found))
        return self.over(flat, node.schema, part.bytes)

    def order(self, node: OrderBy, part: Part) -> Part:
        if node.limit is not None:
            best = self.with_tree(part, node)
            root = replace(node, input=self.given(node, best, 0))
            return self.exchange(node, [best], [()], root, part.bytes // 100)
        made = Sort(label=self.label(node, "order"), origin=node.origin, element=dict[str, Any], input=self.made(part), order=node.keys)
        return self.over(made, part.schema, part.bytes)

    def limit(self, node: Limit) -> Part:
        child = node.input
        some = None if node.count is None else node.count + node.offset
        if isinstance(child, OrderBy) and child.limit is None and some is not None:
            part = self.parts[id(child.input)]
            top = replace(child, limit=some)
            best = self.with_tree(part, top)
            ordered = replace(top, input=self.given(node, best, 0))
            root = replace(node, input=ordered)
            return self.exchange(node, [best], [()], root, part.bytes // 100)
        part = self.parts[id(child)]
        if some is not None and not isinstance(child, OrderBy):
            part = self.with_tree(part, node, count=some, offset=0)
        root = replace(node, input=self.given(node, part, 0))
        return self.exchange(node, [part], [()], root, part.bytes // 100)

    def union(self, node: Union) -> Part:
        assert node.schema is not None
        found: list[Node] = []
        size = 0
        for child in node.parts:
            part = self.parts[id(child)]
            exprs = tuple(as_column(name, kind, part.schema) for name, kind in node.schema.items())
            fitting = Project(label=self.label(node, "fit"), origin=node.origin, input=part.tree, exprs=exprs)
            found.append(self.made(self.with_tree(part, fitting)))
            size += part.bytes
        flat = Flatten(label=self.label(node, "all"), origin=node.origin, element=dict[str, Any], parts=tuple(found))
        return self.over(flat, node.schema, size)
