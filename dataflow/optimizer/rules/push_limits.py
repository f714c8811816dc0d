"""Push limits: of what only the first records are asked for, no more are made.

    limit n over select(f(x))            ──>   select(f(x)) over limit n
    limit n over sort by k               ──>   top n by k
    limit n over union(A, B)             ──>   limit n over union(limit n over A, limit n over B)
    limit n over left join(L, R)         ──>   limit n over left join(limit n over L, R)
    top n by l over left join(L, R)      ──>   top n by l over left join(top n by l over L, R)

Past whatever gives every record of its input at least once: projections, the left side of joins that keep it, both sides of a
cross join, explode, unpivot. Not past windows, which count the records, nor into what others read too: they need them all.
A top n goes as far as its keys are columns. So a function of columns is called n times, not once for every record.

Life of a limit: `push_limits` meets it when everything below is done; `_Pusher.first` takes it down past what gives one record for
one, and places it there, over a node whose own inputs `_Pusher.fewer` has limited in the same way.
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.expr.nodes import Column, ExprNode, SortKey, has_window
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import named
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import Explode, Join, Limit, OrderBy, Project, Union, Unnest, Unpivot, expressions_of
from dataflow.plan.traversal import read_twice, topological
from dataflow.record import record

__all__ = ["push_limits"]

DEEPEST = 100  # steps that a limit goes down at once: a loop of a user's may make thousands, each a few calls on Python's stack
_KEEPS_LEFT = ("left", "single", "mark", "cross")
_Keys = tuple[SortKey, ...]  # of a top n; none for a limit


def push_limits(plan: Plan, remarks: Remarks) -> Plan:
    """Move every limit, and every sort that has one, as far down as it goes."""
    order = topological(plan)
    if not any(isinstance(node, Limit) or (isinstance(node, OrderBy) and node.limit is not None) for node in order):
        return plan
    twice = read_twice(plan)
    shared = set[int]()
    new: dict[int, Node] = {}
    for node in order:
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        pushed = _pushed(made, shared)
        if pushed is not made:
            remarks.say(f"pushed: {node.label} to where no more records than it lets through are needed")
        new[id(node)] = pushed
        if id(node) in twice:
            shared.add(id(pushed))
    return tuple(new[id(node)] for node in plan)


def _pushed(node: Node, shared: set[int]) -> Node:
    match node:
        case Limit(input=below, count=int(count), offset=offset):
            first = _Pusher(node, shared).first(below, count + offset, ())
            if isinstance(first, Limit) and not first.offset and first.count == count + offset:  # it went nowhere, or copies of it did
                return node.with_inputs((first.input,))
            return replace(node, input=first) if offset else first
        case OrderBy(input=below, limit=int(count), keys=keys):
            first = _Pusher(node, shared).first(below, count, keys)
            return node if isinstance(first, OrderBy) and first.input is below else first
        case _:
            return node


@record(frozen=False, eq=True)
class _Pusher:
    """Takes one limit down."""

    limit: Relation
    shared: set[int]
    placed: int = 0
    depth: int = 0

    def first(self, node: Node, count: int, keys: _Keys) -> Node:
        """The first ``count`` records of a node, by the keys if there are any."""
        if self.depth < DEEPEST and self.may_enter(node):
            self.depth += 1
            try:
                return self._entered(node, count, keys)
            finally:
                self.depth -= 1
        return self._here(node, count, keys)

    def _entered(self, node: Node, count: int, keys: _Keys) -> Node:
        match node:
            case OrderBy(limit=None) if not keys:
                return self.first(node.input, count, node.keys)  # type: ignore[attr-defined]
            case Limit(count=int(fewer)) if not keys:
                return replace(node, count=min(fewer, count))
            case Project() | Unnest() if (there := _keys_below(node, keys)) is not None and isinstance(node.input, Relation):
                return node.with_inputs((self.first(node.input, count, there),))
            case _:
                return self._here(self.fewer(node, count, keys), count, keys)

    def _here(self, node: Node, count: int, keys: _Keys) -> Node:
        """The limit right above a node."""
        self.placed += 1
        label = inner_label(self.limit.label, "first", self.placed)
        schema = node.schema if isinstance(node, Relation) else self.limit.schema
        if keys:
            return OrderBy(
                label=label, origin=self.limit.origin, element=self.limit.element, schema=schema, input=node, keys=keys, limit=count
            )
        return Limit(label=label, origin=self.limit.origin, element=self.limit.element, schema=schema, input=node, count=count)

    def fewer(self, node: Node, count: int, keys: _Keys) -> Node:
        """The node over no more records than its first ``count`` come of."""
        there = _keys_below(node, keys)
        if there is None:
            return node
        match node:
            case Join(how=how, left=left, right=right) if how in _KEEPS_LEFT:
                alone = how == "cross" and not keys
                return replace(node, left=self.first(left, count, there), right=self.first(right, count, ()) if alone else right)
            case Explode() | Unpivot():
                return node.with_inputs((self.first(node.input, count, there),))
            case Union(parts=parts) if all(_same_type(node, part, keys) for part in parts):
                return replace(node, parts=tuple(self.first(part, count, keys) for part in parts))
            case _:
                return node

    def may_enter(self, node: Node) -> bool:
        """Whether other records of this node than its first are nobody's business, and its columns known."""
        alone = isinstance(node, Relation) and node.schema is not None and id(node) not in self.shared
        return alone and not any(map(has_window, expressions_of(node))) and all(isinstance(one, Relation) for one in node.inputs)


def _keys_below(node: Node, keys: _Keys) -> _Keys | None:
    """Keys in terms of a node's first input, where each is a plain column there; None else."""
    if not keys:
        return ()
    names = _columns_below(node)
    found = []
    for key in keys:
        if not isinstance(key.expr, Column) or key.expr.name not in names:
            return None
        found.append(replace(key, expr=Column(names[key.expr.name])))
    return tuple(found)


def _columns_below(node: Node) -> dict[str, str]:
    """Those columns of a node that are columns of its first input, and what they are called there."""
    (first, *_) = node.inputs
    same = {name: name for name in first.schema or ()} if isinstance(first, Relation) else {}
    match node:
        case Project(exprs=exprs, keep=keep):
            new: dict[str, ExprNode] = named(exprs, tuple(same))
            kept = {name: name for name in same if name not in new} if keep else {}
            return kept | {name: expr.name for name, expr in new.items() if isinstance(expr, Column)}
        case Unnest(columns=columns) | Explode(columns=columns):
            return {name: name for name in same if name not in columns}
        case Unpivot(index=index):
            return {name: name for name in index}
        case _:
            return same


def _same_type(node: Relation, part: Node, keys: _Keys) -> bool:
    """Whether a part of a union has the keys as columns of the type they come out with."""
    have = part.schema if isinstance(part, Relation) else None
    out = node.schema or {}
    return have is not None and all(
        isinstance(key.expr, Column) and key.expr.name in have and have[key.expr.name] == out.get(key.expr.name) for key in keys
    )
