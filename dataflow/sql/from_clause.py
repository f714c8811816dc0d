"""FROM: tables, inner queries, unnest and lateral queries, in the groups in which commas and JOINs tie them.

    FROM a, b LEFT JOIN c ON …, d        three groups; a comma binds weaker than JOIN

Reading gives names to the scope and `Piece`s; `folded` makes them a relation once WHERE is known, since its equalities
decide in which order they are joined. A RIGHT JOIN is a LEFT JOIN with the sides exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from typing import Literal as OneOf

from sqlglot import exp

from dataflow.expr.nodes import Alias, Call, Cast, Column, ExprNode, Literal
from dataflow.expr.types import BOOL, NULL
from dataflow.plan.nodes import Node
from dataflow.plan.relational import Explode
from dataflow.sql.attach import attached, filtered, needs
from dataflow.sql.building import schema
from dataflow.sql.dependent import Correlation, free_columns
from dataflow.sql.errors import refuse
from dataflow.sql.expressions import Expressions
from dataflow.sql.joins import joined
from dataflow.sql.scope import Source
from dataflow.sql.sources import read_source
from dataflow.sql.subqueries import unwrapped
from dataflow.sql.trees import conjuncts, rewritten

if TYPE_CHECKING:
    from dataflow.sql.query import Context

__all__ = ["Group", "folded", "read_from"]

How = OneOf["inner", "left", "right", "full", "semi", "anti"]


@dataclass(slots=True)
class Piece:
    """One table of a group and how it is joined to those before it. ``items``: the list to unnest instead of a table.
    ``lateral``: the table reads columns of those before."""

    how: How
    right: Node | Group | None
    on: list[ExprNode] = field(default_factory=list)
    items: tuple[ExprNode, str] | None = None
    lateral: bool = False
    at: exp.Expr | None = None


@dataclass(slots=True)
class Group:
    pieces: list[Piece] = field(default_factory=list)


def read_from(of: Expressions, context: Context, select: exp.Select) -> list[Group]:
    """The groups of a FROM clause; the scope learns their names."""
    groups: list[Group] = []
    beside = False  # the last comma stands before what reads the tables on its left, and binds less than the joins after it
    start = select.args.get("from_")
    if start is not None:
        groups.append(_group(of, context, start.this))
    for one in [*(select.args.get("joins") or []), *(select.args.get("laterals") or [])]:
        if isinstance(one, exp.Lateral):
            one = exp.Join(this=one)
        if not groups:
            refuse(one, "a JOIN without a FROM before it", "FROM a JOIN b ON …")
        if not _is_comma(one):
            if beside and (how := _how(one)) in ("right", "full"):
                refuse(
                    one, f"{how.upper()} JOIN after a comma and unnest(…) or LATERAL", "CROSS JOIN unnest(…), which binds as it is written"
                )
            _add(of, context, groups[-1], one)
            continue
        beside = _looks_left(one.this)
        if beside:
            groups = [Group([Piece("inner", group) for group in groups])]
            _add(of, context, groups[-1], one)
        else:
            groups.append(_group(of, context, one.this))
    return groups


def _is_comma(join: exp.Join) -> bool:
    return not any(join.args.get(key) for key in ("on", "using", "kind", "side", "method"))


def _looks_left(node: exp.Expr) -> bool:
    return isinstance(node, (exp.Lateral, exp.Unnest))


def _group(of: Expressions, context: Context, node: exp.Expr) -> Group:
    """A table, or tables joined within brackets."""
    inner, group = node, Group()
    while isinstance(inner, exp.Subquery) and isinstance(inner.this, (exp.Table, exp.Subquery)) and not inner.args.get("alias"):
        inner = inner.this
    _add(of, context, group, exp.Join(this=inner), at=node)
    for one in inner.args.get("joins") or []:
        _add(of, context, group, one)
    return group


def _add(of: Expressions, context: Context, group: Group, join: exp.Join, at: exp.Expr | None = None) -> None:
    node, at = join.this, at or join
    how = _how(join)
    before = list(of.scope.sources)
    if isinstance(node, exp.Lateral) and isinstance(node.this, exp.Unnest):
        node.this.set("alias", node.args.get("alias"))
        node = node.this
    if isinstance(node, exp.Unnest):
        piece = _unnest(of, node, how)
    elif isinstance(node, exp.Lateral):
        if how not in ("inner", "left") or not isinstance(node.this, exp.Subquery):
            refuse(
                at,
                f"LATERAL is not supported in a {how.upper()} JOIN",
                "CROSS JOIN LATERAL (SELECT …) or LEFT JOIN LATERAL (SELECT …) ON TRUE",
            )
        planned = context.query(unwrapped(node.this), of.scope)
        source, right = context.renamed(planned, node.alias or "lateral", _column_names(node), node)
        of.scope.add(source, node)
        piece = Piece(how, right, lateral=True)
    elif isinstance(node, exp.Subquery) and isinstance(node.this, (exp.Table, exp.Subquery)) and not node.args.get("alias"):
        piece = Piece(how, _group(of, context, node))
    else:
        source, right = read_source(of, context, node)
        of.scope.add(source, node)
        piece = Piece(how, right)
    piece.at = at
    new = [one for one in of.scope.sources if one not in before]
    _read_on(of, join, piece, before, new)
    group.pieces.append(piece)
    if how in ("semi", "anti"):
        of.scope.sources = before


def _how(join: exp.Join) -> How:
    side, kind, method = (str(join.args.get(key) or "").upper() for key in ("side", "kind", "method"))
    if method in ("ASOF", "POSITIONAL") or kind not in ("", "INNER", "CROSS", "OUTER", "SEMI", "ANTI"):
        refuse(
            join,
            f"{method or kind} JOIN is not supported in SQL here",
            "join_asof() on the collections" if method == "ASOF" else "JOIN … ON",
        )
    if kind in ("SEMI", "ANTI"):
        return "semi" if kind == "SEMI" else "anti"
    return {"LEFT": "left", "RIGHT": "right", "FULL": "full"}.get(side, "inner")  # type: ignore[return-value]


def _read_on(of: Expressions, join: exp.Join, piece: Piece, before: list[Source], new: list[Source]) -> None:
    on, using = join.args.get("on"), [one.name for one in join.args.get("using") or []]
    if str(join.args.get("method") or "").upper() == "NATURAL":
        mine = {seen.lower() for source in new for seen, _ in source.columns}
        using = list(dict.fromkeys(seen for source in before for seen, _ in source.columns if seen.lower() in mine))
        if not using:
            refuse(join, "NATURAL JOIN of tables without a common column", "JOIN … ON")
    if on is not None:
        found = of.condition(on)
        piece.on = conjuncts(found)
    elif piece.how not in ("inner",) and not using and not piece.lateral and piece.items is None:
        refuse(join, f"a {piece.how.upper()} JOIN needs ON or USING", "ON a.id = b.id")
    for name in using:
        piece.on.append(_merge(of, name, piece, before, new, join))


def _merge(of: Expressions, name: str, piece: Piece, before: list[Source], new: list[Source], join: exp.Join) -> ExprNode:
    """USING (name): the equality, and the one column that both are from now on."""
    merged = of.scope.merged.get(name.lower())
    theirs = [unique for source in new for unique in source.find(name)]
    ours = [unique for source in before for unique in source.find(name) if merged is None or unique not in merged[2]]
    if len(theirs) != 1 or len(ours) + (merged is not None) != 1:
        side = "right" if len(theirs) != 1 else "left"
        count = len(theirs) if side == "right" else len(ours) + (merged is not None)
        refuse(join, f"USING ({name}): the {side} side has {count or 'no'} such column{'s' if count > 1 else ''}", "ON a.id = b.id")
    left: ExprNode = merged[1] if merged is not None else Column(ours[0])
    right: ExprNode = Column(theirs[0])
    shown = right if piece.how == "right" else Call("coalesce", (left, right)) if piece.how == "full" else left
    seen = next(seen for source in (*before, *new) for seen, unique in source.columns if unique in (*ours, *theirs))
    if piece.how not in ("semi", "anti"):
        of.scope.merged[name.lower()] = (seen, shown, (merged[2] if merged else frozenset()) | {*ours, *theirs})
    return of.typed(Call("equal", (left, right)), join)


def _column_names(node: exp.Expr) -> list[str]:
    alias = node.args.get("alias")
    return [one.name for one in alias.args.get("columns") or []] if isinstance(alias, exp.TableAlias) else []


def _unnest(of: Expressions, node: exp.Unnest, how: How) -> Piece:
    """unnest(list) AS u(x): a row for every item."""
    if node.args.get("offset"):
        refuse(node, "WITH ORDINALITY is not supported", "number the items before, in Python")
    if len(node.expressions) != 1 or how not in ("inner", "left"):
        refuse(node, "UNNEST takes one list, in CROSS JOIN or LEFT JOIN … ON TRUE")
    items = of.expr(node.expressions[0])
    kind = of.type(items)
    if kind.name not in ("list", "array"):
        refuse(node, f"UNNEST takes a list, and this is {kind}")
    alias, names = node.alias, _column_names(node)
    seen = names[0] if names else "unnest"
    unique = of.build.fresh(f"{alias or 'unnest'}.{seen}", kind.args[0])
    of.scope.add(Source(alias or "unnest", ((seen, unique),)), node)
    return Piece(how, None, items=(items, unique))


# -- folding


def folded(of: Expressions, groups: list[Group], where: list[ExprNode]) -> Node:
    """The relation of FROM and WHERE."""
    nodes: list[Node] = []
    parts: list[ExprNode] = []
    rest = list(where)
    for group in groups:
        more, conditions = _fold(of, group, rest)
        nodes += more
        parts += conditions
    return joined(of, nodes, [*parts, *rest])


def _fold(of: Expressions, group: Group, where: list[ExprNode]) -> tuple[list[Node], list[ExprNode]]:
    """A group's tables that are yet to be joined, and the conditions of its inner joins. What is used of ``where`` is taken out."""
    nodes: list[Node] = []
    parts: list[ExprNode] = []
    for place, piece in enumerate(group.pieces):
        later = group.pieces[place + 1 :]
        kept = all(one.how not in ("right", "full") for one in later)  # no row is filled up with nulls after WHERE has been asked of it
        if piece.how == "inner" and not piece.lateral and piece.items is None:
            if isinstance(piece.right, Group):
                more, conditions = _fold(of, piece.right, where if kept else [])
                nodes += more
                parts += conditions
            elif piece.right is not None:
                nodes.append(piece.right)
            parts += piece.on
            continue
        safe = kept and piece.how not in ("right", "full")
        known = {name for node in nodes for name in schema(node)}
        usable = [part for part in where if safe and (wanted := needs(of, part)) and wanted <= known]
        where[:] = [part for part in where if part not in usable]
        left = joined(of, nodes, [*parts, *usable])
        nodes, parts = [_joined_piece(of, left, piece)], []
    return nodes, parts


