"""Joins of a query that is cut: a small side goes whole to every part of the other, or both are read in ranges, or exchanged by the key.

join ─┬─ a side is small ────────────────────────> a side input of the other's part
      ├─ files of both are in the order of a key ─> range by range, without a shuffle (`in_ranges`)
      ├─ so are those of two of three ────────────> these are joined first (`join_mates`)
      └─ else ───────────────────────────────────> Exchange by key, the smaller side first
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dataflow.expr.nodes import Column, show
from dataflow.optimizer.cutting import Cutting
from dataflow.optimizer.estimates import estimates
from dataflow.optimizer.in_ranges import read_in_ranges
from dataflow.optimizer.join_mates import turned
from dataflow.optimizer.parts import Part, renumbered
from dataflow.optimizer.rule import Remarks
from dataflow.plan.nodes import Exchange, Node, Query
from dataflow.plan.relational import Given, Join, Project, Where
from dataflow.plan.statistics import Statistics
from dataflow.plan.traversal import consumers

__all__ = ["CuttingJoins"]

BROADCAST_SHARE = 0.05  # of the memory may be a join's side that goes to every worker
# Every task over the other side, of about 32 MB, hashes the whole side again, where a shuffle would handle each byte about three times: a
# side of 279 MB made the semi join of TPC-H's query 4 take 45 seconds of work, and an exchange 6.
BROADCAST_MOST = 96 << 20


class CuttingJoins(Cutting):
    """The joins of one query. ``parts``: what became of its nodes, by their id; ``readers``: who reads one."""

    def __init__(self, query: Query, memory: int, remarks: Remarks, labels: Iterator[int]) -> None:
        super().__init__(min(int(memory * BROADCAST_SHARE), BROADCAST_MOST), remarks, labels)
        self.query, self.memory = query, memory
        self.parts: dict[int, Part] = {}
        self.readers = consumers((query.root,))
        self.known: dict[int, Statistics] | None = None  # how many records nodes give, when that has been asked

    def joined_in_ranges(self, node: Join, left: Part, right: Part) -> Part | None:
        """A join of tables whose files are in the order of a key, range by range; the left may be such a join itself."""
        if node.how not in ("inner", "left", "semi", "anti") or node.null_equal:
            return None
        both = [(left.node, left.tree), (right.node, right.tree)]
        found = read_in_ranges(both, zip(node.left_on, node.right_on, strict=True), self.memory)
        if found is None:
            return None
        read, at = found
        self.remarks.say(f"no shuffle: the files of both sides of {node.label} are in order of {show(node.left_on[at])}")
        count, beside = left.read + right.read, len(left.sides)
        ours = renumbered(left.tree, lambda index: index if index < left.read else index + right.read)
        theirs = renumbered(right.tree, lambda index: index + left.read if index < right.read else index + left.read + beside)
        tree = replace(node, left=ours, right=theirs, label=self.label(node, "part"))
        key = node.left_on[at]
        assert isinstance(key, Column)
        source = replace(read, label=self.label(left.node, "ranges"))
        sides = (*left.sides, *right.sides)
        return Part(source, tree, left.bytes + right.bytes, sides=sides, together=frozenset((key.name,)), read=count)

    def mates_first(self, node: Join) -> Part | None:
        """A join of a join whose tables would be shuffled, in the order in which two of the three are read in ranges of one key."""
        assert node.schema is not None
        for below, mates, third, between, where in turned(node):
            before = self.parts[id(below)]
            shuffled = isinstance(before.node, Exchange) and before.plain
            if not shuffled or any(len(self.readers[id(one)]) > 1 for one in (below, *between)) or self.reduces(below, mates.left):
                continue
            ranged = self.joined_in_ranges(mates, self.parts[id(mates.left)], self.parts[id(mates.right)])
            if ranged is not None:
                self.remarks.say(f"turned: {node.label} is made before {below.label}")
                self.parts[id(mates)] = ranged
                found = self.join(third)
                for predicate in where:
                    found = self.with_tree(found, Where(label=node.label, origin=node.origin, input=found.tree, predicate=predicate))
                chosen = Project(label=node.label, origin=node.origin, input=found.tree, exprs=tuple(map(Column, node.schema)))
                return found if [*found.schema] == [*node.schema] else self.with_tree(found, chosen)
        return None

    def reduces(self, join: Join, side: Node) -> bool:
        """Whether a join had better be made early, as it keeps less than half of a side, by all that is known."""
        if self.known is None:
            self.known = estimates((self.query,))
        after, before = (self.known.get(id(one)) for one in (join, side))
        return after is None or before is None or 2 * after.rows < before.rows

    def join(self, node: Join) -> Part:
        left, right = self.parts[id(node.left)], self.parts[id(node.right)]
        size = left.bytes + right.bytes
        one_sided = node.how in ("inner", "left", "semi", "anti", "cross", "single", "mark")
        if one_sided and (right.bytes <= self.broadcast or not node.left_on):
            self.remarks.say(f"broadcast: the right side of {node.label}, about {right.bytes / 1e6:,.0f} MB")
            side = self.view(right)
            given = Given(label=self.label(node, "side"), origin=node.origin, schema=right.schema, index=left.read + len(left.sides))
            tree = replace(node, left=left.tree, right=given, label=self.label(node, "part"))
            return replace(left, tree=tree, sides=(*left.sides, side), sure=False)
        if node.how == "inner" and left.bytes <= self.broadcast:
            return self.swapped(node, left, right)
        if (ranged := self.joined_in_ranges(node, left, right)) is not None:
            return ranged
        if (found := self.mates_first(node)) is not None:
            return found
        root = replace(node, left=self.given(node, left, 0), right=self.given(node, right, 1))
        return self.exchange(node, [left, right], [node.left_on, node.right_on], root, size)

    def swapped(self, node: Join, left: Part, right: Part) -> Part:
        """An inner join whose left side is the small one: it goes whole to every part of the right."""
        self.remarks.say(f"broadcast: the left side of {node.label}, about {left.bytes / 1e6:,.0f} MB")
        side = self.view(left)
        given = Given(label=self.label(node, "side"), origin=node.origin, schema=left.schema, index=right.read + len(right.sides))
        tree = replace(node, left=given, right=right.tree, label=self.label(node, "part"))
        return replace(right, tree=tree, sides=(*right.sides, side), sure=False)
