"""What a condition says of some of its columns alone.

    (a = 1 and x > 2) or (a = 3 and y < 4)   of a   ──>   a = 1 or a = 3

Whatever the others are, the condition is not true where this is not: records can be dropped by it before the others are known.
"""

from __future__ import annotations

from collections.abc import Collection

from dataflow.expr.nodes import Apply, Call, ExprNode, Window, columns_of, walk

__all__ = ["implied"]


def implied(condition: ExprNode, columns: Collection[str]) -> ExprNode | None:
    """What must be true of these columns for a condition to be true: itself if it is on them alone. None: nothing, as of Python functions,
    whose errors and effects have their place.

    >>> from dataflow.expr.nodes import Column, Literal, show
    >>> a, b = (Call("equal", (Column(name), Literal(1))) for name in "ab")
    >>> show(implied(Call("or", (Call("and", (a, b)), a)), {"a"}))
    "(col('a') == 1) | (col('a') == 1)"
    >>> implied(Call("or", (a, b)), {"a"})
    """
    used = columns_of(condition)
    if used and all(name in columns for name in used) and not any(isinstance(one, (Apply, Window)) for one in walk(condition)):
        return condition
    if not isinstance(condition, Call) or condition.operation not in ("and", "or"):
        return None
    parts = [implied(arg, columns) for arg in condition.args]
    some = tuple(part for part in parts if part is not None)
    if not some or (condition.operation == "or" and len(some) < len(parts)):
        return None
    return some[0] if len(some) == 1 else Call(condition.operation, some)