def _joined_piece(of: Expressions, left: Node, piece: Piece) -> Node:
    if piece.items is not None:
        return _exploded(of, left, piece)
    if isinstance(piece.right, Group):
        nodes, parts = _fold(of, piece.right, [])
        right = joined(of, nodes, parts)
    else:
        assert piece.right is not None
        right = piece.right
    if piece.lateral:
        return _lateral(of, left, right, piece)
    how = piece.how
    if how == "right":
        left, right, how = right, left, "left"
    return _outer(of, left, right, how, piece)


def _outer(of: Expressions, left: Node, right: Node, how: How, piece: Piece) -> Node:
    """A left, full, semi or anti join. What ON says of the right side alone filters it before; of the left alone, it does not."""
    pairs: list[tuple[ExprNode, ExprNode]] = []
    residual: list[ExprNode] = []
    for part in piece.on:
        wanted, has_query = needs(of, part), any(name in of.pending for name in _names(part))
        mine, theirs = frozenset(schema(left)), frozenset(schema(right))
        if how != "full" and wanted <= theirs and (wanted or has_query):
            right = filtered(of, right, part)
            continue
        if has_query:
            left, right, part = _beside(of, left, right, part, piece)
        elif (unknown := wanted - mine - theirs - _around(of)) and (name := min(unknown)):
            column = of.places.get(Column(name))
            refuse(
                column if column is not None else piece.at,
                f"ON of a {piece.how.upper()} JOIN names {name.split('#')[0]!r}, which is of neither of its tables",
                "tables before a comma or outside of the brackets are joined later: write JOIN instead of the comma, or say it in WHERE",
            )
        if isinstance(part, Call) and part.operation == "equal" and (pair := _pair(part, mine, theirs)) is not None:
            pairs.append(pair)
        elif part != Literal(True):
            residual.append(Cast(part, BOOL) if of.build.type_of(part) == NULL else part)
    return of.build.join(left, right, how, pairs, residual=residual)


