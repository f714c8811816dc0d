"""Where a subquery meets its outer query: the join that gives an expression the column it noted as pending.

Every function takes the relation as it is at this stage and gives it back with the subquery joined. ``lift`` turns an
expression over the tables into one over this stage (behind GROUP BY: over its keys).
"""

from __future__ import annotations

from collections.abc import Callable

from dataflow.expr.nodes import Aggregate, Alias, Call, Case, Column, ExprNode, Literal, columns_of, has_window
from dataflow.expr.types import BOOL
from dataflow.plan.nodes import Node
from dataflow.plan.relational import Distinct, GroupAggregate, HowToJoin, OrderBy, Project, Where
from dataflow.sql.building import Builder, schema
from dataflow.sql.dependent import Correlation, counts, free_columns
from dataflow.sql.expressions import Expressions
from dataflow.sql.subqueries import Pending
from dataflow.sql.trees import both, conjuncts, rewritten

__all__ = ["attached", "filtered", "needs", "same"]

Lift = Callable[[ExprNode], ExprNode]
Pairs = list[tuple[ExprNode, ExprNode]]


def same(expr: ExprNode) -> ExprNode:
    """The lift of a stage that is still over the tables."""
    return expr


def needs(of: Expressions, expr: ExprNode) -> frozenset[str]:
    """The columns an expression needs, those of its subqueries' operands and correlations too."""
    found: set[str] = set()
    todo = list(columns_of(expr))
    while todo:
        name = todo.pop()
        pending = of.pending.get(name)
        if pending is None:
            found.add(name)
        else:
            todo.extend(name for one in pending.operands for name in columns_of(one))
            todo.extend(free_columns(of.build, pending.planned.node))
    return frozenset(found)


def attached(of: Expressions, node: Node, expr: ExprNode, lift: Lift = same) -> tuple[Node, ExprNode]:
    """The expression with every pending subquery joined to the relation and replaced by its column."""
    for name in columns_of(expr):
        pending = of.pending.get(name)
        if pending is None:
            continue
        of.build.at = pending.node
        if pending.done is None or not set(columns_of(pending.done)) <= set(schema(node)):
            node, pending.done = _value(of, node, pending, lift)
        value = pending.done
        expr = rewritten(expr, lambda one, name=name, value=value: value if one == Column(name) else None)  # type: ignore[misc]
    return node, expr


def filtered(of: Expressions, node: Node, part: ExprNode, lift: Lift = same) -> Node:
    """The rows for which one condition of an AND is true."""
    inner, negated = part, False
    while isinstance(inner, Call) and inner.operation == "not":
        inner, negated = inner.args[0], not negated
    pending = of.pending.get(inner.name) if isinstance(inner, Column) else None
    if pending is None or pending.kind == "scalar":
        node, condition = attached(of, node, part, lift)
        return of.build.where(node, [lift(condition)])
    of.build.at = pending.node
    node, operands = _operands(of, node, pending, lift)
    if pending.kind == "exists":
        return _partnered(of, node, pending, "anti" if negated else "semi", pending.test, operands)
    if negated == pending.negated:
        return _partnered(of, node, pending, "semi", pending.test, operands)
    return _none(of, node, pending, operands)


def _operands(of: Expressions, node: Node, pending: Pending, lift: Lift) -> tuple[Node, dict[ExprNode, ExprNode]]:
    """The outer side of the comparison at this stage, subqueries within it joined first."""
    found: dict[ExprNode, ExprNode] = {}
    for one in pending.operands:
        node, new = attached(of, node, one, lift)
        found[one] = lift(new)
    return node, found


def _value(of: Expressions, node: Node, pending: Pending, lift: Lift) -> tuple[Node, ExprNode]:
    if pending.kind == "scalar":
        return _scalar(of, node, pending)
    node, operands = _operands(of, node, pending, lift)
    node = _partnered(of, node, pending, "mark", pending.test, operands, pending.name)
    found: ExprNode = Column(pending.name)
    if pending.kind == "any":
        node, unknown = _unknown(of, node, pending, operands)
        found = Case(((found, Literal(True)), (unknown, Literal(None, BOOL))), Literal(False))
    return node, Call("not", (found,)) if pending.negated else found


