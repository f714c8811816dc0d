"""A side of a join that turns out small goes whole to every part of the other, which then is not exchanged.

    planned    right ─> shuffle ─┐                                 seen: the right is small
               left  ─> shuffle ─┴─> join, piece by piece ─> out              right ─> shuffle (its files are the side)
                 └ waits for the right                                        left  ─> join with the whole right ─> out

The estimate says little of what a filter, an aggregation or a Python function leaves. So where the join distributes over the other side
(then its tree may run on any part of that, as in a broadcast that was planned), the passes of the other side wait for the one in doubt,
and its size decides: Spark's change of a join at run time (adaptive query execution, DynamicJoinSelection), before the other side is read
rather than after. What the small side has written stays where it is and is read as a side value.

Life of a plan: `with_waits` makes passes wait, where no two would wait for each other; when one is about to start, the job asks
`undecided`, compares sizes, and may take the plan that `with_whole_side` gives: the steps behind the exchange stand in the passes that fed
it, and the passes that would have read it have nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dataflow.physical.phases import Phase, PhysicalPlan, in_order, side_of
from dataflow.physical.program import BoundStep, Branch, Leaf, PieceRoot, Program, ScanRoot, ShuffleLeaf
from dataflow.plan.nodes import Relation
from dataflow.plan.relational import Given
from dataflow.plan.steps import Step
from dataflow.plan.traversal import topological

__all__ = ["undecided", "with_waits", "with_whole_side"]


def with_waits(phases: list[Phase]) -> list[Phase]:
    """The phases, with those that wait until a side which may turn out small is whole; in an order in which they can run."""
    shuffles = [phase.shuffle for phase in reversed(phases) if phase.shuffle and _first(phase.program) is not None]
    for shuffle in dict.fromkeys(shuffles):  # the last first: who may take in a pass waits for all that it waits for
        readers = [phase for phase in phases if phase.shuffle == shuffle]
        first = _first(readers[0].program)
        assert first is not None
        names = {side_of(shuffle, first)}.union(*(phase.needs() for phase in readers)) - {shuffle}
        changed = [
            replace(phase, after=tuple(sorted({*phase.after, *names}))) if _feeds(phase, shuffle, 1 - first) else phase for phase in phases
        ]
        ordered = in_order(changed)
        phases = ordered if ordered is not None else [_undoubted(phase) if phase in readers else phase for phase in phases]
    return phases


def _first(program: Program) -> int | None:
    return program.root.first if isinstance(program.root, PieceRoot) else None


def _undoubted(phase: Phase) -> Phase:
    """The phase that reads an exchange whose sides cannot be made in turn."""
    assert isinstance(phase.program.root, PieceRoot)
    return replace(phase, program=replace(phase.program, root=replace(phase.program.root, first=None)))


def _feeds(phase: Phase, shuffle: str, side: int) -> bool:
    return any(isinstance(leaf, ShuffleLeaf) and (leaf.shuffle, leaf.side) == (shuffle, side) for leaf in phase.program.leaves)


def undecided(plan: PhysicalPlan, phase: Phase) -> Iterator[tuple[str, int, int]]:
    """The exchanges that a phase is about to feed and that it may do without: their names, the side that is whole by now, and the bytes
    that it may have."""
    for leaf in phase.program.leaves:
        if isinstance(leaf, ShuffleLeaf):
            for reader in plan.phases:
                root = reader.program.root
                if reader.shuffle == leaf.shuffle and reader.program.leaves and isinstance(root, PieceRoot) and root.first == 1 - leaf.side:
                    yield leaf.shuffle, 1 - leaf.side, root.whole_below
                    break


def with_whole_side(plan: PhysicalPlan, shuffle: str, first: int) -> PhysicalPlan:
    """The plan in which the passes of the other side take this one whole."""
    readers = [phase for phase in plan.phases if phase.shuffle == shuffle]
    phases = tuple(_taking(phase, readers, shuffle, first) if _feeds(phase, shuffle, 1 - first) else phase for phase in plan.phases)
    idle = tuple(
        replace(phase, program=replace(phase.program, tree=Branch(), leaves=())) if phase in readers else phase for phase in phases
    )
    return replace(plan, phases=idle, parts={**plan.parts, side_of(shuffle, first): (shuffle, first)})


def _taking(phase: Phase, readers: list[Phase], shuffle: str, first: int) -> Phase:
    """A phase with a join, and the readers' steps behind it, where it would have fed the exchange."""
    program, root = phase.program, readers[0].program.root
    assert isinstance(root, PieceRoot)
    places = {at: leaf for at, leaf in enumerate(program.leaves) if not (isinstance(leaf, ShuffleLeaf) and leaf.shuffle == shuffle)}
    leaves: list[Leaf] = list(places.values())
    behind = []
    for reader in readers:
        behind.append(_moved(reader.program.tree, len(leaves)))
        leaves += reader.program.leaves
    side = side_of(shuffle, first)
    own, tree = program.root, program.tree
    scan = own if isinstance(own, ScanRoot) and _only_feeds(tree) else None
    if scan is not None:  # the kernel then scans for what the side holds
        given = Given(label=side, origin=root.origin, schema=_given(root.relation, first).schema, index=_inputs(scan))
        relation = _with_inputs(root.relation, {1 - first: scan.relation, first: given})
        own, tree = replace(scan, relation=relation, sides=(*scan.sides, side)), Branch((), tuple(behind))
    else:
        batches, whole = (_given(root.relation, at) for at in (1 - first, first))
        relation = _with_inputs(root.relation, {1 - first: replace(batches, index=0), first: replace(whole, index=1)})
        step = Step("query", readers[0].program.label, root.origin, arg=relation)
        joined = Branch((BoundStep(step, (side,)),), tuple(behind))
        tree = _replanted(tree, {at: new for new, at in enumerate(places)}, joined)
    sides = tuple(dict.fromkeys((*program.sides, side, *(name for reader in readers for name in reader.program.sides))))
    program = replace(program, root=own, tree=tree, leaves=tuple(leaves), sides=sides)
    return replace(phase, after=tuple(sorted({*phase.after, shuffle})), program=program)  # after the shuffle, whose files are the side


