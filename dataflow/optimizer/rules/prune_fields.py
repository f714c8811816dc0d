"""Prune fields: of a struct of which only fields are used, only those are read.

    select s.a over table of s{a, b, c}   ──>   select s.a over table of s{a}

From the outputs down, each relational node says which parts of the columns of its inputs it needs: a whole column, or paths into it.
A struct in Parquet is a column for each of its leaves, and rows where it is null are marked in every one, so a struct of fewer fields
is null where the whole was. The source decides whether it reads leaves (`narrowed`): the kernel's own scan decodes all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Alias, Call, Column, ExprNode, children
from dataflow.expr.types import DType
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import aggregates_of, named, schema_of, shared_keys
from dataflow.plan.nodes import Node, Read, Relation
from dataflow.plan.relational import Distinct, GroupAggregate, Join, Limit, OrderBy, Project, Table, Unnest, Where, expressions_of
from dataflow.plan.traversal import consumers, topological

__all__ = ["prune_fields"]

Path = tuple[str, ...]
Used = dict[str, set[Path]]  # of each column that is needed, the paths into it; the empty path is all of it


def prune_fields(plan: Plan, remarks: Remarks) -> Plan:
    """Read only the fields that are used."""
    order = topological(plan)
    if not any(isinstance(node, Table) and isinstance(node.input, Read) and _structs(node.schema) for node in order):
        return plan
    readers = consumers(plan)
    used: dict[int, Used | None] = {}
    for node in reversed(order):
        if not isinstance(node, Relation):
            continue
        if any(not isinstance(reader, Relation) for reader in readers[id(node)]) or any(node is out for out in plan):
            used[id(node)] = None
        for child, asked in zip(node.inputs, _asked(node, used.get(id(node), {})), strict=True):
            known = used.get(id(child), {})
            used[id(child)] = None if asked is None or known is None else _both(known, asked)
    new: dict[int, Node] = {}
    for node in order:
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        narrow = _narrowed(node, used.get(id(node)), readers) if isinstance(node, Table) else None
        if narrow is not None:
            made = narrow
            remarks.say(f"pruned: of {node.label} only some fields")
        elif made is not node and isinstance(made, Relation) and made.schema is not None:
            schemas = tuple(child.schema for child in made.inputs if isinstance(child, Relation))
            made = replace(made, schema=schema_of(made, schemas)) if len(schemas) == len(made.inputs) else made
        new[id(node)] = made
    return tuple(new[id(node)] for node in plan)


def _structs(schema: Mapping[str, DType] | None) -> list[tuple[str, DType]]:
    return [(name, kind) for name, kind in (schema or {}).items() if kind.name == "struct"]


def _narrowed(node: Table, used: Used | None, readers: Mapping[int, Sequence[Node]]) -> Table | None:
    """A table of structs with only the fields that are used, where its source reads them so."""
    if used is None or node.schema is None or not isinstance(node.input, Read):
        return None
    narrow: Any = getattr(node.input.source, "narrowed", None)
    kinds = {name: _of_paths(kind, used[name]) for name, kind in _structs(node.schema) if name in used}
    kinds = {name: kind for name, kind in kinds.items() if kind != node.schema[name]}
    if narrow is None or not kinds:
        return None
    source = narrow(kinds, tuple(name for name in node.schema if name in used), _is_filtered(node, readers))
    if source is None:
        return None
    read = replace(node.input, label=f"{node.input.label} fields", source=source)
    return replace(node, input=read, schema={**node.schema, **kinds})


def _is_filtered(node: Table, readers: Mapping[int, Sequence[Node]]) -> bool:
    """Whether conditions stand right above a table, which a scan of it would check while it reads."""
    above: list[Node] = list(readers[id(node)])
    while above:
        one = above.pop()
        if isinstance(one, Where):
            return True
        if isinstance(one, Project):
            above.extend(readers[id(one)])
    return False


def _of_paths(kind: DType, paths: Iterable[Path]) -> DType:
    """A struct with the fields that paths lead to; with its smallest one, if it only matters where it is null."""
    paths = list(paths)
    if kind.name != "struct" or () in paths:
        return kind
    firsts = {path[0] for path in paths}
    if not firsts:
        firsts = {min(kind.args, key=lambda field: (field[1].is_nested, field[1].name in ("string", "binary")))[0]} if kind.args else set()
    kept = [(name, inner) for name, inner in kind.args if name in firsts]
    return DType("struct", tuple((name, _of_paths(inner, [path[1:] for path in paths if path[0] == name])) for name, inner in kept))


def _both(one: Used, two: Used) -> Used:
    return {name: one.get(name, set()) | two.get(name, set()) for name in {**one, **two}}


def _whole(names: Iterable[str]) -> Used:
    return {name: {()} for name in names}


def _in(exprs: Iterable[ExprNode]) -> Used:
    """The parts of columns that expressions read."""
    found: Used = {}
    stack = list(exprs)
    while stack:
        one = stack.pop()
        path: list[str] = []
        below = one
        while isinstance(below, Alias) or (isinstance(below, Call) and below.operation == "struct.field"):
            path += [dict(below.options)["name"]] if isinstance(below, Call) else []
            below = below.args[0] if isinstance(below, Call) else below.input
        if isinstance(below, Column):
            found.setdefault(below.name, set()).add(tuple(reversed(path)))
        elif isinstance(one, Call) and one.operation in ("is_null", "is_not_null") and isinstance(one.args[0], Column):
            found.setdefault(one.args[0].name, set())
        else:
            stack.extend(children(below))
    return found


def _asked(node: Relation, used: Used | None) -> list[Used | None]:
    """What a node needs of each of its inputs, if that is ``used`` of it (None: all)."""
    if node.schema is None or not all(isinstance(child, Relation) and child.schema is not None for child in node.inputs):
        return [None for _ in node.inputs]
    asked = used if used is not None else _whole(node.schema)
    have = [dict(child.schema or {}) for child in node.inputs if isinstance(child, Relation)]
    match node:
        case Project(exprs=exprs, keep=keep):
            found: Used = {}
            new = named(exprs, tuple(have[0]))
            for name, expr in new.items():
                if isinstance(expr, Column):  # under another name, perhaps
                    found = _both(found, {expr.name: asked[name]} if name in asked else {})
                else:
                    found = _both(found, _in([expr]))
            return [_both(found, {name: paths for name, paths in asked.items() if keep and name not in new})]
        case Where() | OrderBy() | Limit():
            return [_both(asked, _in(expressions_of(node)))]
        case GroupAggregate(keys=keys):
            return [_in((*keys, *aggregates_of(node, tuple(have[0])).values()))]
        case Distinct(columns=columns) if columns is not None:
            return [_both(asked, _whole(columns))]
        case Join():
            return _of_sides(node, asked, have[0], have[1])
        case Unnest(columns=columns):
            return [_of_fields(columns, asked, have[0])]
        case _:
            return [None for _ in node.inputs]


def _of_fields(columns: Iterable[str], asked: Used, have: Mapping[str, DType]) -> Used:
    """What is asked of structs whose fields come out as columns."""
    found: Used = {}
    for name, kind in have.items():
        if name not in columns:
            found |= {name: asked[name]} if name in asked else {}
            continue
        found[name] = {(field, *path) for field, _ in kind.args for path in asked.get(field, ())}
    return found


def _of_sides(node: Join, asked: Used, left: Mapping[str, DType], right: Mapping[str, DType]) -> list[Used | None]:
    shared = shared_keys(node)
    renamed = {(name + node.suffix if name in left else name): name for name in right if name not in shared}
    both = _both(asked, _in([node.residual]) if node.residual is not None else {})
    ours = {name: paths for name, paths in both.items() if name in left}
    theirs = {renamed[name]: paths for name, paths in both.items() if name in renamed}
    return [_both(ours, _both(_in(node.left_on), _whole(shared))), _both(theirs, _both(_in(node.right_on), _whole(shared)))]