# -- EXISTS, IN, ANY


def _partnered(
    of: Expressions, node: Node, pending: Pending, how: HowToJoin, test: ExprNode | None, operands: dict[ExprNode, ExprNode], mark: str = ""
) -> Node:
    """The semi, anti or mark join with the subquery's rows for which ``test`` is true."""
    build = of.build
    test = _with(test, operands)
    names = sorted(free_columns(build, pending.planned.node) & set(schema(node)))
    core, parts, test = _opened(build, pending.planned.node, test)
    pairs: Pairs = []
    residual: list[ExprNode] = []
    outer = set(schema(node))
    null_equal = False
    if free_columns(build, core) & outer:  # the outer columns are read further down
        correlation = Correlation(build, node, names)
        core, new = correlation.renamed(correlation.run(build.where(core, parts)))
        parts, null_equal = [], True
        pairs = [(Column(a), Column(b)) for a, b in zip(names, new)]
    wanted = [*parts, *(conjuncts(test) if test is not None else [])]
    inner = set(schema(core))
    core = build.where(core, [part for part in parts if not set(columns_of(part)) & outer])
    for part in wanted:
        if part in parts and not set(columns_of(part)) & outer:
            continue
        pair = _sides(part, outer, inner)
        if pair is None:
            residual.append(part)
        elif null_equal:
            core = build.where(core, [Call("is_not_null", (pair[1],))])
            pairs.append(pair)
        else:
            pairs.append(pair)
    return build.join(node, core, how, pairs, residual=residual, null_equal=null_equal, mark=mark or "_right")


def _with(test: ExprNode | None, operands: dict[ExprNode, ExprNode]) -> ExprNode | None:
    return None if test is None else rewritten(test, lambda one: operands.get(one))


def _sides(part: ExprNode, outer: set[str], inner: set[str]) -> tuple[ExprNode, ExprNode] | None:
    """``outer = inner`` as a pair of join keys."""
    if isinstance(part, Call) and part.operation == "equal":
        for one, two in (part.args, part.args[::-1]):
            if set(columns_of(one)) <= outer and columns_of(two) and set(columns_of(two)) <= inner:
                return one, two
    return None


def _opened(build: Builder, node: Node, test: ExprNode | None) -> tuple[Node, list[ExprNode], ExprNode | None]:
    """A query without what does not change whether it has rows (order, DISTINCT, its select list), its conditions apart."""
    parts: list[ExprNode] = []
    while True:
        if node in build.scans:
            return node, parts, test
        if isinstance(node, Where):
            parts += conjuncts(node.predicate)
        elif isinstance(node, Project) and not any(has_window(expr) for expr in node.exprs):
            given = {one.name: one.input for one in node.exprs if isinstance(one, Alias)}
            swap = lambda one, given=given: given.get(one.name) if isinstance(one, Column) else None  # noqa: E731
            parts = [rewritten(part, swap) for part in parts]
            test = rewritten(test, swap) if test is not None else None
        elif not (isinstance(node, OrderBy) and node.limit is None) and not (isinstance(node, Distinct) and node.columns is None):
            return node, parts, test
        node = node.input


def _none(of: Expressions, node: Node, pending: Pending, operands: dict[ExprNode, ExprNode]) -> Node:
    """The rows for which no comparison is true or null: NOT IN, ALL."""
    plain = len(pending.operands) == 1 and not free_columns(of.build, pending.planned.node)
    node = _partnered(of, node, pending, "anti", pending.test, operands)
    if not plain:
        assert pending.test is not None
        return _partnered(of, node, pending, "anti", Call("is_null", (pending.test,)), operands)
    node, unknown = _unknown(of, node, pending, operands)
    return of.build.where(node, [Call("not", (unknown,))])