def _inputs(scan: ScanRoot) -> int:
    """How many collections the tree of a scan is over."""
    return len(getattr(scan.source, "parts", (scan.source,))) + len(scan.sides)


def _only_feeds(branch: Branch) -> bool:
    """Whether everything goes into one leaf as it is."""
    if branch.steps or len(branch.branches) + len(branch.leaves) != 1:
        return False
    return not branch.branches or _only_feeds(branch.branches[0])


def _replanted(branch: Branch, places: dict[int, int], joined: Branch) -> Branch:
    """A tree whose leaves have other numbers; where one is gone, the join stands."""
    inner = tuple(_replanted(one, places, joined) for one in branch.branches)
    gone = tuple(joined for at in branch.leaves if at not in places)
    return Branch(branch.steps, (*inner, *gone), tuple(places[at] for at in branch.leaves if at in places), branch.tag)


def _moved(branch: Branch, by: int) -> Branch:
    return Branch(branch.steps, tuple(_moved(one, by) for one in branch.branches), tuple(at + by for at in branch.leaves), branch.tag)


def _given(root: Relation, index: int) -> Given:
    return next(node for node in topological((root,)) if isinstance(node, Given) and node.index == index)


def _with_inputs(root: Relation, inputs: dict[int, Relation]) -> Relation:
    """A tree with other trees for its inputs."""
    done: dict[int, Relation] = {}
    for node in topological((root,)):
        assert isinstance(node, Relation)
        own = inputs[node.index] if isinstance(node, Given) else node.with_inputs(tuple(done[id(child)] for child in node.inputs))
        done[id(node)] = own  # type: ignore[assignment]
    return done[id(root)]
