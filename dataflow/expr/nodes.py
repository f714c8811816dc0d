"""The nodes of an expression: immutable, compared by value, printed as a user would write them.

    Column  Literal  Call(operation, args, options)  Cast  Case(when/then/otherwise)
    Aggregate(function, args, where)            many values to one: in group_by().agg(), in select, under Window
    Window(function, partition, order, frame)   an Aggregate or a Ranking, for every row
    Ranking(function, args)                     row_number, rank, lag, …: only under Window
    Apply(fn, args)                             a Python function of columns
    Alias  AllColumns                           how a result is called; every column

Names of operations and functions are those of `operations`, which gives each its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any
from typing import Literal as OneOf

from dataflow.expr.types import DType
from dataflow.record import record

__all__ = [
    "Aggregate", "Alias", "AllColumns", "Apply", "Call", "Case", "Cast", "Column", "ExprNode", "Frame", "Literal", "Ranking",
    "SortKey", "Window", "children", "columns_of", "has_aggregate", "has_window", "name_of", "rebuilt", "show", "transform", "walk",
]  # fmt: skip

Options = tuple[tuple[str, Any], ...]
_CHAINS = ("and", "or")
_OF_DIFFERENT = ("count", "n_unique", "approx_n_unique", "min", "max", "any", "all")  # equal values count once anyway


@record(eq=True)
class ExprNode:
    """The common part."""


@record(eq=True)
class Column(ExprNode):
    """A column by its name."""

    name: str


@record(eq=True)
class Literal(ExprNode):
    """A value. Without ``type`` an int or float takes the type of what it meets, if it fits there (1 + int8 column is int8)."""

    value: Any
    type: DType | None = None

    def __eq__(self, other: object) -> bool:  # 1, 1.0 and True are different literals
        return isinstance(other, Literal) and (type(self.value), repr(self.value), self.type) == (
            type(other.value),
            repr(other.value),
            other.type,
        )

    def __hash__(self) -> int:
        return hash((type(self.value), repr(self.value), self.type))


@record(eq=True)
class Call(ExprNode):
    """An operation on every row: ``operation`` of ``args``, with ``options`` that are plain values.

    A chain of "and" or "or" is one node of many arguments, however it was built: thousands are no deeper than two.
    """

    operation: str
    args: tuple[ExprNode, ...]
    options: Options = ()

    def __post_init__(self) -> None:
        if self.operation in _CHAINS and any(isinstance(arg, Call) and arg.operation == self.operation for arg in self.args):
            flat: list[ExprNode] = []
            for arg in self.args:
                flat.extend(arg.args if isinstance(arg, Call) and arg.operation == self.operation else (arg,))
            object.__setattr__(self, "args", tuple(flat))


@record(eq=True)
class Cast(ExprNode):
    """The value as another type. A value that has no such form is an error if ``strict``, else null."""

    input: ExprNode
    to: DType
    strict: bool = True


@record(eq=True)
class Case(ExprNode):
    """The value of the first branch whose condition is true (null is not), else ``otherwise``."""

    branches: tuple[tuple[ExprNode, ExprNode], ...]
    otherwise: ExprNode


@record(eq=True)
class Aggregate(ExprNode):
    """One value of many. Rows where ``where`` is not true are left out. ``order``: for first, last, collect. ``distinct``: of
    equal values the first only; for functions to which that makes no difference it is never set."""

    function: str
    args: tuple[ExprNode, ...] = ()
    where: ExprNode | None = None
    order: tuple[SortKey, ...] = ()
    options: Options = ()
    distinct: bool = False

    def __post_init__(self) -> None:
        if self.distinct and self.function in _OF_DIFFERENT:
            object.__setattr__(self, "distinct", False)
            object.__setattr__(self, "function", "n_unique" if self.function == "count" else self.function)


@record(eq=True)
class Ranking(ExprNode):
    """A function of a row's place in its window: row_number, rank, lag, …."""

    function: str
    args: tuple[ExprNode, ...] = ()
    options: Options = ()


@record(eq=True)
class SortKey:
    """One key of an order. ``nulls_last`` is stated always; NaN is the largest number."""

    expr: ExprNode
    descending: bool = False
    nulls_last: bool = False


@record(eq=True)
class Frame:
    """Which rows around the current one a window function sees: ``start`` to ``end``, both counted in rows ("rows") or in
    values of the one order key ("range"), negative before; None is unbounded."""

    unit: OneOf["rows", "range"]
    start: Any = None
    end: Any = 0


