"""`Builder`: makes relational nodes with their labels, origin and schemas, and names columns uniquely in the whole statement.

Because no two columns anywhere in a statement share a name ("l1.l_orderkey", then "l1.l_orderkey#2"), a subquery's column that
is not in its own input can only be the outer query's: correlation is seen in the nodes themselves, as a *free* column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.expr.nodes import Aggregate, Alias, Cast, Column, ExprNode, Literal, SortKey, Window, columns_of
from dataflow.expr.types import DType
from dataflow.expr.typing import ExprError, type_of
from dataflow.plan.columns_out import schema_of
from dataflow.plan.nodes import Node
from dataflow.plan.origin import Origin
from dataflow.plan.relational import Distinct, GroupAggregate, HowToJoin, Join, Limit, OrderBy, Project, Relation, Where
from dataflow.sql.trees import both, rewritten

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Builder", "own_expressions"]

R = TypeVar("R", bound=Relation)


class Builder:
    """What all parts of one statement share: tables, types of the columns named so far, and how nodes are made."""

    def __init__(
        self, text: str, tables: Mapping[str, Node], schemas: Mapping[str, Mapping[str, DType]], label: Callable[[str], str], origin: Origin
    ) -> None:
        self.text, self.tables, self.schemas, self.label, self.origin = text, tables, schemas, label, origin
        self.types: dict[str, DType] = {}
        self.scans: set[Node] = set()  # below them is the user's plan
        self.at: exp.Expr | None = None  # what is being translated, for errors that know no better place

    # -- names

    def fresh(self, name: str, kind: DType) -> str:
        """A name that no column of the statement has yet, as near to ``name`` as can be."""
        new, number = name, 1
        while new in self.types:
            number += 1
            new = f"{name}#{number}"
        self.types[new] = kind
        return new

    def type_of(self, expr: ExprNode) -> DType:
        try:
            return type_of(expr, self.types)
        except ExprError:
            if (apart := rewritten(expr, self._over_groups)) is expr:
                raise
            return type_of(apart, self.types)

    def _over_groups(self, one: ExprNode) -> ExprNode | None:
        """``sum(sum(x)) OVER ()``: the inner sums will be columns of the groups, and are typed as such."""
        if not isinstance(one, Window) or not isinstance(one.function, Aggregate):
            return None
        inner = replace(one.function, args=tuple(rewritten(arg, self._of_group) for arg in one.function.args))
        return replace(one, function=inner, partition=tuple(rewritten(expr, self._of_group) for expr in one.partition))

    def _of_group(self, one: ExprNode) -> ExprNode | None:
        return Literal(None, self.type_of(one)) if isinstance(one, Aggregate) else None

    def column(self, name: str, expr: ExprNode) -> Alias:
        """An expression under a fresh name."""
        return Alias(expr, self.fresh(name, self.type_of(expr)))

    # -- nodes

    def made(self, node: R, *inputs: Mapping[str, DType]) -> R:
        """The node with its schema. Free columns are lent to the typing, and are not part of the result."""
        known = {name for schema in inputs for name in schema}
        used = {name for expr in own_expressions(node) for name in columns_of(expr)}
        free = {name: self.types[name] for name in sorted(used - known) if name in self.types}
        schema = schema_of(node, ({**inputs[0], **free}, *inputs[1:]))
        assert schema is not None
        result = {name: kind for name, kind in schema.items() if name not in free}
        for name, kind in result.items():
            self.types[name] = kind
        return replace(node, schema=result)

    def _relation(self, kind: Callable[..., R], what: str, input: Node, **options: Any) -> R:
        node = kind(label=self.label(f"sql {what}"), origin=self.origin, input=input, **options)
        return self.made(node, schema(input))

    def scan(self, table: Node, columns: Mapping[str, DType], names: Mapping[str, str], cast: bool = False) -> Project:
        """A table's columns under the statement's names. ``cast``: the table's own types may be others."""
        exprs = tuple(Alias(Cast(Column(name), columns[name]) if cast else Column(name), new) for name, new in names.items())
        node = Project(label=self.label("sql scan"), origin=self.origin, input=table, exprs=exprs)
        made = replace(node, schema={new: columns[name] for name, new in names.items()})
        self.scans.add(made)
        return made

    def project(self, input: Node, exprs: Sequence[ExprNode], keep: bool = False) -> Node:
        if keep and not exprs:
            return input
        return self._relation(Project, "select", input, exprs=tuple(exprs), keep=keep)

    def where(self, input: Node, parts: Sequence[ExprNode]) -> Node:
        return self._relation(Where, "where", input, predicate=both(parts)) if parts else input

    def group(
        self, input: Node, keys: Sequence[ExprNode], aggs: Sequence[ExprNode], sets: tuple[tuple[int, ...], ...] | None = None
    ) -> GroupAggregate:
        return self._relation(GroupAggregate, "group by", input, keys=tuple(keys), aggs=tuple(aggs), sets=sets)

    def join(
        self, left: Node, right: Node, how: HowToJoin, on: Iterable[tuple[ExprNode, ExprNode]] = (), *,
        residual: Sequence[ExprNode] = (), null_equal: bool = False, mark: str = "_right",
    ) -> Join:  # fmt: skip
        pairs = list(on)
        node = Join(
            label=self.label(f"sql {how} join"), origin=self.origin, left=left, right=right, how=how, left_on=tuple(a for a, _ in pairs),
            right_on=tuple(b for _, b in pairs), null_equal=null_equal, residual=both(residual) if residual else None, suffix=mark,
        )  # fmt: skip
        return self.made(node, schema(left), schema(right))

    def order(self, input: Node, keys: Sequence[SortKey], limit: int | None = None) -> Node:
        return self._relation(OrderBy, "order by", input, keys=tuple(keys), limit=limit)

    def limit(self, input: Node, count: int | None, offset: int) -> Node:
        return self._relation(Limit, "limit", input, count=count, offset=offset)

    def distinct(self, input: Node) -> Node:
        return self._relation(Distinct, "distinct", input)

    def one_row(self) -> Node:
        """What a SELECT without FROM reads: one row."""
        from dataflow.io.whole import ListSource
        from dataflow.plan.nodes import Read

        read = Read(label=self.label("sql row"), origin=self.origin, source=ListSource([{"row": 0}]), element=dict)
        from dataflow.expr.types import INT64

        return self.scan(read, {"row": INT64}, {"row": self.fresh("row", INT64)})


def schema(node: Node) -> Mapping[str, DType]:
    """The columns of a node made here."""
    assert isinstance(node, Relation)
    assert node.schema is not None
    return node.schema


def own_expressions(node: Relation) -> list[ExprNode]:
    """The expressions that stand in a node itself."""
    found: list[ExprNode] = []
    todo: list[Any] = [getattr(node, field.name) for field in fields(node)]
    while todo:
        one = todo.pop()
        if isinstance(one, ExprNode):
            found.append(one)
        elif isinstance(one, SortKey):
            found.append(one.expr)
        elif isinstance(one, tuple):
            todo.extend(one)
    return found
