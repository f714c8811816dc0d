"""Relational nodes in one line each."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dataflow.expr.nodes import AllColumns, ExprNode, SortKey, show
from dataflow.plan.nodes import Exchange, Node, Query, Relation
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
    Table,
    Union,
    Unnest,
    Unpivot,
    Where,
)  # fmt: skip

__all__ = ["described", "exchanged", "query_lines", "query_text", "shown_keys", "sized"]


def described(node: Node) -> str:
    """One relational node, without its inputs."""
    match node:
        case Table(schema=schema):
            return f"Table of {', '.join(schema or ())}"
        case Project(exprs=exprs, keep=keep):
            return f"{'WithColumns' if keep else 'Select'} {_list(exprs)}"
        case Where(predicate=predicate):
            return f"Where {show(predicate)}"
        case GroupAggregate(keys=keys, aggs=aggs, sets=sets):
            by = f" by {_list(keys)}" if keys else ""
            return f"Aggregate {_list(aggs)}{by}" + (f" sets {sets}" if sets is not None else "")
        case Join():
            on = " and ".join(f"{show(one)} == {show(two)}" for one, two in zip(node.left_on, node.right_on, strict=True))
            also = f" where {show(node.residual)}" if node.residual is not None else ""
            return f"Join {node.how}{f' on {on}' if on else ''}{' (null equals null)' if node.null_equal else ''}{also}"
        case AsOfJoin():
            return f"AsOfJoin {node.strategy} on {node.left_on} ~ {node.right_on}" + (
                f" by {', '.join(node.left_by)}" if node.left_by else ""
            )
        case OrderBy(keys=order, limit=limit):
            return f"OrderBy {shown_keys(order)}" + (f" first {limit}" if limit is not None else "")
        case Limit(count=count, offset=offset):
            return f"Limit {count if count is not None else 'none'}" + (f" after {offset}" if offset else "")
        case Distinct(columns=columns):
            return "Distinct" + (f" by {', '.join(columns)}" if columns is not None else "")
        case Explode(columns=columns):
            return f"Explode {', '.join(columns)}"
        case Unnest(columns=columns):
            return f"Unnest {', '.join(columns)}"
        case Unpivot():
            return f"Unpivot {', '.join(node.on)}"
        case Union(fill=fill):
            return "Union" + (" (missing columns null)" if fill else "")
        case Given(index=index):
            return f"Given {index}"
        case Query():
            return "Query in the kernel"
        case _:
            raise AssertionError(f"no text for {type(node).__name__}")


def exchanged(node: Exchange) -> str:
    """An exchange: what meets, and what is made of each piece."""
    keys = " | ".join(_list(keys) or "one piece" for keys in node.keys)
    return f"Exchange by {keys} [{query_text(node.root)}]"


def shown_keys(order: tuple[SortKey, ...]) -> str:
    """Sort keys in one line."""
    return ", ".join(map(show, order))


def sized(rows: float, size: float, counted: int | None = None) -> str:
    """How many records a node is expected to give, and of what size; and how many it gave, where that was counted.

    >>> sized(600_572, 28_827_456.0), sized(3.7, 30, 1200)
    ('~ 601,000 rows, 29 MB', '~ 4 rows, 30 B; 1,200 counted')
    """
    about = round(rows) if rows < 1000 else round(rows, 2 - math.floor(math.log10(rows)))
    unit, each = next(((unit, each) for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if size >= each), ("B", 1.0))
    text = f"~ {about:,.0f} row{'s' * (about != 1)}, {size / each:,.0f} {unit}"
    return text if counted is None else f"{text}; {counted:,} counted"


def query_lines(node: Query, notes: Mapping[int, str] | None = None) -> list[str]:
    """The tree of a query, a line a node; a node with two readers is printed once. ``notes`` to be added, by the id of the node."""
    notes = notes or {}
    lines: list[str] = []
    seen: set[int] = set()
    stack: list[tuple[Node, int]] = [(node.root, 0)]
    while stack:
        one, depth = stack.pop()
        again = id(one) in seen
        seen.add(id(one))
        text = f"^ {one.label}" if again else described(one) + (f"  {notes[id(one)]}" if id(one) in notes else "")
        lines.append(f"{'  ' * depth}| {text}")
        if not again:
            stack.extend((child, depth + 1) for child in reversed(one.inputs))
    return lines


def query_text(root: Relation) -> str:
    """A tree of relational nodes on one line, innermost last."""
    parts = []
    for child in root.inputs:
        assert isinstance(child, Relation)
        parts.append(query_text(child))
    below = f" <- ({' | '.join(parts)})" if len(parts) > 1 else f" <- {parts[0]}" if parts else ""
    return f"{described(root)}{below}"


def _list(exprs: tuple[ExprNode, ...]) -> str:
    return ", ".join("all columns" if isinstance(expr, AllColumns) and not expr.without else show(expr) for expr in exprs)
