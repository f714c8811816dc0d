"""Reorder joins: of inner joins that hang together, those that leave few records come first.

    join(join(lineitem, orders), where p over part)   ──>   select over join(join(lineitem, where p over part), orders)

`join_graph` takes the tree apart, `join_order` finds the cheapest one by the sizes that `graph_sizes` guesses from footers, and the new
tree is put together here: the side of more records left, equalities as keys, other conditions as soon as their columns are there, and a
select on top for the columns as they were. The written order stays where something is not known, and where the new one is not sure to be
better: estimates are guesses. Tables without an equality between them are joined last, as they must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dataflow.expr.nodes import Alias, Column, ExprNode
from dataflow.optimizer.conditions import conjunction
from dataflow.optimizer.estimates import columns_that_matter, estimates
from dataflow.optimizer.graph_sizes import GraphSizes, sizes_of
from dataflow.optimizer.join_graph import JoinGraph, graphs_of
from dataflow.optimizer.join_order import Tree, cheapest, tree_cost
from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.columns_out import schema_of
from dataflow.plan.labels import inner_label
from dataflow.plan.nodes import Node, Relation
from dataflow.plan.relational import Join, Project, Where
from dataflow.plan.traversal import topological

__all__ = ["reorder_joins"]

GAIN = 0.8  # of the written order's cost the new one may have at most
TABLES = range(3, 101)  # two are joined in the one order there is; a star of 100 takes half a second, one of 200 two and a half


def reorder_joins(plan: Plan, remarks: Remarks) -> Plan:
    """Put every tree of inner joins in the order that is expected to make the fewest records."""
    graphs = [graph for graph in graphs_of(plan) if len(graph.tables) in TABLES]
    if not graphs:
        return plan
    known = estimates([table for graph in graphs for table in graph.tables], columns_that_matter(topological(plan)))
    better: dict[int, tuple[JoinGraph, GraphSizes, Tree]] = {}
    for graph in graphs:
        given = [known[id(table)] for table in graph.tables if id(table) in known]
        if len(given) == len(graph.tables):
            sizes = sizes_of(graph, given)
            tree = cheapest(graph.neighbours(), sizes.rows)
            costs = tree_cost(graph.written, sizes.rows), tree_cost(tree, sizes.rows)
            if costs[1] < GAIN * costs[0]:
                better[id(graph.root)] = graph, sizes, tree
                remarks.say(f"reordered: the joins below {graph.root.label}, about {costs[1]:,.0f} records instead of {costs[0]:,.0f}")
    new: dict[int, Node] = {}
    for node in topological(plan) if better else ():
        new[id(node)] = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if id(node) in better:
            new[id(node)] = _Builder(*better[id(node)], new).root()
    return tuple(new[id(node)] for node in plan) if better else plan


class _Builder:
    """The nodes of a tree of joins. Labels and places are those of the joins that were there; the topmost's are the select's."""

    def __init__(self, graph: JoinGraph, sizes: GraphSizes, tree: Tree, new: Mapping[int, Node]) -> None:
        self.graph, self.sizes, self.tree, self.new = graph, sizes, tree, new
        self.top = graph.root
        self.conditions = list(graph.conditions)
        self.joins = iter(graph.joins)
        self.count = 0

    def root(self) -> Relation:
        """The new tree, with the columns of the old one."""
        done: list[tuple[int, Relation]] = []
        stack: list[tuple[Tree, bool]] = [(self.tree, False)]
        while stack:
            tree, ready = stack.pop()
            if not isinstance(tree, tuple):
                done.append((1 << tree, self.filtered(1 << tree, self.table(tree))))
            elif ready:
                right, left = done.pop(), done.pop()
                done.append((left[0] | right[0], self.filtered(left[0] | right[0], self.join(left, right))))
            else:
                stack += [(tree, True), (tree[1], False), (tree[0], False)]
        whole = self.filtered(0, done[0][1])
        exprs = tuple(_called(name, out) for out, name in self.graph.outputs.items())
        made = replace(self.node(Project, input=whole, exprs=exprs), label=self.top.label)
        assert made.schema == self.top.schema, f"{made.schema} is not {self.top.schema}"
        return made

    def table(self, at: int) -> Relation:
        """A table, its columns under the names they have in the graph."""
        node, names = self.new[id(self.graph.tables[at])], self.graph.names[at]
        assert isinstance(node, Relation)
        if all(name == new for name, new in names.items()):
            return node
        return self.node(Project, input=node, exprs=tuple(_called(name, new) for name, new in names.items()))

    def join(self, one: tuple[int, Relation], two: tuple[int, Relation]) -> Relation:
        """Two trees joined, that of more records left."""
        if self.sizes.rows(one[0]) < self.sizes.rows(two[0]):
            one, two = two, one
        keys = self.graph.keys(one[0], two[0])
        old = next(self.joins)
        how = "inner" if keys else "cross"
        made = self.node(
            Join, left=one[1], right=two[1], how=how, left_on=tuple(key for key, _ in keys), right_on=tuple(key for _, key in keys)
        )
        return replace(made, origin=old.origin) if old.label == self.top.label else replace(made, origin=old.origin, label=old.label)

    def filtered(self, tables: int, node: Relation) -> Relation:
        """A node with the conditions that can be checked on these tables. 0: those that need none, and are left for the last."""
        ready = [one for needed, one in self.conditions if needed & tables == needed and bool(needed) == bool(tables)]
        self.conditions = [(needed, one) for needed, one in self.conditions if one not in ready]
        if not ready:
            return node
        return self.node(Where, input=node, predicate=conjunction(ready))

    def node(self, kind: Any, **parts: Any) -> Any:
        """A relational node with a label of its own, and the columns that come out of it."""
        self.count += 1
        given = [parts[name] for name in ("input", "left", "right") if name in parts]
        made = kind(label=inner_label(self.top.label, "order", self.count), origin=self.top.origin, element=self.top.element, **parts)
        return replace(made, schema=schema_of(made, tuple(one.schema for one in given)))


def _called(name: str, new: str) -> ExprNode:
    return Column(name) if name == new else Alias(Column(name), new)
