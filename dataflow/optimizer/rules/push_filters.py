"""Push filters: a condition is checked as early as its columns are there.

    where p(l) and q(r) over join(L, R)   ──>   join(where p over L, where q over R)
    where l.k == r.k over cross(L, R)     ──>   join on k
    where p(k) over aggregate by k        ──>   aggregate over where p(k)
    where p(x) over select(x = a + 1)     ──>   select over where p(a + 1)

Through joins (to the sides whose rows it drops just the same), aggregations (conditions on keys), projections, unions, sorts,
distinct, explode. Past windows go conditions on what all of them are partitioned by: any other would drop rows that the windows count.
A condition on a join's left keys holds for its right ones too, and is checked on both sides, whether it stood above the join or below
(`_known`); of an inner or semi join, one on the right keys as well. Of a condition on both sides that is an OR, what it says of one alone
(`implied`) is checked there too. A filter stays above what has other readers: they need the rows.

Life of a filter: `push_filters` meets it when everything below is done; `_Pusher.sink` takes its conditions down node by node,
and leaves each where it cannot go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from dataflow.expr.nodes import Call, Column, ExprNode, Window, columns_of, has_apply, transform, walk
from dataflow.expr.types import DType, Schema
from dataflow.expr.typing import type_of
from dataflow.optimizer.conditions import conjuncts, is_movable, may_fail, meant, tells_equals_apart
from dataflow.optimizer.implied import implied
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import named, sides_of
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import (
    Distinct,
    Explode,
    GroupAggregate,
    Join,
    Limit,
    OrderBy,
    Project,
    Union,
    Unnest,
    Unpivot,
    Where,
    expressions_of,
)
from dataflow.plan.traversal import read_twice, topological

__all__ = ["push_filters"]

DEEPEST = 100  # steps that a condition goes down at once: a loop of a user's may make thousands, each a few calls on Python's stack
LARGEST = 30  # parts of a condition below what computes its columns: in terms of what they are computed from, it may grow with each step
_LEFT = ("inner", "left", "semi", "anti", "cross", "single", "mark")  # joins that keep, or drop, a left row by its own values
_RIGHT = ("inner", "right", "cross")


def push_filters(plan: Plan, remarks: Remarks) -> Plan:
    """Move every condition as far down as it goes."""
    twice = read_twice(plan)
    if not any(isinstance(node, Relation) for node in topological(plan)):
        return plan
    pusher = _Pusher(remarks)
    new: dict[int, Node] = {}
    for node in topological(plan):
        made = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if isinstance(made, Where) and made.schema is not None and isinstance(made.input, Relation):
            made = pusher.sink(made.input, conjuncts(made.predicate), made)
        elif isinstance(made, Join) and made.how == "inner" and made.residual is not None and made.schema is not None:
            made = pusher.sink(replace(made, residual=None), conjuncts(made.residual), made)
        elif isinstance(made, Join):
            made = pusher.mirrored(made)
        new[id(node)] = made
        if id(node) in twice:
            pusher.shared[id(made)] = made
    return tuple(new[id(node)] for node in plan)


def _size(expr: ExprNode) -> int:
    return sum(1 for _ in walk(expr))


def _partition(exprs: Iterable[ExprNode]) -> set[ExprNode] | None:
    """What all windows in these expressions are partitioned by; None where there is no window."""
    windows = [set(one.partition) for expr in exprs for one in walk(expr) if isinstance(one, Window)]
    return set.intersection(*windows) if windows else None


class _Pusher:
    def __init__(self, remarks: Remarks) -> None:
        self.remarks = remarks
        self.shared: dict[int, Node] = {}
        self.count = self.depth = 0

    def sink(self, node: Node, conditions: list[ExprNode], asked: Relation) -> Node:
        """``node`` with only those rows for which the conditions hold, each checked as far down as it goes."""
        if not conditions:
            return node
        if not isinstance(node, Relation) or node.schema is None or id(node) in self.shared or self.depth == DEEPEST:
            return self.where(node, conditions, asked)
        self.depth += 1
        try:
            return self._sink(node, node.schema, conditions, asked)
        finally:
            self.depth -= 1

    def _sink(self, node: Relation, schema: Schema, conditions: list[ExprNode], asked: Relation) -> Node:
        if (apart := _partition(conditions)) is not None:  # their windows are over the rows of this node, no fewer
            free, bound = list[ExprNode](), list[ExprNode]()
            for one in conditions:
                used = columns_of(one)
                (free if used and is_movable(one) and all(Column(name) in apart for name in used) else bound).append(one)
            return self.where(self.sink(node, free, asked), bound, asked)
        if not isinstance(node, (Project, Where)) and _partition(expressions_of(node)) is not None:  # keys over all its input's rows
            return self.where(node, conditions, asked)
        match node:
            case Where(input=below, predicate=predicate):
                late = [one for one in conditions if has_apply(one) or may_fail(one, schema)]  # asked of what this one leaves, no more
                if late:
                    return self.where(self.sink(node, [one for one in conditions if one not in late], asked), late, asked)
                return self.sink(below, list(dict.fromkeys([*conjuncts(predicate), *conditions])), asked)
            case Project():
                return self.through(node, conditions, self.meanings(node), asked)
            case OrderBy(limit=None):
                return self.through(node, conditions, _same(schema), asked)
            case Distinct(columns=columns):
                free, bound = _by_value(conditions, schema)
                return self.where(self.through(node, free, _same(columns if columns is not None else schema), asked), bound, asked)
            case GroupAggregate(sets=None) if node.keys:
                keys = meant(named(node.keys, tuple(_schema(node.input))), schema)
                free, bound = _by_value(conditions, schema)
                pushed = self.through(node, free, {name: expr for name, expr in keys.items() if is_movable(expr)}, asked)
                return self.where(pushed, bound, asked)
            case Explode(columns=columns):
                return self.through(node, conditions, _same(name for name in schema if name not in columns), asked)
            case Unnest(columns=columns):
                return self.through(node, conditions, _same(name for name in _schema(node.input) if name not in columns), asked)
            case Unpivot(index=index):
                return self.through(node, conditions, _same(index), asked)
            case Union():
                return self.into_parts(node, conditions, asked)
            case Join():
                return self.into_sides(node, conditions, asked)
            case _:
                return self.where(node, conditions, asked)

    def mirrored(self, node: Join) -> Join:
        """A join each side of which has the conditions that hold for the keys of the other, where records without partners do not count."""
        if node.how not in _LEFT or not node.left_on or node.schema is None:
            return node
        sides = _Sides(node)
        left, right = _known(node.left), _known(node.right)
        new_right = [other for one in left if (other := sides.inferred(one)) is not None and other not in right]
        new_left = []
        if node.how in ("inner", "semi"):
            new_left = [other for one in right if (other := sides.inferred(one, of_right=True)) is not None and other not in left]
        if not new_left and not new_right:
            return node
        self.remarks.say(f"inferred: conditions on the keys of {node.label} hold on both sides")
        return replace(node, left=self.sink(node.left, new_left, node), right=self.sink(node.right, new_right, node))

    def where(self, node: Node, conditions: Iterable[ExprNode], asked: Relation) -> Node:
        """A filter right here."""
        whole: ExprNode | None = None
        for one in conditions:
            whole = one if whole is None else Call("and", (whole, one))
        if whole is None:
            return node
        self.count += 1
        label = inner_label(asked.label, "filter", self.count)
        schema = node.schema if isinstance(node, Relation) else asked.schema if isinstance(asked, Where) else None
        return Where(label=label, origin=asked.origin, element=asked.element, schema=schema, input=node, predicate=whole)

    @staticmethod
    def meanings(node: Project) -> dict[str, ExprNode]:
        """What each column is in terms of the input, where a condition on it may be checked there."""
        have = tuple(_schema(node.input))
        new = named(node.exprs, have)
        all_ = {**({name: Column(name) for name in have} if node.keep else {}), **new}
        apart = _partition(node.exprs)
        return meant({name: expr for name, expr in all_.items() if is_movable(expr) and (apart is None or expr in apart)}, node.schema)

    def through(self, node: Relation, conditions: list[ExprNode], meanings: dict[str, ExprNode], asked: Relation) -> Node:
        """Past a node of one input, those whose columns mean something below; where it is no relation, its columns are not at hand."""
        if not isinstance(node.inputs[0], Relation):
            return self.where(node, conditions, asked)
        below, stay = [], []
        for one in conditions:
            if columns_of(one) and is_movable(one) and all(name in meanings for name in columns_of(one)):
                meant = _substituted(one, meanings)
                if (size := _size(meant)) <= LARGEST or size <= _size(one):
                    below.append(meant)
                    continue
            stay.append(one)
        if below:
            (child,) = node.inputs
            node = node.with_inputs((self.sink(child, below, asked),))  # type: ignore[assignment]
        return self.where(node, stay, asked)

    def into_parts(self, node: Union, conditions: list[ExprNode], asked: Relation) -> Node:
        """Into every part that has the columns as they come out."""
        assert node.schema is not None
        same = [name for name, kind in node.schema.items() if all(_schema(part).get(name) == kind for part in node.parts)]
        below = [one for one in conditions if columns_of(one) and is_movable(one) and all(name in same for name in columns_of(one))]
        if below:
            node = replace(node, parts=tuple(self.sink(part, list(below), asked) for part in node.parts))
        return self.where(node, [one for one in conditions if one not in below], asked)

    def into_sides(self, node: Join, conditions: list[ExprNode], asked: Relation) -> Node:
        """To the side of a join that has the columns; an equality of both sides becomes a key."""
        sides = _Sides(node)
        left, right, stay = [], [], []
        keys: list[tuple[ExprNode, ExprNode]] = []
        for one in conditions:
            used = columns_of(one)
            if not used or not is_movable(one) or may_fail(one, node.schema or {}):
                stay.append(one)
            elif node.how in _LEFT and all(name in sides.left for name in used):
                left.append(one)
                if (inferred := sides.inferred(one)) is not None:
                    right.append(inferred)
                    self.remarks.say(f"inferred: a condition of {asked.label} on the right key of {node.label}")
            elif node.how in _RIGHT and all(name in sides.right for name in used):
                right.append(_substituted(one, sides.right))
            elif node.how in ("inner", "cross") and (pair := sides.key_of(one)) is not None:
                keys.append(pair)
            else:
                stay.append(one)
                if node.how in _LEFT and (part := implied(one, sides.left)) is not None and part not in _known(node.left):
                    left.append(part)
                if node.how in _RIGHT and (part := implied(one, sides.right)) is not None:
                    part = _substituted(part, sides.right)
                    right += [part] if part not in _known(node.right) else []
        if left or right or keys:
            self.remarks.say(f"pushed: conditions of {asked.label} into {node.label}")
        node = replace(
            node, left=self.sink(node.left, left, asked), right=self.sink(node.right, right, asked),
            how="inner" if keys else node.how, left_on=(*node.left_on, *(one for one, _ in keys)),
            right_on=(*node.right_on, *(two for _, two in keys)),
        )  # fmt: skip
        return self.where(node, stay, asked)


class _Sides:
    """Which columns of a join come from which side, and what they are there."""

    def __init__(self, node: Join) -> None:
        self.node = node
        left, right = sides_of(node)
        self.left, self.right = _columns(left), _columns(right)

    def inferred(self, condition: ExprNode, of_right: bool = False) -> ExprNode | None:
        """A condition on left keys alone, as one on the right keys, or the other way; where those are columns of the same type."""
        pairs = {}
        for one, two in zip(self.node.left_on, self.node.right_on, strict=True):
            if isinstance(one, Column) and isinstance(two, Column) and not self.node.null_equal:
                if type_of(one, _schema(self.node.left)) == type_of(two, _schema(self.node.right)):
                    pairs.update({two.name: one} if of_right else {one.name: two})
        used = columns_of(condition)
        if self.node.how in ("cross", "right", "full") or not used or not all(name in pairs for name in used):
            return None
        have = _schema(self.node.right if of_right else self.node.left)
        if may_fail(condition, have) or _by_value([condition], have)[1]:
            return None  # for a value that the other side alone has it may be an error, or differ from that of an equal one
        return _substituted(condition, pairs)

    def key_of(self, condition: ExprNode) -> tuple[ExprNode, ExprNode] | None:
        """An equality of an expression of the left side and one of the right, as a pair of keys."""
        if not isinstance(condition, Call) or condition.operation != "equal":
            return None
        for one, two in (condition.args, condition.args[::-1]):
            used = columns_of(one), columns_of(two)
            if used[0] and used[1] and all(n in self.left for n in used[0]) and all(n in self.right for n in used[1]):
                key = _substituted(two, self.right)
                if isinstance(one, Column) and isinstance(key, Column) and one.name == key.name:
                    return None  # as keys the two columns would come out as one
                return one, key
        return None


def _by_value(conditions: list[ExprNode], schema: Schema) -> tuple[list[ExprNode], list[ExprNode]]:
    """Conditions that are the same for all values that are one key, and those that may not be: of floats, 0.0 and -0.0."""
    bound = [
        one for one in conditions if any(schema[name].is_float for name in columns_of(one) if name in schema) and tells_equals_apart(one)
    ]
    return [one for one in conditions if one not in bound], bound


def _known(node: Node) -> list[ExprNode]:
    """Conditions that hold for all records of a node, by the filters below it."""
    found: list[ExprNode] = []
    above = {name: name for name in _schema(node)}  # columns where we are, and what they are called at the top
    while isinstance(node, Relation) and above:
        match node:
            case Where(predicate=predicate):
                for one in conjuncts(predicate):
                    if is_movable(one) and columns_of(one) and all(name in above for name in columns_of(one)):
                        found.append(_substituted(one, _columns(above)))
                node = node.input
            case Project(exprs=exprs, keep=keep, input=below):
                new = named(exprs, tuple(_schema(below)))
                kept = {name: top for name, top in above.items() if keep and name not in new}
                above = kept | {one.name: above[name] for name, one in new.items() if isinstance(one, Column) and name in above}
                node = below
            case OrderBy() | Limit():
                node = node.input
            case Join(how=how, left=left) if how in _LEFT:
                above = {name: top for name, top in above.items() if name in _schema(left)}
                node = left
            case _:
                break
    return found


def _substituted(condition: ExprNode, meanings: dict[str, ExprNode] | dict[str, Column]) -> ExprNode:
    return transform(condition, lambda node: meanings[node.name] if isinstance(node, Column) else node)


def _same(names: Iterable[str]) -> dict[str, ExprNode]:
    return {name: Column(name) for name in names}


def _columns(names: Mapping[str, str]) -> dict[str, ExprNode]:
    return {name: Column(meant) for name, meant in names.items()}


def _schema(node: Node) -> dict[str, DType]:
    """The columns of a node; of one that is no relation, those its reader was derived from are not at hand."""
    if isinstance(node, Relation) and node.schema is not None:
        return dict(node.schema)
    return {}
