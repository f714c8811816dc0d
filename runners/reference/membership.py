"""What ``is_in`` means of constants alone: they are looked up, however many there are, not compared with each row one by one.

The same as `operations` says of any values: equal is what is equal in the type in which all meet (NaN to NaN, 0.0 to -0.0, null to
nothing), and a value that is not found is unknown if there is a null among them.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

from dataflow.expr.nodes import Call, Literal
from dataflow.expr.types import DType, Schema
from dataflow.expr.typing import fitted, type_of, type_of_call
from dataflow.record import record
from runners.reference.values import fit, identity, meeting

__all__ = ["Members", "members_of"]


@record(eq=True)
class Members:
    """The constants of an ``is_in``, in the type in which they meet the value that is looked for."""

    own: DType
    meet: DType
    values: frozenset[Hashable]
    some_null: bool

    def hold(self, value: Any) -> bool | None:
        if value is None:
            return None
        if identity(fit(fit(value, self.own), self.meet)) in self.values:
            return True
        return None if self.some_null else False


@record
class _This:
    """A node that is equal to itself alone: to compare ten thousand constants at each row is what takes long."""

    node: Call

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _This) and other.node is self.node

    def __hash__(self) -> int:
        return id(self.node)


def members_of(node: Call, schema: Schema) -> Members | None:
    """The members of an ``is_in`` over constants; None of any other call."""
    return _members(_This(node), type_of(node.args[0], schema)) if node.operation == "is_in" else None


@lru_cache(maxsize=64)
def _members(this: _This, kind: DType) -> Members | None:
    node = this.node
    constants = [arg for arg in node.args[1:] if isinstance(arg, Literal)]
    if len(constants) + 1 < len(node.args):
        return None
    types = fitted(node.args, (kind, *(type_of(one, {}) for one in constants)))
    type_of_call(node, types)  # which says what does not fit
    meet = meeting(types)
    values = [fit(fit(fit(one.value, type_of(one, {})), own), meet) for one, own in zip(constants, types[1:], strict=True)]
    return Members(types[0], meet, frozenset(identity(one) for one in values if one is not None), None in values)
