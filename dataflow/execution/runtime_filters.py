"""Runtime filters: what the small side of a join holds, as a condition on the files that are joined to it.

    join(scan, table at hand) on s.k == t.k    ──>    join(where s.k in (the keys of t) over scan, table at hand)

The plan cannot know the keys; where the query runs they are at hand, as a side that goes whole to every part is. The scan then passes
over row groups that no key falls into: TPC-H, scale 0.1, lines of 1,250 orders that stand together take 31 ms of CPU, and 6 ms so. Few
keys are a list, many a range. Where the bounds in the footers say that most row groups hold keys, nothing is asked: conditions cost, and
put on every join they made the 22 queries a tenth slower. Compare "sideways information passing" (Beeri & Ramakrishnan, PODS 1987) and
the dynamic filters of Impala, Spark and Trino.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflow.execution.lineage import lineage
from dataflow.expr.nodes import Call, Column, ExprNode, Literal, has_apply
from dataflow.expr.types import DType
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import Join, Where, expressions_of
from dataflow.plan.traversal import topological

if TYPE_CHECKING:
    from dataflow.execution.leaves import Leaf
    from dataflow.kernels.query import ParquetScan

__all__ = ["with_key_filters"]

MOST_KEYS = 64  # in a list: each is a node of the condition
READ = 0.7  # of the rows at most may be in row groups that hold keys
_OF_RIGHT = ("inner", "semi", "right")  # joins that drop left records whose key no right one has
_OF_LEFT = ("inner", "left", "single", "anti", "mark", "semi")  # and those that need no right record but such


def with_key_filters(root: Relation, leaves: Sequence[Leaf]) -> Relation:
    """The tree with conditions on those sides of joins that are scanned, where the other side is at hand."""
    if not any(leaf.scan for leaf in leaves) or not any(leaf.table is not None for leaf in leaves):
        return root
    columns = [leaf.layout.names for leaf in leaves]
    new: dict[int, Node] = {}
    for node in topological((root,)):
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if isinstance(made, Join) and isinstance(node, Join) and made.left_on and not made.null_equal:
            flows = [lineage(side, columns).carried for side in node.inputs if isinstance(side, Relation)]
            left, right = made.left, made.right
            for one, two in zip(node.left_on, node.right_on, strict=True):
                if isinstance(one, Column) and isinstance(two, Column):
                    at = flows[0].get(one.name, frozenset()), flows[1].get(two.name, frozenset())
                    if node.how in _OF_RIGHT:
                        left = _filtered(left, one, at[0], at[1], leaves)
                    if node.how in _OF_LEFT:
                        right = _filtered(right, two, at[1], at[0], leaves)
            made = replace(made, left=left, right=right)
        new[id(node)] = made
    top = new[id(root)]
    assert isinstance(top, Relation)
    return top


Origins = frozenset[tuple[int, str]]


def _filtered(side: Node, key: Column, scanned: Origins, held: Origins, leaves: Sequence[Leaf]) -> Node:
    """A side of a join, without the records whose key is not among those held; as it is where that cannot be said."""
    if len(scanned) != 1 or len(held) != 1 or not isinstance(side, Relation) or side.schema is None:
        return side
    (at, column), (hand, name) = next(iter(scanned)), next(iter(held))
    table, scan = leaves[hand].table, leaves[at].scan
    if scan is None or table is None or any(_calls(node) for node in topological((side,))):
        return side
    condition = _condition(key, side.schema[key.name], table.column(name), scan, column)
    if condition is None:
        return side
    return Where(
        label=inner_label(side.label, "keys"), origin=side.origin, element=side.element, schema=side.schema, input=side, predicate=condition
    )


def _calls(node: Node) -> bool:
    """Whether a node calls a Python function: it is to see the records it was given."""
    return any(map(has_apply, expressions_of(node)))


def _condition(key: Column, kind: DType, held: pa.ChunkedArray, scan: ParquetScan, column: str) -> ExprNode | None:
    from dataflow.io.row_groups import bounds_of
    from dataflow.kernels.keys import keys_of
    from dataflow.kernels.types import from_arrow

    plain = kind.is_integer or kind.name in ("date", "string", "decimal")
    if not plain or from_arrow(held.type) != kind or pa.types.is_dictionary(held.type):
        return None
    groups = bounds_of(scan.paths, scan.versions, scan.rows, column)
    if groups is None or len(groups) < 2:  # one is read for its first key
        return None
    values, (low, high) = keys_of(held, MOST_KEYS)
    hold = [group for group in groups if (any(map(group.may_hold, values)) if values is not None else group.may_meet(low, high))]
    if sum(group.rows for group in hold) > READ * sum(group.rows for group in groups):
        return None
    if values is not None:
        return Call("is_in", (key, *(Literal(value, kind) for value in values))) if values else Literal(False)
    return Call("and", (Call("greater_equal", (key, Literal(low, kind))), Call("less_equal", (key, Literal(high, kind)))))