@record(eq=True)
class Window(ExprNode):
    """A function for every row over the rows of its partition. Without ``frame``: with an order, from the first row to the
    current one and its peers (SQL's default); without, the whole partition."""

    function: Aggregate | Ranking
    partition: tuple[ExprNode, ...] = ()
    order: tuple[SortKey, ...] = ()
    frame: Frame | None = None


@record(eq=True)
class Apply(ExprNode):
    """A Python function of values (``batches``: of Arrow arrays), with the type of its result."""

    fn: Callable[..., Any]
    args: tuple[ExprNode, ...]
    returns: DType
    batches: bool = False


@record(eq=True)
class Alias(ExprNode):
    """A name for a result."""

    input: ExprNode
    name: str


@record(eq=True)
class AllColumns(ExprNode):
    """Every column but some; stands alone in select, or under operations that then apply to each."""

    without: tuple[str, ...] = ()


def children(node: Any) -> list[ExprNode]:
    """The expressions right below a node, in order."""
    found: list[ExprNode] = []
    for name in _parts(type(node)):
        _gather(getattr(node, name), found)
    return found


def _gather(value: Any, found: list[ExprNode]) -> None:
    if isinstance(value, ExprNode):
        found.append(value)
    elif isinstance(value, SortKey):
        found.append(value.expr)
    elif isinstance(value, tuple):
        for item in value:
            _gather(item, found)


_WITHOUT_EXPRESSIONS = {"Any", "Callable[..., Any]", "DType", "DType | None", "Options", "bool", "str", "tuple[str, ...]"}
_PARTS: dict[type, tuple[str, ...]] = {}


def _parts(kind: type) -> tuple[str, ...]:
    """The fields of a class in which expressions may stand. Trees are walked hundreds of times as a plan is made: the names are
    looked up once, and none of a leaf is looked at."""
    known = _PARTS.get(kind)
    if known is None:
        known = _PARTS[kind] = tuple(field.name for field in fields(kind) if field.type not in _WITHOUT_EXPRESSIONS)
    return known


def walk(node: ExprNode) -> Iterator[ExprNode]:
    """A node and everything below it, outermost first. Iterative: SQL may nest deeper than Python's stack."""
    stack = [node]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(children(one)[::-1])


def transform(node: ExprNode, change: Callable[[ExprNode], ExprNode]) -> ExprNode:
    """The tree with ``change`` applied to every node, those below first. Iterative, as `walk`; a node that stands in several
    places is changed once."""
    done: dict[int, ExprNode] = {}
    for one in reversed(list(walk(node))):
        if id(one) not in done:
            done[id(one)] = change(_rebuilt(one, done))
    return done[id(node)]


def rebuilt(node: ExprNode, change: Callable[[ExprNode], ExprNode]) -> ExprNode:
    """The node with ``change`` applied to the expressions right below it."""
    return _rebuilt(node, {id(child): change(child) for child in children(node)})  # type: ignore[no-any-return]


def _rebuilt(value: Any, done: dict[int, ExprNode]) -> Any:
    updates = {}
    for name in _parts(type(value)):
        old = getattr(value, name)
        new = _replaced(old, done)
        if new is not old:
            updates[name] = new
    return replace(value, **updates) if updates else value


def _replaced(value: Any, done: dict[int, ExprNode]) -> Any:
    if isinstance(value, ExprNode):
        return done[id(value)]
    if isinstance(value, SortKey):
        return _rebuilt(value, done)
    if isinstance(value, tuple):
        new = tuple(_replaced(item, done) for item in value)
        return new if any(a is not b for a, b in zip(new, value, strict=True)) else value
    return value


def columns_of(node: ExprNode) -> tuple[str, ...]:
    """The names of the columns an expression reads, in order of first use."""
    return tuple(dict.fromkeys(one.name for one in walk(node) if isinstance(one, Column)))


def has_aggregate(node: ExprNode) -> bool:
    """Whether an aggregate stands in it outside of a window."""
    stack = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, Aggregate):
            return True
        stack.extend(child for child in children(one) if not (isinstance(one, Window) and child is one.function))
        if isinstance(one, Window):
            stack.extend(children(one.function))
    return False


def has_apply(node: ExprNode) -> bool:
    """Whether a Python function is called in it, which is to see the records it was given.

    >>> from dataflow.expr.types import INT64
    >>> has_apply(Call("negate", (Apply(abs, (Column("x"),), INT64),)))
    True
    """
    return any(isinstance(one, Apply) for one in walk(node))


