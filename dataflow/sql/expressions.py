"""SQL expressions -> column expressions over the statement's unique columns, each typed as it is made.

    l_extendedprice * (1 - l_discount)   ->   col('lineitem.l_extendedprice') * (1 - col('lineitem.l_discount'))

A subquery in an expression becomes a column that is not there yet, and a note of how to get it (`subqueries.Pending`): only
the query knows at which of its stages the join can happen. Aggregates and windows stay in the expression for `block` to lift.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlglot import exp

from dataflow.expr.nodes import Call, Case, Cast, ExprNode, Literal, columns_of
from dataflow.expr.types import BOOL, NULL, STRING, DType
from dataflow.expr.typing import ExprError
from dataflow.sql import aggregates, calls, concatenation, literals, subqueries, texts, times, windows
from dataflow.sql.building import Builder
from dataflow.sql.errors import SqlError, refuse
from dataflow.sql.scope import Scope
from dataflow.sql.trees import chained

__all__ = ["COMPARISONS", "Expressions"]

_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Add: "add",
    exp.Sub: "subtract",
    exp.Mul: "multiply",
    exp.Div: "divide",
    exp.IntDiv: "floor_divide",
    exp.Mod: "modulo",
}
_BITS: dict[type[exp.Expr], tuple[str, str]] = {
    exp.BitwiseAnd: ("and", "&"), exp.BitwiseOr: ("or", "|"), exp.BitwiseXor: ("xor", "xor()"), exp.BitwiseNot: ("not", "~"),
}  # fmt: skip
_QUANTIFIERS = (exp.Any, exp.All)
COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "equal", exp.NEQ: "not_equal", exp.LT: "less", exp.LTE: "less_equal", exp.GT: "greater", exp.GTE: "greater_equal",
    exp.NullSafeEQ: "equal_missing", exp.NullSafeNEQ: "not_equal_missing",
}  # fmt: skip


class Expressions:
    """The expressions of one query block. ``plan`` translates a subquery; ``aliases_first``: the select list's names win over
    those of a query around (GROUP BY, HAVING, QUALIFY, ORDER BY), but never over the own tables'."""

    def __init__(self, build: Builder, scope: Scope, plan: Callable[[exp.Expr, Scope], subqueries.Planned]) -> None:
        self.build, self.scope, self.plan = build, scope, plan
        self.pending: dict[str, subqueries.Pending] = {}
        self.windows: dict[str, exp.Window] = {}
        self.groupings: dict[str, tuple[ExprNode, ...]] = {}  # columns that are GROUPING(…) of these
        self.places: dict[ExprNode, exp.Expr] = {}  # where a column was first named
        self.aliases_first = False
        self._known: dict[exp.Expr, ExprNode] = {}  # subqueries behind WHERE: one that is written twice, as in GROUP BY, is one
        self._expanding: list[str] = []

    def expr(self, node: exp.Expr) -> ExprNode:
        """The expression, whose type has been found to be right."""
        if node is None:  # the parser lets "f(, x)" pass
            refuse(self.build.at, "an argument is missing in a function's brackets")
        around, self.build.at = self.build.at, node
        found = self.typed(self._subquery(node) or self._translated(node), node)
        self.build.at = around
        return found

    def _subquery(self, node: exp.Expr) -> ExprNode | None:
        """What a subquery's expression became where it was written before; None for any other node."""
        written = (
            isinstance(node, (exp.Subquery, exp.Exists)) or node.args.get("query") is not None or isinstance(node.expression, _QUANTIFIERS)
        )
        if not (written and self.aliases_first):
            return None
        if node not in self._known:
            self._known[node] = self._translated(node)
        return self._known[node]

    def typed(self, expr: ExprNode, node: exp.Expr) -> ExprNode:
        try:
            self.build.type_of(expr)
        except ExprError as error:
            refuse(node, _unqualified(str(error)), _unqualified(error.hint))
        return expr

    def type(self, expr: ExprNode) -> DType:
        return self.build.type_of(expr)

    def constant(self, node: exp.Expr | None, what: str) -> Any:
        """The value of a part that must be a constant."""
        if node is None:
            return None
        found = self.expr(node)
        if not isinstance(found, Literal):
            refuse(node, f"{what} must be a constant here", "compute it before, in Python, and put its value into the text")
        return found.value

    def _translated(self, node: exp.Expr) -> ExprNode:  # one arm for every shape of expression
        match node:
            case exp.Paren() | exp.Alias():
                return self.expr(node.this)
            case exp.Column():
                return self._column(node)
            case exp.Literal():
                return Literal(node.name) if node.is_string else literals.number(node)
            case exp.RawString():
                return Literal(node.name)
            case exp.Boolean():
                return Literal(bool(node.this))
            case exp.Null():
                return Literal(None)
            case exp.And() | exp.Or():
                return self._logic(node)
            case exp.Not():
                return Call("not", (self._bool(node.this),))
            case exp.Neg():
                return self._negative(node)
            case exp.Add() | exp.Sub() | exp.Mul() | exp.Div() | exp.IntDiv() | exp.Mod():
                return self._arithmetic(node)
            case exp.BitwiseAnd() | exp.BitwiseOr() | exp.BitwiseXor() | exp.BitwiseNot():
                return self._bits(node)
            case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE() | exp.NullSafeEQ() | exp.NullSafeNEQ():
                return self._comparison(node)
            case exp.Between():
                return self._between(node)
            case exp.In():
                return self._in(node)
            case exp.Is():
                return self._is(node)
            case exp.Like() | exp.ILike() | exp.Escape():
                return self._like(node)
            case exp.Case() | exp.If():
                return self._case(node)
            case exp.Cast() | exp.TryCast():
                return self._cast(node)
            case exp.DPipe() | exp.Concat() | exp.ConcatWs():
                return concatenation.concatenated(self, node)
            case exp.Exists():
                return subqueries.exists(self, node)
            case exp.Subquery() | exp.Select() | exp.SetOperation():
                return subqueries.scalar(self, node)
            case exp.Window():
                return windows.window(self, node)
            case exp.Bracket():
                return texts.item(self, node)
            case exp.Dot():
                return Call("struct.field", (self.expr(node.this),), (("name", node.name),))
            case _ if not isinstance(node, (exp.Grouping, exp.GroupingId)) and (found := aggregates.aggregate(self, node)) is not None:
                return self._own(found, node)
            case _ if (found := times.on_time(self, node)) is not None:
                return found
            case _:
                return calls.call(self, node)

    # -- names

    def _own(self, found: ExprNode, node: exp.Expr) -> ExprNode:
        """An aggregate of this query. One of columns of a query around alone would be that one's, in SQL's rules."""
        used = columns_of(found)
        if self.scope.parent is not None and used and not any(self.scope.owns(name) or name in self.pending for name in used):
            refuse(node, "this aggregates columns of the query around alone", "aggregate there, and select the column in this query")
        return found

    def _column(self, node: exp.Column) -> ExprNode:
        if isinstance(node.this, exp.Star):
            refuse(node, "* stands for many columns, and one value is needed here", "name the column, or count(*)")
        if (found := self.scope.find(node)) is not None:
            self.places.setdefault(found, node)
            return found
        if self.aliases_first and (found := self._alias(node)) is not None:
            return found
        around = self.scope.parent
        while around is not None:
            if (found := around.find(node)) is not None:
                return found
            around = around.parent
        if not self.aliases_first and (found := self._alias(node)) is not None:
            return found
        self.scope.unknown(node)
        raise AssertionError

    def _alias(self, node: exp.Column) -> ExprNode | None:
        name = node.name.lower()
        if node.table or name not in self.scope.aliases:
            return None
        if name in self._expanding:
            refuse(node, f"the name {node.name!r} is defined by itself")
        self._expanding.append(name)
        try:
            return self.expr(self.scope.aliases[name])
        finally:
            self._expanding.pop()

    # -- logic and comparison

    def _logic(self, node: exp.Expr) -> ExprNode:
        kind, parts, stack = type(node), [], [node]
        while stack:
            one = stack.pop()
            if type(one) is kind:
                stack.extend((one.expression, one.this))
            else:
                parts.append(self._bool(one))
        return chained("and" if kind is exp.And else "or", parts)

    def _bool(self, node: exp.Expr) -> ExprNode:
        found = self.expr(node)
        if self.type(found) not in (BOOL, NULL):
            refuse(node, f"a condition is needed here, and this is {self.type(found)}", "compare it: … = … or … > 0")
        return found

    condition = _bool

    def _comparison(self, node: exp.Expr) -> ExprNode:
        for side in (node.expression, node.this):
            if isinstance(side, _QUANTIFIERS):
                return subqueries.quantified(self, node, side)
        return self.compared(COMPARISONS[type(node)], node.this, node.expression, node)

    def compared(self, operation: str, one: exp.Expr, two: exp.Expr, node: exp.Expr) -> ExprNode:
        if isinstance(one, exp.Tuple) and isinstance(two, exp.Tuple):
            return self._tuples(operation, one, two, node)
        left, right = self.meeting((self.expr(one), self.expr(two)), (one, two))
        return Call(operation, (left, right))

    def _tuples(self, operation: str, one: exp.Tuple, two: exp.Tuple, node: exp.Expr) -> ExprNode:
        if operation not in ("equal", "not_equal") or len(one.expressions) != len(two.expressions):
            refuse(node, "rows are compared by = and <> with as many values", "compare the values one by one")
        equal = chained("and", [self.compared("equal", a, b, node) for a, b in zip(one.expressions, two.expressions)])
        return equal if operation == "equal" else Call("not", (equal,))

    def meeting(self, parts: tuple[ExprNode, ...], nodes: tuple[exp.Expr, ...]) -> tuple[ExprNode, ...]:
        """The parts of a comparison, text constants read as the other's type: o_orderdate < '1995-03-15'."""
        others = [kind for part in parts if (kind := self.type(part)) not in (STRING, NULL)]
        if not others or not (others[0].is_numeric or others[0].is_temporal or others[0] == BOOL):
            return parts
        return tuple(
            literals.literal_as(part.value, others[0], node) if isinstance(part, Literal) and isinstance(part.value, str) else part
            for part, node in zip(parts, nodes)
        )

    def _between(self, node: exp.Expr) -> ExprNode:
        value, low, high = (self.expr(node.args[key]) for key in ("this", "low", "high"))
        value, low, high = self.meeting((value, low, high), (node.this, node.args["low"], node.args["high"]))
        found: ExprNode = Call("and", (Call("greater_equal", (value, low)), Call("less_equal", (value, high))))
        if node.args.get("symmetric"):
            found = Call("or", (found, Call("and", (Call("greater_equal", (value, high)), Call("less_equal", (value, low))))))
        return found

    def _in(self, node: exp.In) -> ExprNode:
        if (query := node.args.get("query")) is not None:
            return subqueries.member(self, node, query)
        items = list(node.expressions)
        if not items or node.args.get("unnest") or node.args.get("field"):
            refuse(node, "IN takes a list in brackets or a subquery", "write x IN (1, 2, 3); for a list's items list_contains(items, x)")
        if isinstance(node.this, exp.Tuple):
            return chained("or", [self.compared("equal", node.this, item, node) for item in items])
        value, *given = self.meeting((self.expr(node.this), *map(self.expr, items)), (node.this, *items))
        constants = [one for one in given if isinstance(one, Literal)]
        known = tuple(one for one in constants if one.value is not None)
        parts: list[ExprNode] = [Call("is_in", (value, *known))] if known else []
        parts += [Call("equal", (value, one)) for one in given if not isinstance(one, Literal)]
        if len(known) < len(constants):
            parts.append(Literal(None, BOOL))  # x IN (1, null) is true or null, never false
        return chained("or", parts)

    def _is(self, node: exp.Expr) -> ExprNode:
        value, what = self.expr(node.this), node.expression
        if isinstance(what, exp.Null):
            return Call("is_null", (value,))
        if isinstance(what, exp.Boolean):
            return Call("equal_missing", (value, Literal(bool(what.this))))
        if isinstance(what, exp.Not) and isinstance(what.this, exp.Null):
            return Call("is_not_null", (value,))
        return refuse(node, f"IS {what.sql()} is not supported", "IS takes NULL, TRUE or FALSE; IS NOT DISTINCT FROM compares with null")

    def _like(self, node: exp.Expr) -> ExprNode:
        escape = None
        if isinstance(node, exp.Escape):
            escape, node = self.constant(node.expression, "the escape character"), node.this
        value, pattern = self.expr(node.this), self.constant(node.expression, "the pattern of LIKE")
        if pattern is None:
            return Literal(None, BOOL)
        if not isinstance(pattern, str):
            refuse(node.expression, "the pattern of LIKE is text")
        if isinstance(node, exp.ILike):
            value, pattern = Call("str.to_lowercase", (value,)), pattern.lower()
        found = Call("str.like", (value,), (("pattern", pattern), ("escape", escape)))
        return Call("not", (found,)) if node.args.get("negate") else found

    # -- arithmetic

    def _negative(self, node: exp.Expr) -> ExprNode:
        value = self.expr(node.this)
        if isinstance(value, Literal) and value.type is None and type(value.value) in (int, float, Decimal):
            return Literal(-value.value)
        return Call("negate", (value,))

    def _arithmetic(self, node: exp.Expr) -> ExprNode:
        if (found := times.arithmetic(self, node)) is not None:
            return found
        operation = _ARITHMETIC[type(node)]
        one, two = self.expr(node.this), self.expr(node.expression)
        if isinstance(node, (exp.Add, exp.Sub)) and (found := times.between(self, one, two, node)) is not None:
            return found
        if operation == "add" and STRING in (self.type(one), self.type(two)):
            refuse(node, "text is put together with ||, not +", "a || b")
        if operation in ("floor_divide", "modulo"):
            return self._divided_whole(operation, one, two)
        return literals.folded(operation, one, two) or Call(operation, (one, two))

    def _bits(self, node: exp.Expr) -> ExprNode:
        operation, sign = _BITS[type(node)]
        parts = tuple(self.expr(one) for one in (node.this, node.args.get("expression")) if one is not None)
        wrong = next((kind for part in parts if not (kind := self.type(part)).is_integer and kind != NULL), None)
        if wrong is not None:
            refuse(node, f"{sign} takes integers, not {wrong}", "AND, OR and NOT are of conditions")
        return Call(operation, parts)

    def _divided_whole(self, operation: str, one: ExprNode, two: ExprNode) -> ExprNode:
        """% and // of SQL: toward zero, where the operations go down. // of other numbers than integers is /, and by 0 null as well."""
        kinds = (self.type(one), self.type(two))
        if operation == "floor_divide" and any(kind.is_numeric and not kind.is_integer for kind in kinds):
            return Call("divide", (one, Call("null_if", (two, Literal(0)))))
        return Call(operation, (one, two), (("toward_zero", True),))

    # -- the rest

    def _case(self, node: exp.Expr) -> ExprNode:
        if isinstance(node, exp.If):
            ifs, subject, default = [node], None, node.args.get("false")
        else:
            ifs, subject, default = node.args.get("ifs") or [], node.args.get("this"), node.args.get("default")
        branches = []
        for one in ifs:
            condition = self._bool(one.this) if subject is None else self.compared("equal", subject, one.this, one)
            branches.append((condition, self.expr(one.args["true"])))
        return Case(tuple(branches), self.expr(default) if default is not None else Literal(None))

    def _cast(self, node: exp.Expr) -> ExprNode:
        kind, value = literals.type_named(node.args["to"]), self.expr(node.this)
        if isinstance(value, Literal) and isinstance(value.value, str) and kind.is_temporal and kind.name != "duration":
            try:
                return literals.literal_as(value.value, kind, node)
            except SqlError:
                if isinstance(node, exp.TryCast):
                    return Literal(None, kind)
                raise
        if isinstance(value, Literal) and value.value is None:
            return Literal(None, kind)
        return Cast(value, kind, strict=not isinstance(node, exp.TryCast))


def _unqualified(text: str) -> str:
    """The engine's words about an expression, with the user's names: col('lineitem.l_tax#2') is lineitem.l_tax."""
    import re

    return re.sub(r"col\('([^'#]*)(?:#\d+)?'\)", r"\1", text)
