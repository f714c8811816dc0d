"""Over which of its inputs a relational tree distributes: run on parts of that input apart, it gives the same records together.

f(A + B, C) = f(A, C) + f(B, C)          f distributes over its first input
f = join(left, right):   inner left right   left semi anti left   right right   full none
"""

from __future__ import annotations

from dataflow.expr.nodes import Aggregate, ExprNode, has_window, walk
from dataflow.plan.nodes import Relation
from dataflow.plan.relational import AsOfJoin, Explode, Given, Join, Project, Unnest, Unpivot, Where
from dataflow.plan.traversal import topological

__all__ = ["distributes"]

_OVER: dict[str, tuple[bool, bool]] = {
    "inner": (True, True), "cross": (True, True), "right": (False, True), "full": (False, False),
    "left": (True, False), "semi": (True, False), "anti": (True, False), "single": (True, False), "mark": (True, False),
}  # fmt: skip


def distributes(root: Relation) -> tuple[int, ...]:
    """The numbers of the `Given`s over whose records a tree distributes, each while the others are whole.

    Such a tree is linear in each of them, so it may run on every pair of parts of two.
    """
    found: dict[int, set[int]] = {}
    below: dict[int, set[int]] = {}  # the inputs that a node reads at all
    for node in topological((root,)):
        reads = set().union(*(below[id(child)] for child in node.inputs))
        match node:
            case Given(index=index):
                own = reads = {index}
            case Where(predicate=predicate):
                own = found[id(node.input)] if _by_row((predicate,)) else set()
            case Project(exprs=exprs):
                own = found[id(node.input)] if _by_row(exprs) else set()
            case Explode() | Unnest() | Unpivot():
                own = found[id(node.input)]
            case Join(left=left, right=right, how=how):
                over_left, over_right = _OVER[how]
                own = (found[id(left)] - below[id(right)] if over_left else set()) | (
                    found[id(right)] - below[id(left)] if over_right else set()
                )
            case AsOfJoin(left=left, right=right):
                own = found[id(left)] - below[id(right)]
            case _:
                own = set()
        found[id(node)], below[id(node)] = own, reads
    return tuple(sorted(found[id(root)]))


def _by_row(exprs: tuple[ExprNode, ...]) -> bool:
    return not any(has_window(expr) or any(isinstance(one, Aggregate) for one in walk(expr)) for expr in exprs)
