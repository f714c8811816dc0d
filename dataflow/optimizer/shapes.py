"""What a sub-plan is, whatever its columns are called: two of one shape give the same records.

    select (k as a.k, x as a.x) over T    where a.x > 1  ──┐
                                                           ├──>  one shape;  a.x, b.x ─> the column x of T
    select (k as b.k, x as b.x) over T    where b.x > 1  ──┘

SQL names every table anew wherever it stands, so a query and the subquery in it read the same tables under different names.

A shape is a number, and of every column that comes out a word which says what it is. Numbers are equal where what stands below is: the same
node, or a filter, a join or a grouping of one shape by the same words. A select changes no shape, whatever it computes: it is in the
words. So the conditions of filters that stand on each other are a set, and a grouping is its keys. What else there is (orders, limits,
windows, functions in Python) is itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dataflow.expr.nodes import AllColumns, Apply, Column, ExprNode, Window, walk
from dataflow.optimizer.conditions import conjuncts, renamed
from dataflow.plan.columns_out import aggregates_of, named, sides_of
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import GroupAggregate, Join, Project, Where, expressions_of

__all__ = ["Shape", "Shapes"]

_JOINS = ("inner", "left", "single", "cross", "semi", "anti")


class Shape(NamedTuple):
    """``number``: of what is of this shape. ``words``: what each column is. ``made``: whether it is of a join or a grouping: of work."""

    number: int
    words: Mapping[str, str]
    made: bool = False


class Shapes:
    """The shapes of the nodes of plans. Equal words of equal shapes are equal columns."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._found: dict[int, tuple[Node, Shape]] = {}
        self._filtered: dict[int, tuple[int, frozenset[ExprNode]]] = {}  # of the shape of a filter: what it is over, and its conditions

    def of(self, node: Node) -> Shape:
        """The shape of a node; those of its inputs are asked for first, or it may go deep."""
        found = self._found.get(id(node))
        if found is None:
            found = self._found[id(node)] = node, self._shape(node)
        return found[1]

    def _shape(self, node: Node) -> Shape:
        if not isinstance(node, Relation) or node.schema is None or not _is_plain(node):
            return self._alone(node)
        match node:
            case Project(input=Relation() as below, exprs=exprs, keep=keep):
                shape = self.of(below)
                new = {name: self._word(expr, shape.words) for name, expr in named(exprs, tuple(below.schema or ())).items()}
                return shape._replace(words={**shape.words, **new} if keep else new)
            case Where(input=Relation() as below, predicate=predicate):
                shape = self.of(below)
                base, conditions = self._filtered.get(shape.number, (shape.number, frozenset()))
                conditions |= {renamed(one, shape.words) for one in conjuncts(predicate)}
                number = self._number("where", base, conditions)
                self._filtered[number] = base, conditions
                return shape._replace(number=number)
            case Join(left=Relation() as left, right=Relation() as right) if node.how in _JOINS:
                return self._joined(node, self.of(left), self.of(right))
            case GroupAggregate(input=Relation() as below, sets=None):
                shape, columns = self.of(below), tuple(below.schema or ())
                keys = {name: self._word(expr, shape.words) for name, expr in named(node.keys, columns).items()}
                aggs = {name: self._word(expr, shape.words) for name, expr in aggregates_of(node, columns).items()}
                return Shape(self._number("group", shape.number, frozenset(keys.values())), {**keys, **aggs}, True)
            case _:
                return self._alone(node)

    def _joined(self, node: Join, left: Shape, right: Shape) -> Shape:
        ours, theirs = sides_of(node)
        of_left = {name: f"<{left.words[old]}" for name, old in ours.items()}
        both = of_left | {name: f">{right.words[old]}" for name, old in theirs.items()}
        pairs = zip(node.left_on, node.right_on, strict=True)
        keys = frozenset((renamed(one, left.words), renamed(two, right.words)) for one, two in pairs)
        residual = renamed(node.residual, both) if node.residual is not None else None
        number = self._number("join", left.number, right.number, node.how, keys, residual, node.null_equal)
        return Shape(number, of_left if node.how in ("semi", "anti") else both, True)

    def _alone(self, node: Node) -> Shape:
        names = (node.schema or {}) if isinstance(node, Relation) else {}
        return Shape(self._number("node", id(node)), {name: f"{at}" for at, name in enumerate(names)})

    def _word(self, expr: ExprNode, words: Mapping[str, str]) -> str:
        """What a computed column is: the number of its expression."""
        if isinstance(expr, Column):
            return words[expr.name]
        return f"={self._number('expression', renamed(expr, words))}"

    def _number(self, *key: Any) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


def _is_plain(node: Node) -> bool:
    """Whether all that a node computes is of one record, or of one group, and the same each time, and of columns that have names."""
    odd = (Apply, Window) if isinstance(node, (Project, GroupAggregate)) else (Apply, Window, AllColumns)
    return not any(isinstance(one, odd) for expr in expressions_of(node) for one in walk(expr))
