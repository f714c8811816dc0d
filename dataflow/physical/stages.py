"""The planner: an optimized plan is cut at its shuffles into phases; phases that meet in a shuffle are one stage.

A *phase* is the tasks over one root: the splits of a source, the ranges of a shuffle, or kept files. Everything
between its root and the next shuffle, sink or view runs in one pass. A *stage* is FlumeJava's MSCR (map, shuffle,
combine, reduce): shuffles that are fed by common phases, with the phases that feed and read them.

    phase read:orders ─┐
                       ├─> shuffle join ──> phase join ──> shuffle total ──> phase total ──> sink
    phase read:people ─┘   └── stage 1 ──┘              └───── stage 2 ─────┘

A reduce phase writes straight into the next shuffle, so nothing is materialized between stages; kept files are made
only for side inputs, for steps that wait for one, and for the user.

Life of a plan: `plan_phases` finds each root and hangs on it, as a tree of `Branch`es, every step and leaf that its
elements reach (`_attach`); then `stages_of` groups the phases by union of shuffles with a common feeder.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from dataflow.physical.phases import Phase, PhysicalPlan, in_order
from dataflow.physical.program import (
    BoundStep,
    Branch,
    DealRoot,
    GroupRoot,
    KeepLeaf,
    KeptRoot,
    Leaf,
    OperateRoot,
    PieceRoot,
    Program,
    QueryRoot,
    Root,
    ScanRoot,
    ShuffleLeaf,
    SinkLeaf,
    SortRoot,
    SourceRoot,
)  # fmt: skip
from dataflow.plan.nodes import (
    Exchange,
    Flatten,
    Fused,
    GroupByKey,
    Node,
    Operate,
    Pipe,
    Port,
    Query,
    Read,
    Redistribute,
    SideInput,
    Sort,
    View,
    Write,
)  # fmt: skip
from dataflow.plan.origin import Origin
from dataflow.plan.steps import Resources
from dataflow.plan.traversal import consumers, topological
from dataflow.record import record

__all__ = ["plan_phases", "stages_of"]


@record(frozen=False)
class _Growing:
    """A phase while it is planned: leaves by the place in the tree where they hang."""

    name: str
    label: str
    root: Root
    pipe: Pipe | None
    origin: Origin
    shuffle: str | None = None
    kept: str | None = None
    leaves: list[Leaf] = field(default_factory=list)
    at_root: list[int] = field(default_factory=list)
    at_port: dict[int, list[int]] = field(default_factory=dict)
    sides: dict[str, None] = field(default_factory=dict)

    def hang(self, leaf: Leaf, port: int | None) -> None:
        self.leaves.append(leaf)
        places = self.at_root if port is None else self.at_port.setdefault(port, [])
        places.append(len(self.leaves) - 1)


class _Planner:
    def __init__(self, plan: tuple[Node, ...]) -> None:
        self.plan = plan
        self.order = topological(plan)
        self.consumers = consumers(plan)
        self.passes: dict[tuple[int, int], _Growing] = {}
        self.growing: list[_Growing] = []
        self.kept: dict[int, str] = {}
        self.sinks: list[Any] = []
        self.views: dict[str, View | Operate] = {}

    def run(self) -> PhysicalPlan:
        for node in self.order:
            match node:
                case Exchange():
                    for side, (part, keys) in enumerate(zip(node.parts, node.keys, strict=True)):
                        where = (node.label, str(node.origin), node.origin.text())
                        leaf = ShuffleLeaf(node.label, "columns", None, None, None, None, *where, "", keys, node.types, None, side)
                        self._attach(part, leaf)
                case GroupByKey() | Sort() | Redistribute():
                    self._attach(node.input, _shuffle_leaf(node))
                case View():
                    self.views[node.label] = node
                    self._attach(node.input, KeepLeaf(node.label, node.limit, node.kind == "records"))
                case Operate():
                    self.views[node.label] = node
                    args = tuple(arg.label for arg in node.args)
                    phase = self._pass(node, None, OperateRoot(node.fn, args))
                    phase.sides.update(dict.fromkeys(args))
                    phase.hang(KeepLeaf(node.label), None)
                case Query():
                    self._pass(node, None, _root(node, None)).sides.update(dict.fromkeys(_kept_inputs(node)))
                case Write(sink=sink):
                    self.sinks.append(sink)
                    where = (node.label, str(node.origin), node.origin.text())
                    self._attach(node.input, SinkLeaf(len(self.sinks) - 1, sink, "", *where))  # type: ignore[arg-type]
                case Fused():
                    self._fused(node)
                case _:
                    pass
        return PhysicalPlan(tuple(self._ordered()), tuple(self.sinks), self.views)

    def _pass(self, node: Node, fused: Fused | None, root: Root, pipe: Pipe | None = None) -> _Growing:
        """The phase that reads a root node, through one fused tree or none."""
        key = (id(node), id(fused) if fused else 0)
        if key not in self.passes:
            name = node.label.removeprefix("fused:")
            taken = {phase.name for phase in self.growing}
            unique, n = name, 2
            while unique in taken:
                unique, n = f"{name}#{n}", n + 1
            phase = _Growing(unique, name, root, pipe, node.origin)
            if isinstance(node, (GroupByKey, Sort, Redistribute, Exchange)):
                phase.shuffle = node.label
            self.passes[key] = phase
            self.growing.append(phase)
        return self.passes[key]

    def _fused(self, node: Fused) -> None:
        """Start the pass of a tree, over its root or over files kept for it."""
        source, pipe = node.input, node.pipe
        merge = None
        if isinstance(source, GroupByKey) and source.combiner is not None:
            first, *rest = pipe.steps
            assert first.step.kind == "merge"
            merge = first.step
            pipe = Pipe(tuple(rest), pipe.branches, pipe.port, pipe.tag)
        scan = _scan_root(source, pipe) if len(self.consumers[id(source)]) == 1 else None
        if scan is not None:
            phase = self._pass(source, node, scan, Pipe(pipe.steps[1:], pipe.branches, pipe.port, pipe.tag))
            phase.sides.update(dict.fromkeys(scan.sides))
        elif isinstance(source, (Port, Flatten)):
            name = self._keep(source)
            phase = self._pass(node, node, KeptRoot(), pipe)
            phase.kept = name
        else:
            phase = self._shared(source, node, _root(source, merge), pipe)
        phase.sides.update(dict.fromkeys(side.label for side in _sides(pipe)))

    def _shared(self, source: Node, fused: Fused, root: Root, pipe: Pipe) -> _Growing:
        """One pass for a tree and for whoever reads the root itself; a tree with side inputs may have to wait, so it goes alone."""
        if _sides(pipe):
            return self._pass(source, fused, root, pipe)
        bare = self.passes.get((id(source), 0))
        if bare is None or bare.pipe is not None:
            bare = self._pass(source, fused, root, pipe)
            self.passes.setdefault((id(source), 0), bare)
        bare.pipe = pipe
        self.passes[id(source), id(fused)] = bare
        return bare

    def _keep(self, node: Node) -> str:
        """Keep a collection in files of the run, once."""
        if id(node) not in self.kept:
            self.kept[id(node)] = f"kept:{node.label}"
            self._attach(node, KeepLeaf(f"kept:{node.label}"))
        return self.kept[id(node)]

    def _attach(self, node: Node, leaf: Leaf) -> None:
        """Let the elements of a collection flow into a leaf."""
        match node:
            case Flatten():
                for part in node.parts:
                    self._attach(part, leaf)
            case Port(input=fused, index=index):
                assert isinstance(fused, Fused)
                over = fused.input
                owner = fused if isinstance(over, (Port, Flatten)) else over
                self.passes[id(owner), id(fused)].hang(leaf, index)
            case View() | Operate():
                self._pass(node, None, KeptRoot()).hang(leaf, None)
            case _:
                self._pass(node, None, _root(node, None)).hang(leaf, None)

    def _ordered(self) -> list[Phase]:
        """Phases after those they need."""
        phases = [self._finished(phase) for phase in self.growing]
        ordered = in_order(phases)
        if ordered is None:
            raise AssertionError(f"phases wait for each other: {', '.join(phase.name for phase in phases)}")
        if not any(isinstance(phase.program.root, PieceRoot) for phase in ordered):
            return ordered
        from dataflow.physical.whole_sides import with_waits  # a plan without joins does without

        return with_waits(ordered)

    def _finished(self, phase: _Growing) -> Phase:
        tree = _branch(phase.pipe, phase.at_port) if phase.pipe else Branch()
        if phase.at_root and phase.pipe:
            tree = Branch((), (tree,), tuple(phase.at_root))
        elif phase.at_root:
            tree = Branch((), (), tuple(phase.at_root))
        where = (str(phase.origin), phase.origin.text())
        resources = _resources(phase.pipe) if phase.pipe else None
        program = Program(phase.name, phase.label, phase.root, tree, tuple(phase.leaves), tuple(phase.sides), *where, resources)
        return Phase(program, phase.shuffle, phase.kept)


def plan_phases(plan: tuple[Node, ...]) -> PhysicalPlan:
    """The phases of an optimized plan."""
    return _Planner(plan).run()


def _resources(pipe: Pipe) -> Resources | None:
    """What the steps of a pass ask for: the same for all of them, as the optimizer has separated them."""
    return next((s.step.resources for s in pipe.steps if s.step.resources), None) or next(
        filter(None, map(_resources, pipe.branches)), None
    )


def _branch(pipe: Pipe, ports: dict[int, list[int]]) -> Branch:
    steps = tuple(BoundStep(s.step, tuple(side.label for side in s.sides)) for s in pipe.steps)
    leaves = tuple(ports.get(pipe.port, ())) if pipe.port is not None else ()
    return Branch(steps, tuple(_branch(b, ports) for b in pipe.branches), leaves, pipe.tag)


def _root(node: Node, merge: Any) -> Root:
    match node:
        case Read(source=source):
            return SourceRoot(source)  # type: ignore[arg-type]
        case GroupByKey():
            return GroupRoot(merge, node.sort_values, node.sort_key)
        case Sort():
            return SortRoot(node.descending)
        case Redistribute():
            return DealRoot()
        case Exchange():
            return PieceRoot(node.root, len(node.parts), node.origin, node.splittable, node.first, node.whole_below)
        case Query():
            inputs = tuple(one.source if isinstance(one, Read) else one.label for one in node.sources)
            return QueryRoot(node.root, inputs, node.origin)  # type: ignore[arg-type]
        case _:
            raise AssertionError(f"{type(node).__name__} is no root")


def _scan_root(source: Node, pipe: Pipe) -> ScanRoot | None:
    """A read whose first step is a query, where the kernel can scan the source: filters and columns then reach into the files."""
    if not isinstance(source, Read) or not pipe.steps or pipe.steps[0].step.kind != "query":
        return None
    files: Any = source.source
    if not getattr(files, "scans", False) or files.kernel_scan() is None:
        return None
    first = pipe.steps[0]
    return ScanRoot(files, first.step.arg, tuple(side.label for side in first.sides), first.step.origin)


def _kept_inputs(node: Query) -> tuple[str, ...]:
    return tuple(one.label for one in node.sources if not isinstance(one, Read))


def _shuffle_leaf(node: GroupByKey | Sort | Redistribute) -> ShuffleLeaf:
    where = (node.label, str(node.origin), node.origin.text())
    match node:
        case GroupByKey():
            return ShuffleLeaf(node.label, "group", node.combiner, None, node.partitioner, node.partitions, *where, node.combined_by)
        case Sort():
            return ShuffleLeaf(node.label, "sort", None, node.key, None, None, *where, order=node.order)
        case _:
            return ShuffleLeaf(node.label, "deal", None, None, None, node.partitions, *where)


def _sides(pipe: Pipe) -> tuple[SideInput, ...]:
    from dataflow.plan.nodes import pipe_sides

    return pipe_sides(pipe)


def stages_of(physical: PhysicalPlan) -> list[list[Phase]]:
    """The stages (MSCRs): shuffles with a common feeder belong together, each with its feeders and readers.

    A phase that reads one shuffle and feeds another is listed where it reads. A phase with no shuffle is a stage.
    """
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    def shuffles(phase: Phase) -> list[str]:
        return [leaf.shuffle for leaf in phase.program.leaves if isinstance(leaf, ShuffleLeaf)]

    for phase in physical.phases:
        for one, two in zip(shuffles(phase), shuffles(phase)[1:], strict=False):
            parent[find(one)] = find(two)
    stages: dict[str, list[Phase]] = {}
    for phase in physical.phases:
        own = phase.shuffle or (shuffles(phase)[0] if shuffles(phase) else None)
        stages.setdefault(find(own) if own else f"alone:{phase.name}", []).append(phase)
    return list(stages.values())
