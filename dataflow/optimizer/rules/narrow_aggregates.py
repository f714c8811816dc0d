"""Narrow aggregates: of what is aggregated only to be joined, the groups that the join will drop are not made.

    join(L[p filtered], aggregate R by k)  on  L.x = k   ──>   join(L, aggregate (R semi join L on k = L.x) by k)

So a query that looks up an average for each of a few parts does not average all parts: a correlated subquery becomes such a
plan. Done where the left side is filtered by something that leaves little (an equality, a pattern, a list), because the left
side is then needed twice; for the joins that drop, or fill with null, a left record without a partner.
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.expr.nodes import Alias, Call, Column, ExprNode, walk
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import named, schema_of
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import GroupAggregate, Join, Project, Where
from dataflow.plan.traversal import consumers, topological

__all__ = ["narrow_aggregates"]

_SELECTIVE = frozenset(("equal", "is_in", "str.like", "str.starts_with", "str.contains", "equal_missing"))


def narrow_aggregates(plan: Plan, remarks: Remarks) -> Plan:
    """Put a semi join below every aggregation that only a filtered side is joined to."""
    readers = consumers(plan)
    new: dict[int, Node] = {}
    for node in topological(plan):
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if isinstance(made, Join) and isinstance(node, Join) and made.how in ("inner", "left", "single", "semi", "anti"):
            path = _path(node.right, readers)
            if path is not None and made.left_on and _is_narrow(made.left):
                found = _narrowed(made, _path(made.right, None) or [])
                if found is not None:
                    remarks.say(f"narrowed: the aggregation below {node.label} to the keys of its left side")
                    made = found
        new[id(node)] = made
    return tuple(new[id(node)] for node in plan)


def _path(node: Node, readers: dict[int, list[Node]] | None) -> list[Relation] | None:
    """Selects and filters down to an aggregation, which comes last; None where there is none, or where others read it too."""
    path: list[Relation] = []
    while True:
        if readers is not None and len(readers[id(node)]) > 1:
            return None
        match node:
            case GroupAggregate(sets=None) if node.keys and isinstance(node.input, Relation):
                return [*path, node]
            case Project(keep=False, input=below) | Where(input=below):
                assert isinstance(node, Relation)
                path.append(node)
                node = below
            case _:
                return None


def _is_narrow(node: Node) -> bool:
    """Whether a filter below a node is likely to leave little of it."""
    for one in topological((node,)):
        if isinstance(one, Where):
            if any(isinstance(part, Call) and part.operation in _SELECTIVE for part in walk(one.predicate)):
                return True
    return False


def _narrowed(node: Join, path: list[Relation]) -> Join | None:
    if not path:
        return None
    aggregate = path[-1]
    assert isinstance(aggregate, GroupAggregate)
    below = aggregate.input
    if not isinstance(below, Relation) or below.schema is None:
        return None
    keys = named(aggregate.keys, tuple(below.schema))
    pairs: list[tuple[ExprNode, ExprNode]] = []
    for left, right in zip(node.left_on, node.right_on, strict=True):
        name = _below(right, path[:-1])
        if name is not None and name in keys:
            pairs.append((keys[name], left))
    if not pairs or not isinstance(node.left, Relation) or node.left.schema is None:
        return None
    label = f"{node.label} keys"
    exprs = tuple(Alias(left, f"key {at}") for at, (_, left) in enumerate(pairs))
    asked = Project(label=label, origin=node.origin, element=node.element, input=node.left, exprs=exprs)
    asked = replace(asked, schema=schema_of(asked, (node.left.schema,)))
    semi = Join(
        label=f"{node.label} narrowed", origin=node.origin, element=node.element, schema=below.schema, left=below, right=asked, how="semi",
        left_on=tuple(key for key, _ in pairs), right_on=tuple(Column(f"key {at}") for at in range(len(pairs))), null_equal=node.null_equal,
    )  # fmt: skip
    grown: Relation = replace(aggregate, input=semi)
    for one in reversed(path[:-1]):
        grown = replace(one, input=grown)  # type: ignore[call-arg]
    return replace(node, right=grown)


def _below(expr: ExprNode, path: list[Relation]) -> str | None:
    """The name that a plain column has below selects and filters."""
    for node in path:
        if not isinstance(expr, Column):
            return None
        if isinstance(node, Project):
            assert isinstance(node.input, Relation)
            found = named(node.exprs, tuple(node.input.schema or ())).get(expr.name)
            if found is None:
                return None
            expr = found
    return expr.name if isinstance(expr, Column) else None
