"""Parts of a query made into nodes of a plan: the tree of a part as a step, or over what an exchange brings together.

Part(orders, Given 0 > where > select)  ─ made ─────> orders ─> do [where > select]
Part(Exchange […] > merge, > where)     ─ made ─────> Exchange […] > merge > where          in the pieces themselves, no other pass
several parts, and what they meet by    ─ exchange ─> a part over their exchange, with a tree of its own
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Column, ExprNode
from dataflow.expr.types import DType, Schema, promoted
from dataflow.expr.typing import type_of
from dataflow.optimizer.distributes import distributes
from dataflow.optimizer.parts import Part, keeps, planted
from dataflow.optimizer.rule import Remarks
from dataflow.plan.columns_out import schema_of
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Exchange, Node, ParallelDo, Read, Relation, View
from dataflow.plan.relational import Given, Project, Unnest
from dataflow.plan.steps import Step

__all__ = ["Cutting"]


class Cutting:
    """What is made of one query. ``broadcast``: bytes of a join's side that goes whole to every part of the other. ``shared``: nodes with
    several readers, by their id; ``apart``: reads, of which everybody who needs one has his own. ``labels``: numbers of labels, which no
    other query has."""

    def __init__(self, broadcast: int, remarks: Remarks, labels: Iterator[int]) -> None:
        self.broadcast, self.remarks, self.labels = broadcast, remarks, labels
        self.shared: dict[int, Node] = {}
        self.apart: set[int] = set()

    def label(self, node: Node, what: str) -> str:
        return inner_label(node.label, what, next(self.labels))

    def over(self, source: Node, schema: Schema | None, size: int) -> Part:
        """A collection with nothing to do yet."""
        given = Given(label=self.label(source, "given"), origin=source.origin, schema=schema, index=0)
        return Part(source, given, size)

    def with_tree(self, part: Part, node: Relation, size: int | None = None, **changes: Any) -> Part:
        """One more node on any part. ``changes`` to the node; its schema is derived again."""
        tree = replace(node, **{"input": part.tree, **changes})
        tree = replace(tree, schema=schema_of(tree, (part.schema,)), label=self.label(node, "part"))
        together = part.together if keeps(node, part.together) else frozenset()
        sure = part.sure and isinstance(node, (Project, Unnest))
        return replace(part, tree=tree, bytes=part.bytes if size is None else size, together=together, sure=sure)

    def made(self, part: Part, always: bool = False) -> Node:
        """The node whose records are those of a part, its tree run as a step. ``always``: a node of its own to be labelled."""
        # a read goes through a query step even if there is nothing to do, because the kernel scans faster than `read` does
        scanned = isinstance(part.node, Read) and getattr(part.node.source, "scans", False)
        if part.plain and not part.sides and not scanned and not (always and isinstance(part.node, (Read, View))):
            return part.node
        if id(part.node) in self.apart:
            part = replace(part, node=replace(part.node, label=self.label(part.node, "own")))
        if isinstance(part.node, Exchange) and not part.sides and not self.is_shared(part.node):
            return replace(part.node, root=planted(part.tree, part.node.root), label=self.label(part.tree, "pieces"))
        label = self.label(part.tree, "step")
        step = Step("query", label, part.tree.origin, arg=part.tree)
        return ParallelDo(label=label, origin=part.tree.origin, element=dict[str, Any], input=part.node, step=step, sides=part.sides)

    def exchange(self, node: Node, parts: list[Part], keys: Sequence[tuple[ExprNode, ...]], root: Relation, size: int) -> Part:
        """Equal keys of all parts brought together, and a tree over them."""
        types: list[DType] = []
        for places in zip(*([type_of(key, part.schema) for key in own] for part, own in zip(parts, keys, strict=True)), strict=True):
            kind = places[0]
            for other in places[1:]:
                both = promoted(kind, other)
                assert both is not None
                kind = both
            types.append(kind)
        label = self.label(node, "exchange")
        made = Exchange(
            label=label, origin=node.origin, element=dict[str, Any], parts=tuple(self.made(part) for part in parts), keys=tuple(keys),
            types=tuple(types), root=root, splittable=distributes(root), first=self.first(node, parts, root), whole_below=self.broadcast,
        )  # fmt: skip
        names = frozenset(key.name for key in keys[0] if isinstance(key, Column)) if keys[0] else frozenset()
        whole = len(names) == len(keys[0])  # a key that is an expression has no column whose equal values are together
        schema = root.schema or {}
        return replace(self.over(made, schema, size), together=names if whole and all(n in schema for n in names) else frozenset())

    def first(self, node: Node, parts: list[Part], root: Relation) -> int | None:
        """The side of a join to be made first, as it may turn out small enough to go whole to every part of the other."""
        over = distributes(root)
        able = [side for side in range(len(parts)) if len(parts) == 2 and 1 - side in over and not parts[side].sure]
        if not able:
            return None
        found = min(able, key=lambda side: (parts[side].bytes, -side))
        name = ("left", "right")[found]
        self.remarks.say(f"{name} first: {node.label} is a broadcast if it turns out to be at most {self.broadcast / 1e6:,.1f} MB")
        return found

    def is_shared(self, node: Node) -> bool:
        return id(node) in self.shared

    def given(self, node: Node, part: Part, index: int) -> Given:
        return Given(label=self.label(node, "side"), origin=node.origin, schema=part.schema, index=index)

    def view(self, part: Part) -> View:
        made = self.made(part)
        return View(label=self.label(made, "whole"), origin=made.origin, input=made, kind="records")
