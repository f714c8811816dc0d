"""GROUP BY: keys, grouping sets, and expressions lifted over them.

    SELECT a + 1, sum(b) * 2 GROUP BY a        keys: a    aggregates: sum(b) as s    lifted: a + 1, s * 2

An expression above a grouping is made of its keys and aggregates only; a column that is neither is an error at its place.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

from sqlglot import exp

from dataflow.expr.nodes import Aggregate, Alias, Call, Column, ExprNode, Literal, Window, columns_of
from dataflow.expr.types import INT64
from dataflow.plan.nodes import Node
from dataflow.plan.relational import Union
from dataflow.sql.attach import attached
from dataflow.sql.building import schema
from dataflow.sql.dependent import free_columns
from dataflow.sql.errors import refuse
from dataflow.sql.expressions import Expressions
from dataflow.sql.trees import rewritten

__all__ = ["Grouping", "read_group"]

MOST_SETS = 4096  # a cube of 12 columns


def read_group(of: Expressions, group: exp.Group | None, items: list[tuple[str, ExprNode]], has_aggregate: list[bool]) -> Grouping:
    """The keys and sets of a GROUP BY clause; without one, a single group of all rows."""
    if group is None:
        return Grouping(of, [], None)
    if group.args.get("all"):
        return Grouping(of, [expr for (_, expr), has in zip(items, has_aggregate) if not has], None)
    keys: list[ExprNode] = []
    parts: list[list[tuple[int, ...]]] = []
    for node in group.expressions:
        parts.append(_sets(of, node, keys, items))
    if group.args.get("rollup") or group.args.get("cube"):
        refuse(group, "WITH ROLLUP and WITH CUBE are not supported", "GROUP BY ROLLUP (a, b)")
    sets = [tuple(dict.fromkeys(place for one in chosen for place in one)) for chosen in product(*parts)]
    if len(sets) > MOST_SETS:
        refuse(group, f"{len(sets):,} grouping sets, more than {MOST_SETS:,}")
    whole = tuple(range(len(keys)))
    return Grouping(of, keys, None if [tuple(sorted(one)) for one in sets] == [whole] else tuple(sets))


def _sets(of: Expressions, node: exp.Expr, keys: list[ExprNode], items: list[tuple[str, ExprNode]]) -> list[tuple[int, ...]]:
    """The sets that one element of GROUP BY stands for, as places of keys."""
    match node:
        case exp.Rollup():
            parts = [_places(of, one, keys, items) for one in node.expressions]
            return [tuple(place for part in parts[:count] for place in part) for count in range(len(parts), -1, -1)]
        case exp.Cube():
            parts = [_places(of, one, keys, items) for one in node.expressions]
            if 2 ** len(parts) > MOST_SETS:
                refuse(node, f"a cube of {len(parts)} columns is {2 ** len(parts):,} sets, more than {MOST_SETS:,}")
            chosen = [one for count in range(len(parts), -1, -1) for one in combinations(parts, count)]
            return [tuple(place for part in one for place in part) for one in chosen]
        case exp.GroupingSets():
            return [one for inner in node.expressions for one in _sets(of, inner, keys, items)]
        case _:
            return [_places(of, node, keys, items)]


def _bare(select: exp.Expr | None, named: exp.Expr | None) -> exp.Expr | None:
    """Where a column stands outside of aggregates, if it also stands in one before: sum(a), a."""
    if select is None or named is None:
        return named
    parts = [*select.expressions, *(select.args.get(key) for key in ("having", "qualify", "order"))]
    for part in parts:
        for one in part.walk(prune=lambda node: isinstance(node, (exp.AggFunc, exp.Query))) if part is not None else ():
            if isinstance(one, exp.Column) and one.name.lower() == named.name.lower():
                return one
    return named


def _refuse_single(at: exp.Expr | None, name: str) -> None:
    refuse(at, f"column {name!r} is neither in GROUP BY nor inside of an aggregate", f"GROUP BY {name}, or any_value({name})")


def _places(of: Expressions, node: exp.Expr, keys: list[ExprNode], items: list[tuple[str, ExprNode]]) -> tuple[int, ...]:
    if isinstance(node, exp.Tuple):
        return tuple(place for one in node.expressions for place in _places(of, one, keys, items))
    if isinstance(node, exp.Paren):
        return _places(of, node.this, keys, items)
    if isinstance(node, exp.Literal) and not node.is_string:
        if not node.name.isdigit() or not 1 <= int(node.name) <= len(items):
            refuse(node, f"GROUP BY {node.name[:20]}: there are {len(items)} columns in SELECT")
        expr = items[int(node.name) - 1][1]
    else:
        expr = of.expr(node)
    if any(isinstance(one, (Aggregate, Window)) for one in _walk(expr)):
        refuse(node, "GROUP BY takes no aggregate and no window function", "group by the columns, and filter with HAVING")
    if expr not in keys:
        keys.append(expr)
    return (keys.index(expr),)


def _walk(expr: ExprNode) -> list[ExprNode]:
    from dataflow.expr.nodes import walk

    return list(walk(expr))


class Grouping:
    """A grouping that learns its aggregates from the expressions lifted over it, and is then made."""

    def __init__(self, of: Expressions, keys: list[ExprNode], sets: tuple[tuple[int, ...], ...] | None) -> None:
        self.of, self.sets = of, sets
        build = of.build
        self.keys: dict[ExprNode, str] = {}
        for key in keys:  # a plain column keeps its name, so that a correlated subquery above finds it
            self.keys[key] = key.name if isinstance(key, Column) and key.name not in of.pending else build.fresh("key", build.type_of(key))
        self.aggregates: dict[Aggregate, str] = {}
        self.groupings: dict[str, tuple[int, ...]] = {}  # a column of GROUPING(a, b), and the places of its keys
        self.below: frozenset[str] = frozenset()

    def lift(self, expr: ExprNode, at: exp.Expr | None = None) -> ExprNode:
        """An expression over the tables as one over the groups."""

        def change(one: ExprNode) -> ExprNode | None:
            if one in self.keys:
                return Column(self.keys[one])
            if isinstance(one, Aggregate):
                return Column(self._aggregate(one))
            if isinstance(one, Window) and isinstance(one.function, Aggregate):
                inner = Aggregate("first", (*one.function.args, one.function.where or Literal(None)))  # any node that keeps the parts apart
                parts = [self.lift(part, at) for part in inner.args]
                where = None if one.function.where is None else parts[-1]
                function = replace(one.function, args=tuple(parts[:-1]), where=where)
                outer = rewritten(Call("parts", (*one.partition, *(key.expr for key in one.order))), change)
                assert isinstance(outer, Call)
                split = len(one.partition)
                order = tuple(replace(key, expr=expr) for key, expr in zip(one.order, outer.args[split:]))
                return Window(function, outer.args[:split], order, one.frame)
            if isinstance(one, Column) and one.name in self.of.groupings:
                self.groupings[one.name] = self._grouping(self.of.groupings[one.name], self.of.places.get(one) or at)
                return one
            if isinstance(one, Column) and one.name in self.of.pending:
                pending = self.of.pending[one.name]
                for name in sorted(free_columns(self.of.build, pending.planned.node) & self.below):
                    if Column(name) not in self.keys:
                        _refuse_single(pending.node, name.split("#")[0])
            elif isinstance(one, Column) and one.name in self.below:
                named = _bare(at, self.of.places.get(one))
                _refuse_single(named or at, named.sql() if named is not None else one.name.split("#")[0])
            return None

        return rewritten(expr, change)

    def _aggregate(self, one: Aggregate) -> str:
        if one not in self.aggregates:
            build = self.of.build
            self.aggregates[one] = build.fresh(one.function, build.type_of(one))
        return self.aggregates[one]

    def _grouping(self, args: tuple[ExprNode, ...], at: exp.Expr | None) -> tuple[int, ...]:
        for arg in args:
            if arg not in self.keys:
                refuse(at, "GROUPING takes columns of GROUP BY")
        return tuple(list(self.keys).index(arg) for arg in args)

    def made(self, node: Node) -> Node:
        """The grouped relation, after everything above has been lifted once. Subqueries within aggregates are joined before."""
        of, build = self.of, self.of.build
        keys: list[ExprNode] = []
        for key, name in self.keys.items():
            node, expr = attached(of, node, key)
            keys.append(expr if expr == Column(name) else Alias(expr, name))
        aggs: list[ExprNode] = []
        for one, name in self.aggregates.items():
            if any(column in of.pending for column in columns_of(one)):
                node, expr = attached(of, node, one)
                aggs.append(Alias(expr, name))
            else:
                aggs.append(Alias(one, name))
        if not self.groupings:
            if not keys and not aggs:
                aggs = [build.column("rows", Aggregate("len"))]
            return build.group(node, keys, aggs, self.sets)
        parts = [self._one_set(node, keys, aggs, chosen) for chosen in self.sets or (tuple(range(len(keys))),)]
        if len(parts) == 1:
            return parts[0]
        union = Union(label=build.label("sql grouping sets"), origin=build.origin, parts=tuple(parts))
        return build.made(union, *map(schema, parts))

    def _one_set(self, node: Node, keys: list[ExprNode], aggs: list[ExprNode], chosen: tuple[int, ...]) -> Node:
        """One grouping set on its own, with the other keys null and GROUPING() known."""
        build, names = self.of.build, list(self.keys.values())
        grouped = build.group(node, [keys[place] for place in chosen], aggs or [build.column("rows", Aggregate("len"))])
        shown: list[ExprNode] = [
            Column(name) if place in chosen else Alias(Literal(None, build.types[name]), name) for place, name in enumerate(names)
        ]
        shown += [Column(name) for name in self.aggregates.values()]
        for name, places in self.groupings.items():
            bits = "".join("0" if place in chosen else "1" for place in places)
            shown.append(Alias(Literal(int(bits, 2), INT64), name))
        return build.project(grouped, shown)
