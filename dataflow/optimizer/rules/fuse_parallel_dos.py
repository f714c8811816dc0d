"""Fuse parallel-dos: steps over one input run in one pass, without a collection between them.

    producer–consumer   x ─> do f ─> do g              ──>   x ─> Fused [f > g]
    sibling             x ─┬─> do f                    ──>   x ─> Fused [(f | g)]
                           └─> do g

Both at once: from each collection that is not itself made by a step (a read, a grouping, …), the whole tree of
steps below it becomes one `Fused`; what leaves the tree (to a sink, a grouping, a view) leaves by a `Port`.
"""

from __future__ import annotations

from dataclasses import field

from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Fused, Node, ParallelDo, Pipe, PipeStep, Port, TaggedOutput
from dataflow.plan.traversal import consumers, topological
from dataflow.record import record


@record(frozen=False, eq=True)
class _Ports:
    """The collections that leave one tree, numbered in plan order."""

    of: dict[int, int] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def number(self, node: Node) -> int:
        if id(node) not in self.of:
            self.of[id(node)] = len(self.nodes)
            self.nodes.append(node)
        return self.of[id(node)]


def fuse_parallel_dos(plan: Plan, remarks: Remarks) -> Plan:
    """Replace every tree of steps by one Fused node and its ports."""
    readers = consumers(plan)
    order = topological(plan)
    new: dict[int, Node] = {}
    done: dict[int, Node] = {}

    def heads(node: Node) -> list[ParallelDo]:
        return [r for r in readers[id(node)] if isinstance(r, ParallelDo) and r.input is node]

    def leaves(node: Node) -> bool:
        """Whether anyone but fused steps reads this collection, or nobody does because it is an output."""
        inside = {id(r) for r in heads(node) if not r.alone}
        inside |= {id(r) for r in readers[id(node)] if isinstance(r, TaggedOutput)}
        as_side = any(isinstance(r, ParallelDo) and any(s is node for s in r.sides) for r in readers[id(node)])
        return as_side or any(id(r) not in inside for r in readers[id(node)]) or any(node is out for out in plan)

    def pipe(node: Node, ports: _Ports) -> Pipe:
        """The tree that starts with this step: a chain as far as it goes, then its branches."""
        steps: list[PipeStep] = []
        tag = node.tag if isinstance(node, TaggedOutput) else None
        at = node
        while True:
            if isinstance(at, ParallelDo):
                steps.append(PipeStep(at.step, at.sides))
            below: list[Node] = [r for r in heads(at) if not r.alone]
            below += [r for r in readers[id(at)] if isinstance(r, TaggedOutput)]
            if len(below) == 1 and isinstance(below[0], ParallelDo) and not leaves(at):
                remarks.say(f"fused: {at.label} and {below[0].label} (producer and consumer)")
                at = below[0]
                continue
            for other in below:
                remarks.say(f"fused: {at.label} and {other.label} (one of {len(below)} readers)")
            port = ports.number(at) if leaves(at) else None
            return Pipe(tuple(steps), tuple(pipe(b, ports) for b in below), port, tag)

    for node in order:
        siblings = heads(node)
        for blocked in (s for s in siblings if s.alone):
            remarks.say(f"not fused: {blocked.label}, it {blocked.alone}")
        if isinstance(node, (ParallelDo, TaggedOutput)):
            siblings = [s for s in siblings if s.alone]  # the others are in the tree of what is above
        for group in _groups(siblings):
            if len(group) > 1:
                remarks.say(f"fused: {', '.join(s.label for s in group)} (siblings over {node.label})")
            ports = _Ports()
            trees = tuple(pipe(head, ports) for head in group)
            tree = trees[0] if len(trees) == 1 else Pipe((), trees)
            fused = Fused(label=f"fused:{group[0].label}", origin=group[0].origin, input=node, pipe=tree)
            for index, old in enumerate(ports.nodes):
                new[id(old)] = Port(label=old.label, origin=old.origin, element=old.element, input=fused, index=index)
    return tuple(_resolved(node, new, done) for node in plan)


def _groups(heads: list[ParallelDo]) -> list[list[ParallelDo]]:
    """Siblings that share a pass: all that may, and each blocked one by itself."""
    together = [head for head in heads if not head.alone]
    return ([together] if together else []) + [[head] for head in heads if head.alone]


def _resolved(root: Node, new: dict[int, Node], done: dict[int, Node]) -> Node:
    """The node's replacement, over inputs that are replaced themselves."""
    stack = [root]
    seen: set[int] = set()
    while stack:
        node = stack[-1]
        target = new.get(id(node), node)
        waiting = [child for child in target.inputs if id(child) not in done]
        if id(node) in done or not waiting:
            stack.pop()
        if id(node) not in done and not waiting:
            done[id(node)] = target.with_inputs(tuple(done[id(child)] for child in target.inputs))
        elif waiting:
            if id(node) in seen:  # what it waited for came back to it: `insert_fusion_blocks` keeps passes from that
                raise AssertionError(f"the pass of {node.label} waits for itself")
            seen.add(id(node))
            stack.extend(waiting)
    return done[id(root)]
