"""A tree of inner joins as a graph: tables, the equalities between them, the other conditions, and the columns that come out.

    where c over join(join(A, B on a = b), select C on b = c)   ──>   tables A, B, C;  a = b = c;  condition c

What is not an inner join, a filter, or a choice of columns above such a join is a table here, whatever stands below. Every column of
every table has one name in the graph: its own where no table before has it, else that with the number of the table.

Columns equal to one another are one class: A and C above may be joined too, though nobody wrote it. Types of a class are the same: that
an int is a float and the float another int does not make the ints equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dataflow.expr.nodes import Call, Column, ExprNode, columns_of
from dataflow.expr.types import DType
from dataflow.optimizer.conditions import conjuncts, is_movable, renamed
from dataflow.optimizer.join_order import Tree
from dataflow.plan.columns_out import named, shared_keys
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import Join, Project, Where
from dataflow.plan.traversal import consumers, topological
from dataflow.record import record

__all__ = ["Equality", "JoinGraph", "graph_below", "graphs_of"]


@record
class Equality:
    """A key of two tables that is no column of both, or of two types: it stays a pair."""

    one: int
    two: int
    of_one: ExprNode
    of_two: ExprNode


@dataclass(slots=True)
class JoinGraph:
    """``names``: of each table, its columns and what they are called here. ``classes``: of each, the column of a table by its number.

    ``conditions``: all that are no keys, with the set of tables they read. ``outputs``: what the columns that come out are here.
    ``written``: the tree as the user has it, ``joins`` its nodes; ``homes`` and ``kinds``: of each column here, its table and type.
    """

    root: Relation
    tables: list[Relation] = field(default_factory=list)
    names: list[dict[str, str]] = field(default_factory=list)
    classes: list[dict[int, str]] = field(default_factory=list)
    equalities: list[Equality] = field(default_factory=list)
    conditions: list[tuple[int, ExprNode]] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    written: Tree = 0
    joins: list[Join] = field(default_factory=list)
    homes: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, DType] = field(default_factory=dict)

    def tables_of(self, expr: ExprNode) -> int:
        """The set of tables that an expression reads, a bit each."""
        found = 0
        for name in columns_of(expr):
            found |= 1 << self.homes[name]
        return found

    def neighbours(self) -> list[int]:
        """Of each table, the set of those that it has an equality with."""
        near = [0] * len(self.tables)
        groups = [tuple(one) for one in self.classes] + [(one.one, one.two) for one in self.equalities]
        for group in groups:
            whole = sum(1 << at for at in group)
            for at in group:
                near[at] |= whole & ~(1 << at)
        return near

    def keys(self, one: int, two: int) -> list[tuple[ExprNode, ExprNode]]:
        """The equalities by which two sets of tables are joined: of each class, one column of either set."""
        found: list[tuple[ExprNode, ExprNode]] = []
        for members in self.classes:
            ends = [next((name for at, name in members.items() if tables >> at & 1), None) for tables in (one, two)]
            if ends[0] is not None and ends[1] is not None:
                found.append((Column(ends[0]), Column(ends[1])))
        for equality in self.equalities:
            if one >> equality.one & 1 and two >> equality.two & 1:
                found.append((equality.of_one, equality.of_two))
            elif one >> equality.two & 1 and two >> equality.one & 1:
                found.append((equality.of_two, equality.of_one))
        return found


def graphs_of(plan: Sequence[Node]) -> list[JoinGraph]:
    """Every tree of inner joins of a plan that is as large as it can be, those below others first."""
    order, readers = topological(plan), consumers(plan)
    outs = set(map(id, plan))
    inside: set[int] = set()

    def below(node: Node) -> bool:
        """Whether a node is part of the graph that its reader is in."""
        return id(node) in inside and len(readers[id(node)]) == 1 and id(node) not in outs

    for node in order:
        match node:
            case Join() if _is_inside(node):
                inside.add(id(node))
            case Where(input=child) | Project(input=child) if below(child) and _is_inside(node):
                inside.add(id(node))
            case _:
                pass
    absorbed = {id(child) for node in order if id(node) in inside for child in node.inputs if below(child)}
    return [_graph(node, absorbed) for node in order if isinstance(node, Relation) and id(node) in inside and id(node) not in absorbed]


def graph_below(root: Relation) -> JoinGraph:
    """The graph of all that is below a node, whoever else reads it, with the filters and choices of columns that stand on tables, too:
    a single table may be one."""
    inside: set[int] = set()
    stack: list[Node] = [root]
    while stack:
        node = stack.pop()
        if _is_inside(node):
            inside.add(id(node))
            stack.extend(node.inputs)
    if id(root) not in inside:
        alone = JoinGraph(root)
        alone.outputs, alone.written = _table(alone, root)
        return alone
    return _graph(root, inside)


def _is_inside(node: Node) -> bool:
    match node:
        case Join():
            return _is_joining(node)
        case Where(input=Relation(), predicate=predicate):
            return node.schema is not None and is_movable(predicate)
        case Project(input=Relation() as child, exprs=exprs):
            return node.schema is not None and all(isinstance(expr, Column) for expr in named(exprs, _names(child)).values())
        case _:
            return False


def _graph(root: Relation, absorbed: set[int]) -> JoinGraph:
    graph = JoinGraph(root)
    columns: dict[int, dict[str, str]] = {}  # what the columns that come out of each node are here
    trees: dict[int, Tree] = {}
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        assert isinstance(node, Relation)
        if node is not root and id(node) not in absorbed:
            columns[id(node)], trees[id(node)] = _table(graph, node)
            continue
        if not ready:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.inputs))
            continue
        match node:
            case Join(left=left, right=right):
                columns[id(node)] = _join(graph, node, columns[id(left)], columns[id(right)])
                trees[id(node)] = (trees[id(left)], trees[id(right)])
            case Where(input=child, predicate=predicate):
                columns[id(node)], trees[id(node)] = columns[id(child)], trees[id(child)]
                for one in conjuncts(predicate):
                    _condition(graph, renamed(one, columns[id(child)]))
            case Project(input=child, exprs=exprs, keep=keep):
                have = columns[id(child)]
                new = {name: have[expr.name] for name, expr in named(exprs, tuple(have)).items() if isinstance(expr, Column)}
                columns[id(node)], trees[id(node)] = {**have, **new} if keep else new, trees[id(child)]
            case _:
                raise AssertionError(type(node).__name__)
    graph.outputs, graph.written = columns[id(root)], trees[id(root)]
    return graph


def _names(node: Node) -> tuple[str, ...]:
    return tuple(node.schema or ()) if isinstance(node, Relation) else ()


def _is_joining(node: Join) -> bool:
    if node.how not in ("inner", "cross") or node.null_equal or node.schema is None or node.left is node.right:
        return False
    if not all(isinstance(side, Relation) and side.schema is not None for side in node.inputs):
        return False
    exprs = (*node.left_on, *node.right_on, *((node.residual,) if node.residual is not None else ()))
    return all(is_movable(expr) and columns_of(expr) for expr in exprs)


def _table(graph: JoinGraph, node: Relation) -> tuple[dict[str, str], Tree]:
    at = len(graph.tables)
    names: dict[str, str] = {}
    for name, kind in (node.schema or {}).items():
        new = name
        while new in graph.homes:
            new = f"{name}#{at}" if new == name else f"{new}#"
        names[name] = new
        graph.homes[new], graph.kinds[new] = at, kind
    graph.tables.append(node)
    graph.names.append(names)
    return names, at


def _join(graph: JoinGraph, node: Join, left: dict[str, str], right: dict[str, str]) -> dict[str, str]:
    graph.joins.append(node)
    shared = shared_keys(node)
    out = {**left, **{(name + node.suffix if name in left else name): new for name, new in right.items() if name not in shared}}
    for one, two in zip(node.left_on, node.right_on, strict=True):
        _condition(graph, Call("equal", (renamed(one, left), renamed(two, right))))
    if node.residual is not None:
        for condition in conjuncts(node.residual):
            _condition(graph, renamed(condition, out))
    return out


def _equality(graph: JoinGraph, one: ExprNode, two: ExprNode) -> bool:
    """Two expressions are equal: add it as a key, if either is of one table and those are two."""
    sets = graph.tables_of(one), graph.tables_of(two)
    if any(tables.bit_count() != 1 for tables in sets) or sets[0] == sets[1]:
        return False
    at, other = (tables.bit_length() - 1 for tables in sets)
    if not isinstance(one, Column) or not isinstance(two, Column) or graph.kinds[one.name] != graph.kinds[two.name]:
        graph.equalities.append(Equality(at, other, one, two))
        return True
    first, second = _class_of(graph, at, one.name), _class_of(graph, other, two.name)
    if first is second:
        return True
    if set(first) & set(second):  # a table would stand in it with two columns
        graph.equalities.append(Equality(at, other, one, two))
    else:
        first.update(second)
        graph.classes = [members for members in graph.classes if members is not second]
    return True


def _class_of(graph: JoinGraph, table: int, name: str) -> dict[int, str]:
    """The class that a column is in; a new one of itself, if it is in none."""
    for members in graph.classes:
        if members.get(table) == name:
            return members
    graph.classes.append({table: name})
    return graph.classes[-1]


def _condition(graph: JoinGraph, condition: ExprNode) -> None:
    if isinstance(condition, Call) and condition.operation == "equal" and _equality(graph, *condition.args):
        return
    graph.conditions.append((graph.tables_of(condition), condition))
