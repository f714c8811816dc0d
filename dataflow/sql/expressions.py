"""SQL expressions -> column expressions over the statement's unique columns, each typed as it is made.

    l_extendedprice * (1 - l_discount)   ->   col('lineitem.l_extendedprice') * (1 - col('lineitem.l_discount'))

A subquery in an expression becomes a column that is not there yet, and a note of how to get it (`subqueries.Pending`): only
the query knows at which of its stages the join can happen. Aggregates and windows stay in the expression for `block` to lift.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from dataflow.expr.nodes import Call, Case, Cast, Column, ExprNode, Literal
from dataflow.expr.operations import OPERATIONS
from dataflow.expr.types import BOOL, INT64, NULL, STRING, DType
from dataflow.expr.typing import ExprError
from dataflow.sql import aggregates, literals, subqueries, times, windows
from dataflow.sql.building import Builder
from dataflow.sql.errors import refuse
from dataflow.sql.functions import BY_NAME, FUNCTIONS, Function
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
        self.places: dict[ExprNode, exp.Column] = {}  # where a column was first named
        self.aliases_first = False
        self._expanding: list[str] = []

    def expr(self, node: exp.Expr) -> ExprNode:
        """The expression, whose type has been found to be right."""
        found = self._translated(node)
        return self.typed(found, node)

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
                return self._concat(node)
            case exp.Exists():
                return subqueries.exists(self, node)
            case exp.Subquery() | exp.Select() | exp.SetOperation():
                return subqueries.scalar(self, node)
            case exp.Window():
                return windows.window(self, node)
            case exp.Bracket():
                return self._item(node)
            case exp.Dot():
                return Call("struct.field", (self.expr(node.this),), (("name", node.name),))
            case _ if not isinstance(node, (exp.Grouping, exp.GroupingId)) and (found := aggregates.aggregate(self, node)) is not None:
                return found
            case _ if (found := times.on_time(self, node)) is not None:
                return found
            case _:
                return self._function(node)

    # -- names

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
            if isinstance(side, (exp.Any, exp.All)):
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
        if isinstance(value, Literal) and value.type is None and value.value is not None and not isinstance(value.value, (bool, str)):
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
        return literals.folded(operation, one, two) or Call(operation, (one, two))

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
            return literals.literal_as(value.value, kind, node)
        if isinstance(value, Literal) and value.value is None:
            return Literal(None, kind)
        return Cast(value, kind, strict=not isinstance(node, exp.TryCast))

    def _concat(self, node: exp.Expr) -> ExprNode:
        if isinstance(node, exp.DPipe):
            parts: list[ExprNode] = []
            stack = [node]
            while stack:
                one = stack.pop()
                if isinstance(one, exp.DPipe):
                    stack.extend((one.expression, one.this))
                else:
                    parts.append(self._text(one))
            return chained("str.concat", parts)
        texts = [self._text(one) for one in node.expressions]
        filled: list[ExprNode] = [Call("coalesce", (one, Literal(""))) for one in texts]  # concat() leaves nulls out
        if isinstance(node, exp.ConcatWs):
            between, rest = texts[0], texts[1:]
            if any(not isinstance(one, Literal) for one in rest):
                refuse(node, "concat_ws of columns is not supported", "a || ',' || b")
            filled = [part for one in rest for part in (between, one)][1:]
        return chained("str.concat", filled)

    def _text(self, node: exp.Expr) -> ExprNode:
        found = self.expr(node)
        if isinstance(found, Literal) and found.value is not None:
            return Literal(literals.as_text(found.value))
        return found if self.type(found) in (STRING, NULL) else Cast(found, STRING)

    def _item(self, node: exp.Expr) -> ExprNode:
        value = self.expr(node.this)
        index = node.expressions[0] if len(node.expressions) == 1 else None
        if index is None or isinstance(index, exp.Slice):
            refuse(node, "a part of a list is not supported", "take one item: items[1]")
        if self.type(value).name == "struct":
            return Call("struct.field", (value,), (("name", self.constant(index, "a field's name")),))
        return Call("list.get", (value,), (("index", self.constant(index, "an item's number")),))

    def _function(self, node: exp.Expr) -> ExprNode:
        found: Function | None
        if isinstance(node, exp.Anonymous):
            name = str(node.this)
            found = BY_NAME.get(name.lower())
            parts: dict[str, Any] = {str(place): one for place, one in enumerate(node.expressions)}
        else:
            found, parts = FUNCTIONS.get(type(node)), node.args
            name = node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
        if (special := self._special(node)) is not None:
            return special
        if found is None or found.operation not in OPERATIONS:
            refuse(node, f"{name.lower()} is not supported in SQL here", "compute the column before with with_columns(), or after")
        args: list[ExprNode] = []
        for key in found.args:
            given = parts.get(key)
            if given is None and key not in ("expressions",):
                refuse(node, f"{name.lower()} lacks an argument")
            args += map(self.expr, given if isinstance(given, list) else [given] if given is not None else [])
        options = tuple((option, self.constant(parts.get(key), f"{option} of {name.lower()}")) for option, key in found.options)
        return Call(found.operation, tuple(args), (*options, *found.fixed))

    def _special(self, node: exp.Expr) -> ExprNode | None:
        """Functions whose arguments are counted or ordered otherwise in SQL."""
        match node:
            case exp.Substring():
                start, length = (
                    self.constant(node.args.get("start"), "substring's start"),
                    self.constant(node.args.get("length"), "substring's length"),
                )
                return _slice(self.expr(node.this), 1 if start is None else start, length, node)
            case exp.Left():
                return _slice(self.expr(node.this), 1, self.constant(node.expression, "left's length"), node)
            case exp.Right():
                count = self.constant(node.expression, "right's length")
                return Call("str.slice", (self.expr(node.this),), (("offset", -count), ("length", None))) if count else Literal("")
            case exp.Trim():
                position = str(node.args.get("position") or "BOTH").upper()
                which = {"LEADING": "str.strip_chars_start", "TRAILING": "str.strip_chars_end"}.get(position, "str.strip_chars")
                characters = self.constant(node.args.get("expression"), "the characters of trim")
                return Call(which, (self.expr(node.this),), (("characters", " " if characters is None else characters),))
            case exp.Round():
                return Call(
                    "round", (self.expr(node.this),), (("decimals", self.constant(node.args.get("decimals"), "round's digits") or 0),)
                )
            case exp.Log():
                if node.expression is None:
                    return Call("log", (self.expr(node.this),), (("base", 10.0),))
                return Call("log", (self.expr(node.expression),), (("base", float(self.constant(node.this, "log's base"))),))
            case exp.RegexpExtract():
                pattern, group = self.constant(node.expression, "the pattern"), self.constant(node.args.get("group"), "the group")
                return Call("str.extract", (self.expr(node.this),), (("pattern", pattern), ("group", group or 0)))
            case exp.RegexpReplace():
                pattern, value = (
                    self.constant(node.expression, "the pattern"),
                    self.constant(node.args.get("replacement"), "the replacement"),
                )
                every = "g" in str(self.constant(node.args.get("modifiers"), "the modifiers") or "")
                options = (("pattern", pattern), ("value", value), ("literal", False))
                return Call("str.replace_all" if every else "str.replace", (self.expr(node.this),), options)
            case exp.Length():
                value = self.expr(node.this)
                return Call("list.len" if self.type(value).name in ("list", "array") else "str.len_chars", (value,))
            case exp.Array():
                items = [self.expr(one) for one in node.expressions]
                if not all(isinstance(one, Literal) for one in items):
                    refuse(node, "a list of columns is not supported", "a list of constants is")
                return Literal([one.value for one in items if isinstance(one, Literal)])
            case exp.Grouping() | exp.GroupingId():
                args = tuple(map(self.expr, node.expressions))
                known = next((name for name, given in self.groupings.items() if given == args), None)
                name = known or self.build.fresh("grouping", INT64)
                self.groupings[name] = args
                return Column(name)
            case exp.Placeholder() | exp.Parameter():
                return refuse(node, "there is no value for this placeholder", "put the value into the text, or join a table that holds it")
            case exp.Collate():
                return refuse(node, "COLLATE is not supported", "lower(name) compares without case")
            case exp.Star():
                return refuse(node, "* stands for many columns, and one value is needed here", "name the column, or count(*)")
            case exp.Tuple():
                return refuse(node, "a row of values is only understood beside = or IN", "(a, b) IN (SELECT …)")
            case _:
                return None


def _slice(value: ExprNode, start: Any, length: Any, node: exp.Expr) -> ExprNode:
    """SUBSTRING counts from 1; what lies before the text is cut off its length."""
    if start is None or not isinstance(start, int) or (length is not None and (not isinstance(length, int) or length < 0)):
        refuse(node, "substring takes whole numbers, and a length that is not negative")
    if start < 0:
        return Call("str.slice", (value,), (("offset", start), ("length", length)))
    if start == 0 and length is not None:
        length = max(0, length - 1)
    return Call("str.slice", (value,), (("offset", max(0, start - 1)), ("length", length)))


def _unqualified(text: str) -> str:
    """The engine's words about an expression, with the user's names: col('lineitem.l_tax#2') is lineitem.l_tax."""
    import re

    return re.sub(r"col\('([^'#]*)(?:#\d+)?'\)", r"\1", text)