def _around(of: Expressions) -> frozenset[str]:
    """The columns of the queries around this one, which it may read."""
    found: set[str] = set()
    scope = of.scope.parent
    while scope is not None:
        found.update(unique for source in scope.sources for _, unique in source.columns)
        scope = scope.parent
    return frozenset(found)


def _beside(of: Expressions, left: Node, right: Node, part: ExprNode, piece: Piece) -> tuple[Node, Node, ExprNode]:
    """The two tables, each with what the subqueries of a condition find for its rows as a column, and the condition on these."""
    for name in _names(part):
        if name not in of.pending:
            continue
        wanted = needs(of, Column(name))
        if wanted <= frozenset(schema(right)):
            right, value = attached(of, right, Column(name))
        elif wanted <= frozenset(schema(left)):
            left, value = attached(of, left, Column(name))
        else:
            refuse(
                of.pending[name].node,
                f"a subquery in ON of a {piece.how.upper()} JOIN reads both tables",
                "let it read one of them: its result can be compared with a column of the other",
            )
        part = rewritten(part, lambda one, name=name, value=value: value if one == Column(name) else None)  # type: ignore[misc]
    return left, right, part


def _names(part: ExprNode) -> tuple[str, ...]:
    from dataflow.expr.nodes import columns_of

    return columns_of(part)


