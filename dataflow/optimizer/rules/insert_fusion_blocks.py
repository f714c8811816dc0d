"""Insert fusion blocks: mark the steps that must start a pass of their own.

In FlumeJava the block decides on which side of a materialization a step between two groupings runs. Here a
step after a grouping always runs in the grouping's reduce tasks and writes straight into the next shuffle, so
one reason is left: a side input is whole only when the pass that makes it has ended, so a step cannot run in a
pass which its side input waits for. That may be the very pass that would feed it,

    read ─> map f ─┬──────────────────> map h(·, total)     h gets a pass of its own over f's output
                   └─> combine ─> total ──┘

or one that waits for another which waits for the first, as where each of two tables is joined to the other:

    read t ─┬─> map a           b ends with u's pass, which waits for a, and so for t's pass: c gets a pass of its own
            └─> map c(·, b)
    read u ─┬─> map b
            └─> map d(·, a)
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.optimizer.rule import Plan, Remarks
from dataflow.plan.nodes import Flatten, Node, ParallelDo, TaggedOutput
from dataflow.plan.traversal import topological


def insert_fusion_blocks(plan: Plan, remarks: Remarks) -> Plan:
    """Mark each ParallelDo that has to wait for a side input made by its own producer's pass, or by one that waits for it."""
    order = topological(plan)
    if not any(isinstance(node, ParallelDo) and node.sides for node in order):
        return plan
    roots: dict[int, frozenset[int]] = {}  # of each node: those whose passes produce it
    waits: dict[int, list[Node]] = {}  # of each root: what its pass waits for
    new: dict[int, Node] = {}
    for node in order:
        now = node.with_inputs(tuple(new[id(child)] for child in node.inputs))
        if isinstance(node, ParallelDo) and node.sides and not node.alone:
            fed_by = roots[id(node.input)]
            late = next((side for side in node.sides if _needs(side, fed_by, roots, waits)), None)
            if late is not None:
                remarks.say(f"blocked: {node.label} waits for {late.label}, which comes from the same pass")
                now = replace(now, alone=f"waits for {late.label}")  # type: ignore[call-arg]
        new[id(node)] = now
        roots[id(node)] = _roots(node, now, roots)
        if isinstance(node, ParallelDo):
            for root in roots[id(node)]:
                waits.setdefault(root, []).extend(node.sides)
    return tuple(new[id(node)] for node in plan)


def _roots(node: Node, now: Node, roots: dict[int, frozenset[int]]) -> frozenset[int]:
    """The nodes whose passes produce this collection: up through steps, to the first node that is not one."""
    if (isinstance(now, ParallelDo) and not now.alone) or isinstance(now, TaggedOutput):
        return roots[id(node.inputs[0])]
    if isinstance(node, Flatten):
        return frozenset().union(*(roots[id(part)] for part in node.parts))
    return frozenset({id(node)})


def _needs(side: Node, passes: frozenset[int], roots: dict[int, frozenset[int]], waits: dict[int, list[Node]]) -> bool:
    """Whether a side input is made from these passes, or from others that wait for them."""
    todo: list[Node] = [side]
    seen: set[int] = set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if id(node) in passes:
            return True
        todo.extend(node.inputs)
        for root in roots[id(node)]:
            todo.extend(waits.get(root, ()))
    return False
