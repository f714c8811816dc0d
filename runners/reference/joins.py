"""What joins mean: which records are partners, and what stands beside those that have none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Sequence
from typing import Any

from dataflow.expr.nodes import ExprNode
from dataflow.expr.types import DType, Schema, promoted
from dataflow.expr.typing import type_of
from dataflow.plan.columns_out import shared_keys
from dataflow.plan.relational import AsOfJoin, Join
from runners.reference.expressions import evaluate
from runners.reference.times import span
from runners.reference.values import fit, identity, is_nan, meeting, order, utc

__all__ = ["joined", "joined_as_of"]

Row = dict[str, Any]


def joined(node: Join, left: list[Row], right: list[Row], schemas: Sequence[Schema]) -> list[Row]:
    """Every record asks every other whether they are a pair."""
    kinds = [meeting((type_of(one, schemas[0]), type_of(two, schemas[1]))) for one, two in zip(node.left_on, node.right_on, strict=True)]
    mine = _keys(node.left_on, left if right else [], schemas[0], kinds)  # where nobody is asked, nothing is computed
    theirs = _keys(node.right_on, right if left else [], schemas[1], kinds)

    def paired(at: int, other: int) -> bool:
        same = mine[at] == theirs[other] and (node.null_equal or None not in mine[at])
        return same and _wanted(node, left[at], right[other], schemas)

    partners = [[other for other in range(len(right)) if paired(at, other)] for at in range(len(left))]
    none = dict.fromkeys(schemas[0])
    match node.how:
        case "semi":
            return [row for row, found in zip(left, partners, strict=True) if found]
        case "anti":
            return [row for row, found in zip(left, partners, strict=True) if not found]
        case "mark":
            return [{**row, node.suffix: bool(found)} for row, found in zip(left, partners, strict=True)]
        case "single":
            for found in partners:
                if len(found) > 1:
                    raise ValueError(f"{node.label}: a record has {len(found)} partners, and at most one was expected")
        case _:
            pass
    out = [_beside(node, row, right[at], schemas) for row, found in zip(left, partners, strict=True) for at in found]
    if node.how in ("left", "full", "single"):
        out += [_beside(node, row, None, schemas) for row, found in zip(left, partners, strict=True) if not found]
    if node.how in ("right", "full"):
        matched = {at for found in partners for at in found}
        for at, other in enumerate(right):
            if at not in matched:
                out.append({**_beside(node, none, other, schemas), **{name: other[name] for name in shared_keys(node)}})
    return out


def _keys(ons: Sequence[ExprNode], rows: list[Row], schema: Schema, kinds: list[DType]) -> list[list[Hashable]]:
    """What each record is compared by, in the types in which both sides meet."""
    return [[identity(fit(evaluate(on, row, schema), kind)) for on, kind in zip(ons, kinds, strict=True)] for row in rows]


def _wanted(node: Join, row: Row, other: Row, schemas: Sequence[Schema]) -> bool:
    """Whether what is asked beside the keys is true of two records."""
    if node.residual is None:
        return True
    both = {**schemas[0], **{new: schemas[1][name] for name, new in _renamed(node, schemas).items()}}
    return evaluate(node.residual, _beside(node, row, other, schemas), both) is True


def _renamed(node: Join | AsOfJoin, schemas: Sequence[Schema]) -> dict[str, str]:
    """The right columns that come out, and under which names."""
    if isinstance(node, Join):
        left_out = set(shared_keys(node))
    else:
        left_out = {*node.right_by, *((node.right_on,) if node.left_on == node.right_on else ())}
    return {name: name + node.suffix if name in schemas[0] else name for name in schemas[1] if name not in left_out}


def _beside(node: Join | AsOfJoin, row: Row, other: Row | None, schemas: Sequence[Schema]) -> Row:
    return {**row, **{new: other[name] if other is not None else None for name, new in _renamed(node, schemas).items()}}


def joined_as_of(node: AsOfJoin, left: list[Row], right: list[Row], schemas: Sequence[Schema]) -> list[Row]:
    """Every record beside the nearest of the others."""
    return [_beside(node, row, _nearest(node, row, right, schemas), schemas) for row in left]


def _nearest(node: AsOfJoin, row: Row, right: list[Row], schemas: Sequence[Schema]) -> Row | None:
    """The partner of a record: of several equally near ones any; "nearest" prefers, between one before and one behind, the latter."""
    kind = promoted(schemas[0][node.left_on], schemas[1][node.right_on])
    assert kind is not None
    here = fit(row[node.left_on], kind)
    best: tuple[Any, Row] | None = None
    for other in right:
        there = fit(other[node.right_on], kind)
        if here is None or there is None or not _same_by(node, row, other, schemas):
            continue
        if (node.strategy == "backward" and order(there) > order(here)) or (node.strategy == "forward" and order(there) < order(here)):
            continue
        if node.tolerance is not None and not _distance(here, there) <= _distance(node.tolerance, None):
            continue
        rank = (_distance(here, there), order(there) < order(here))
        if best is None or rank < best[0] or (rank == best[0] and node.strategy != "forward"):
            best = (rank, other)
    return best[1] if best is not None else None


def _same_by(node: AsOfJoin, row: Row, other: Row, schemas: Sequence[Schema]) -> bool:
    for one, two in zip(node.left_by, node.right_by, strict=True):
        kind = promoted(schemas[0][one], schemas[1][two])
        assert kind is not None
        a, b = fit(row[one], kind), fit(other[two], kind)
        if a is None or identity(a) != identity(b):
            return False
    return True


def _distance(one: Any, two: Any) -> Any:
    """How far two keys are from each other, or how far a tolerance reaches; NaN is infinitely far from numbers."""
    if isinstance(one, str):
        return span(one)
    if two is None:
        return one
    if isinstance(one, dt.datetime):
        return abs(utc(one) - utc(two))
    if isinstance(one, dt.time):
        return abs(dt.datetime.combine(dt.date.min, one) - dt.datetime.combine(dt.date.min, two))
    if is_nan(one) or is_nan(two):
        return 0.0 if is_nan(one) and is_nan(two) else float("inf")
    return 0.0 if one == two else abs(one - two)