def _pair(part: Call, left: frozenset[str], right: frozenset[str]) -> tuple[ExprNode, ExprNode] | None:
    for one, two in (part.args, part.args[::-1]):
        a, b = set(_names(one)), set(_names(two))
        if a and b and a <= left and b <= right:
            return one, two
    return None


def _lateral(of: Expressions, left: Node, right: Node, piece: Piece) -> Node:
    names = sorted(free_columns(of.build, right) & set(schema(left)))
    pairs: list[tuple[ExprNode, ExprNode]] = []
    null_equal = False
    if names:
        correlation = Correlation(of.build, left, names)
        right, new = correlation.renamed(correlation.run(right))
        pairs = [(Column(a), Column(b)) for a, b in zip(names, new)]
        null_equal = correlation.needs_domain
    residual = [part for part in piece.on if part != Literal(True)]
    how = "cross" if not pairs and not residual and piece.how == "inner" else piece.how
    return of.build.join(left, right, how, pairs, residual=residual, null_equal=null_equal)


def _exploded(of: Expressions, left: Node, piece: Piece) -> Node:
    """A row for every item; of an empty or null list none, or one with null in a LEFT JOIN."""
    assert piece.items is not None
    build, (items, unique) = of.build, piece.items
    if any(part != Literal(True) for part in piece.on):
        refuse(piece.at, "LEFT JOIN UNNEST takes ON TRUE", "filter in WHERE")
    node = build.project(left, [Alias(items, unique)], keep=True)
    if piece.how == "inner":
        node = build.where(node, [Call("greater", (Call("list.len", (Column(unique),)), Literal(0)))])
    made = Explode(label=build.label("sql unnest"), origin=build.origin, input=node, columns=(unique,))
    return build.made(made, schema(node))