def has_window(node: ExprNode) -> bool:
    return any(isinstance(one, Window) for one in walk(node))


def name_of(node: ExprNode) -> str:
    """What the result is called: its alias, else the first column it reads, else its function or "literal" (as in Polars)."""
    stack = [node]
    fallback = ""
    while stack:
        one = stack.pop()
        if isinstance(one, (Alias, Column)):
            return one.name
        if isinstance(one, (Aggregate, Ranking)) and not fallback:
            fallback = one.function
        stack.extend(children(one)[::-1])
    return fallback or "literal"


_INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//", "modulo": "%", "power": "**", "equal": "==",
    "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "and": "&", "or": "|", "xor": "^",
}  # fmt: skip

_FREE = ("coalesce", "struct", "duration", "concat_str", "concat_list", "sum_horizontal", "min_horizontal", "max_horizontal")


def show(node: Any) -> str:
    """An expression as a user would write it, on one line.

    >>> show(Call("greater", (Column("x"), Literal(1))))
    "col('x') > 1"
    """
    match node:
        case Column(name):
            return f"col({name!r})"
        case Literal(value, kind):
            return repr(value) if kind is None else f"lit({value!r}, {str(kind)!r})"
        case Call(operation, args, options) if operation in _INFIX and len(args) > 1 and not options:
            return f" {_INFIX[operation]} ".join(map(_inner, args))
        case Call("not", (one,)):
            return f"~{_inner(one)}"
        case Call("negate", (one,)):
            return f"-{_inner(one)}"
        case Call(operation, args, options) if operation in _FREE:
            return f"{operation}({', '.join([*map(show, args), *(f'{k}={v!r}' for k, v in options)])})"
        case Call(operation, args, options):
            rest = [*map(show, args[1:]), *(f"{k}={v!r}" for k, v in options)]
            return f"{_inner(args[0])}.{operation}({', '.join(rest)})" if args else f"{operation}({', '.join(rest)})"
        case Cast(input, to, strict):
            return f"{_inner(input)}.cast({str(to)!r}{'' if strict else ', strict=False'})"
        case Case(branches, otherwise):
            cases = ".".join(f"when({show(c)}).then({show(v)})" for c, v in branches)
            return f"{cases}.otherwise({show(otherwise)})"
        case Aggregate(function, args, where, order, options, distinct):
            head = f"{_inner(args[0])}.{function}" if args else function
            rest = [*map(show, args[1:]), *(f"{k}={v!r}" for k, v in options)]
            if order:
                rest.append(f"order_by={_keys(order)}")
            text = f"{head}({', '.join(rest)}){'.distinct()' if distinct else ''}"
            return f"{text}.filter({show(where)})" if where is not None else text
        case Ranking(function, args, options):
            rest = [*map(show, args[1:]), *(f"{k}={v!r}" for k, v in options)]
            return f"{_inner(args[0])}.{function}({', '.join(rest)})" if args else f"{function}({', '.join(rest)})"
        case Window(function, partition, order, frame):
            parts = [*map(show, partition)]
            if order:
                parts.append(f"order_by={_keys(order)}")
            if frame is not None:
                parts.append(f"{frame.unit}=({frame.start}, {frame.end})")
            return f"{show(function)}.over({', '.join(parts)})"
        case Apply(fn, args, _, batches):
            name = getattr(fn, "__qualname__", type(fn).__name__).replace("<locals>.", "")
            return f"{'apply_batches' if batches else 'apply'}({name}, {', '.join(map(show, args))})"
        case Alias(input, name):
            return f"{_inner(input)}.alias({name!r})"
        case AllColumns(without):
            return f"all().exclude({', '.join(map(repr, without))})" if without else "all()"
        case SortKey(expr, descending, nulls_last):
            return f"{show(expr)}{' descending' if descending else ''}{' nulls last' if nulls_last else ''}"
        case _:
            raise AssertionError(f"an expression that cannot be shown: {type(node).__name__}")


def _keys(order: tuple[SortKey, ...]) -> str:
    return "[" + ", ".join(map(show, order)) + "]"


def _inner(node: ExprNode) -> str:
    text = show(node)
    return f"({text})" if isinstance(node, Call) and not node.options and node.operation in (*_INFIX, "not", "negate") else text
