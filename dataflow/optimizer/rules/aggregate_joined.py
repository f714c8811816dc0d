"""Aggregate what is joined: records that the left side has already are not read, joined and filtered again for its partners.

    join(join(P filtered, T on P.k = T.k), mean of T by k)  on  P.k = k
    ──>   J = join(P filtered, T on P.k = T.k);   join(J, mean of J by P.k)  on  P.k = k

An average that is looked up for the parts of a query is of records which the query has: all of T that have one of its keys. They may be
there several times, each as often as the others of its key, and so it is done for functions to which that makes no difference. The idea
is in Zuzarte et al., "WinMagic: subquery elimination using window aggregation" (SIGMOD 2003).

It must be sure that J has all of them. Both sides are taken apart (`join_graph`). The tables of the groups are found among those of the
left side, by what they are and not by their names (`shapes`), with the same equalities between them; the conditions on them are the same
on both sides; and what else is joined on the left meets them in the groups' keys alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dataflow.expr.nodes import Aggregate, Alias, Call, Column, ExprNode, columns_of, walk
from dataflow.optimizer.conditions import renamed
from dataflow.optimizer.grouped_partners import Grouped, grouped_partners, is_narrow
from dataflow.optimizer.join_graph import JoinGraph, graph_below
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.optimizer.shapes import Shapes
from dataflow.plan.columns_out import aggregates_of, named
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import Join, Project
from dataflow.plan.traversal import read_twice, topological

__all__ = ["aggregate_joined"]

_ALIKE = frozenset(("min", "max", "mean", "n_unique", "any", "all"))  # of equally many of each value as of one
_TRIES = 64  # ways to find the tables of the groups among those of the left


def aggregate_joined(plan: Plan, remarks: Remarks) -> Plan:
    """Make groups of the left side of a join, where that has what they are of."""
    twice, shapes = read_twice(plan), Shapes()
    new: dict[int, Node] = {}
    for node in topological(plan):
        made = new[id(node)] = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if isinstance(made, Join) and isinstance(node, Join) and made.how in ("inner", "left", "single", "semi", "anti"):
            if grouped_partners(node, twice) is not None and (groups := grouped_partners(made, ())) is not None:
                if (right := _within(made, groups, shapes)) is not None:
                    remarks.say(f"joined: the aggregation below {node.label} is of records that its left side has")
                    new[id(node)] = replace(made, right=right)
    return tuple(new[id(node)] for node in plan)


def _within(node: Join, groups: Grouped, shapes: Shapes) -> Relation | None:
    """The right side as groups of the left; None where that may lack some of their records, or is not narrow: then it is read twice for
    nothing."""
    left, aggregate, columns = node.left, groups.aggregate, tuple(groups.below.schema or ())
    keys, aggs = named(aggregate.keys, columns), aggregates_of(aggregate, columns)
    if node.null_equal or not isinstance(left, Relation) or left.schema is None or not is_narrow(left) or not _counts_alike(aggs.values()):
        return None
    asked = {key.name: at.name for key, at in groups.keys if isinstance(key, Column) and isinstance(at, Column)}
    if not all(isinstance(key, Column) and key.name in asked for key in keys.values()):
        return None
    ours, theirs = graph_below(left), graph_below(groups.below)
    if len(theirs.tables) >= len(ours.tables) or theirs.equalities:
        return None
    outs = {name: out for out, name in ours.outputs.items()}
    wanted = dict.fromkeys(name for expr in (*keys.values(), *aggs.values()) for name in columns_of(expr))
    for places in _places(ours, theirs, shapes):
        names = _names(ours, theirs, places, shapes)
        by = {names.get(theirs.outputs[key], ""): ours.outputs[at] for key, at in asked.items()}
        found = {name: asked.get(name) or outs.get(names.get(theirs.outputs[name], ""), "") for name in wanted}
        if all(found.values()) and _same_records(ours, theirs, places, names, by):
            exprs = tuple(Column(old) if old == name else Alias(Column(old), name) for name, old in found.items())
            schema = {name: (groups.below.schema or {})[name] for name in found}
            label = inner_label(node.label, "joined")
            there = Project(label=label, origin=node.origin, element=node.element, schema=schema, input=left, exprs=exprs)
            return groups.over(there)
    return None


def _counts_alike(exprs: Iterable[ExprNode]) -> bool:
    """Whether aggregates are the same of records that are there several times, all equally often."""
    return all(one.function in _ALIKE for expr in exprs for one in walk(expr) if isinstance(one, Aggregate))


def _places(ours: JoinGraph, theirs: JoinGraph, shapes: Shapes) -> Iterator[tuple[int, ...]]:
    """Ways to find their tables among ours, each another of ours of the same shape."""
    for one in topological((*ours.tables, *theirs.tables)):  # from below: `of` would go deep
        shapes.of(one)
    numbers = [shapes.of(table).number for table in ours.tables]
    tried = 0
    stack: list[tuple[int, ...]] = [()]
    while stack and tried < _TRIES:
        found = stack.pop()
        if len(found) == len(theirs.tables):
            tried += 1
            yield found
            continue
        number = shapes.of(theirs.tables[len(found)]).number
        stack += [(*found, at) for at in reversed(range(len(numbers))) if numbers[at] == number and at not in found]


def _names(ours: JoinGraph, theirs: JoinGraph, places: tuple[int, ...], shapes: Shapes) -> dict[str, str]:
    """What their columns are called in our graph, if their tables are at these places of ours."""
    names: dict[str, str] = {}
    for at, table, called in zip(places, theirs.tables, theirs.names):
        mine = {word: ours.names[at][name] for name, word in shapes.of(ours.tables[at]).words.items()}
        words = shapes.of(table).words
        names |= {new: mine[words[name]] for name, new in called.items() if words[name] in mine}
    return names


def _same_records(ours: JoinGraph, theirs: JoinGraph, places: tuple[int, ...], names: dict[str, str], by: dict[str, str]) -> bool:
    """Whether the left side has all records of the groups that it asks for, each equally often in a group. ``by``: what the keys of the
    groups are in our graph, and the columns that ask for them."""
    within = sum(1 << at for at in places)
    if any(within >> one.one & 1 or within >> one.two & 1 for one in ours.equalities):
        return False
    mine = [{(at, name) for at, name in members.items()} for members in ours.classes]
    other = {frozenset((places[at], names.get(name, "")) for at, name in members.items()) for members in theirs.classes}
    inner = [frozenset(pair for pair in members if within >> pair[0] & 1) for members in mine]
    if {one for one in inner if len(one) > 1} != {one for one in other if len(one) > 1}:
        return False
    for members, shared in zip(mine, inner):
        if shared and len(shared) < len(members) and not any(name in by for _, name in shared):
            return False  # another table restricts their records by something that is no key
    if not all(key == at or any({key, at} <= {name for _, name in members} for members in mine) for key, at in by.items()):
        return False
    known = {condition for tables, condition in ours.conditions if tables & within}
    met: set[ExprNode] = set()
    for _, condition in theirs.conditions:
        if not all(name in names for name in columns_of(condition)):
            return False
        condition = renamed(condition, names)
        if condition in known:
            met.add(condition)
        elif not _is_sure(condition, mine):
            return False
    return met == known


def _is_sure(condition: ExprNode, classes: list[set[tuple[int, str]]]) -> bool:
    """Whether a join sees to a condition: what is equal to something is not null."""
    match condition:
        case Call(operation="is_not_null", args=(Column(name),)):
            return any(len(members) > 1 and any(name == one for _, one in members) for members in classes)
        case _:
            return False