def _unknown(of: Expressions, node: Node, pending: Pending, operands: dict[ExprNode, ExprNode]) -> tuple[Node, ExprNode]:
    """Whether some comparison is null. For one uncorrelated column that is: there are rows, and the value or one of them is null."""
    build = of.build
    assert pending.test is not None
    if len(pending.operands) > 1 or free_columns(build, pending.planned.node):
        mark = build.fresh("unknown", BOOL)
        return _partnered(of, node, pending, "mark", Call("is_null", (pending.test,)), operands, mark), Column(mark)
    rows, known = (
        build.column("rows", Aggregate("len")),
        build.column("known", Aggregate("count", (Column(pending.planned.columns[0][1]),))),
    )
    node = build.join(node, build.group(pending.planned.node, (), (rows, known)), "cross")
    null = Call("or", (Call("less", (Column(known.name), Column(rows.name))), Call("is_null", (operands[next(iter(pending.operands))],))))
    return node, Call("and", (Call("greater", (Column(rows.name), Literal(0))), null))


# -- a value


def _scalar(of: Expressions, node: Node, pending: Pending) -> tuple[Node, ExprNode]:
    build, planned = of.build, pending.planned
    value = planned.columns[0][1]
    names = sorted(free_columns(build, planned.node) & set(schema(node)))
    if not names:
        return build.join(node, planned.node, "cross" if planned.one_row else "single"), Column(value)
    steps, bottom = _down_to_group(build, planned.node)
    if bottom is None:
        correlation = Correlation(build, node, names)
        right, new = correlation.renamed(correlation.run(planned.node))
        pairs: Pairs = [(Column(a), Column(b)) for a, b in zip(names, new)]
        return build.join(node, right, "single", pairs, null_equal=correlation.needs_domain), Column(value)
    node = _joined_group(of, node, bottom, names)
    passed: list[ExprNode] = []
    for step in reversed(steps):
        if isinstance(step, Where):
            node, condition = _again(of, node, step.predicate)
            passed.append(condition)
        else:
            assert isinstance(step, Project)
            node = build.project(node, [one for one in step.exprs if isinstance(one, Alias)], keep=True)
    found: ExprNode = Column(value)
    return node, Case(((both(passed), found),), Literal(None)) if passed else found


def _again(of: Expressions, node: Node, condition: ExprNode) -> tuple[Node, ExprNode]:
    """A HAVING as a column, since the rows it refuses stay, with null."""
    kept = of.build.column("having", condition)
    return of.build.project(node, [kept], keep=True), Column(kept.name)


def _down_to_group(build: Builder, node: Node) -> tuple[list[Node], GroupAggregate | None]:
    """The steps above an aggregate of all rows, and it; None where the query is of another shape."""
    steps: list[Node] = []
    while isinstance(node, (Project, Where)) and node not in build.scans:
        if isinstance(node, Project) and any(has_window(expr) for expr in node.exprs):
            return steps, None
        steps.append(node)
        node = node.input
    return steps, node if isinstance(node, GroupAggregate) and not node.keys and node.sets is None else None


def _joined_group(of: Expressions, node: Node, group: GroupAggregate, names: list[str]) -> Node:
    """The aggregate by the outer columns it reads, left joined; of no rows a count is 0."""
    build = of.build
    if not free_columns(build, group) & set(names):  # only what is above reads them
        return build.join(node, group, "cross")
    correlation = Correlation(build, node, names)
    grouped = build.group(correlation.run(group.input), [Column(name) for name in names], group.aggs)
    right, new = correlation.renamed(grouped)
    pairs: Pairs = [(Column(a), Column(b)) for a, b in zip(names, new)]
    joined = build.join(node, right, "left", pairs, null_equal=correlation.needs_domain)
    filled = [Alias(Call("coalesce", (Column(name), value)), name) for name, value in counts(group).items()]
    return build.project(joined, filled, keep=True)
