"""The stages of a physical plan as text."""

from __future__ import annotations

from dataflow.physical.phases import PhysicalPlan
from dataflow.physical.program import (
    Branch,
    DealRoot,
    GroupRoot,
    KeepLeaf,
    KeptRoot,
    Leaf,
    MergeRoot,
    OperateRoot,
    PieceRoot,
    QueryRoot,
    Root,
    ScanRoot,
    ShuffleLeaf,
    SinkLeaf,
    SortRoot,
    SourceRoot,
)  # fmt: skip
from dataflow.physical.stages import stages_of

__all__ = ["stages_text"]


def stages_text(physical: PhysicalPlan) -> str:
    """Each stage (MSCR) with its passes, what each reads, does, and feeds."""
    lines: list[str] = []
    for number, stage in enumerate(stages_of(physical), 1):
        lines.append(f"stage {number}")
        for phase in stage:
            program = phase.program
            awaited = (*program.sides, *(name for name in phase.after if name not in program.sides))
            after = f"  (after {', '.join(awaited)})" if awaited else ""
            lines.append(f"  {_root(program.root, program.label)}{after}")
            lines.extend(f"    {line}" for line in _branch(program.tree, program.leaves))
    return "\n".join(lines)


def _root(root: Root, label: str) -> str:
    match root:
        case SourceRoot(source=source):
            return f"{label}: read {source.describe()}"
        case GroupRoot(merge=merge):
            return f"{label}: groups" + (f", merge {merge.arg!r}" if merge is not None else "")
        case SortRoot():
            return f"{label}: in order"
        case DealRoot():
            return f"{label}: shares"
        case KeptRoot():
            return f"{label}: kept elements"
        case MergeRoot():
            return f"{label}: small files put together"
        case QueryRoot():
            return f"{label}: query in the kernel, whole"
        case ScanRoot(source=source, relation=relation):
            from dataflow.plan.explain_relational import query_text

            return f"{label}: scan {source.describe()} [{query_text(relation)}]"
        case PieceRoot(splittable=splittable):
            return f"{label}: query in the kernel, piece by piece{', heavy keys split' if splittable else ''}"
        case OperateRoot():
            return f"{label}: one call"


def _branch(branch: Branch, leaves: tuple[Leaf, ...]) -> list[str]:
    lines = []
    steps = " > ".join(bound.step.described() for bound in branch.steps)
    if steps or branch.tag:
        lines.append((f"[{branch.tag!r}] " if branch.tag else "") + steps)
    indent = "  " if lines else ""
    lines += [f"{indent}-> {_leaf(leaves[index])}" for index in branch.leaves]
    for inner in branch.branches:
        lines += [f"{indent}{line}" for line in _branch(inner, leaves)]
    return lines


def _leaf(leaf: Leaf) -> str:
    match leaf:
        case ShuffleLeaf():
            return f"shuffle {leaf.shuffle}" + (f" (combined by {leaf.combiner!r})" if leaf.combiner is not None else "")
        case SinkLeaf(sink=sink):
            return f"write {sink.describe()}"
        case KeepLeaf(name=name):
            return f"keep {name}"
