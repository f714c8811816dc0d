"""Many small files of a shuffle are put together before they are read: their readers else read too much, or in too small pieces.

    map tasks   ▪ ▪ ▪ ▪ ▪ ▪ ▪ ▪      every file has blocks of all ranges, and a block has rows of many
                └──┬──┘ └──┬──┘
    merges        ▬▬▬▬    ▬▬▬▬       so many in turn that a block has rows of about one range
                   └───┬───┘
    readers    ranges ▪ ▪ ▪ ▪        each reads a few blocks, where it read one of every map task

With 1,000 map tasks and as many ranges a block of 1 MiB is read by 16 readers, of which each wants a sixteenth of it; with 2,000 tiny map
tasks there are 4,000,000 reads of 20 rows. Files are put together in the order of their tasks, so the rows of a key stay in the order they
were in, and nothing that is read later can tell. It is the merge of Magnet, Riffle and Exoshuffle, where what is written is small.

Life of a plan: when a shuffle is whole and its reader about to start, `scheduling.merges` looks at the sizes; if it pays, the job takes
the plan of `with_merging`, in which passes of their own read the shuffle and feed another, which the readers read instead.
"""

from __future__ import annotations

from dataclasses import replace

from dataflow.physical.phases import Phase, PhysicalPlan
from dataflow.physical.program import Branch, MergeRoot, Program, ShuffleLeaf

__all__ = ["feeding_leaves", "is_merged", "with_merging"]

MERGED = ", merged"


def is_merged(shuffle: str) -> bool:
    """Whether a shuffle is of files that were put together."""
    return shuffle.endswith(MERGED)


def feeding_leaves(plan: PhysicalPlan, shuffle: str) -> dict[int, ShuffleLeaf]:
    """A leaf by which a shuffle is fed, for each of its sides."""
    leaves = [leaf for feeder in plan.feeders(shuffle) for leaf in feeder.program.leaves if isinstance(leaf, ShuffleLeaf)]
    return {leaf.side: leaf for leaf in reversed(leaves) if leaf.shuffle == shuffle}


def with_merging(plan: PhysicalPlan, shuffle: str) -> tuple[PhysicalPlan, list[str]]:
    """The plan in which the readers of a shuffle, which is whole, read larger files; and the names of the passes that make them."""
    sides = feeding_leaves(plan, shuffle)
    merging = [_merging(leaf, f" of side {side}" if len(sides) > 1 else "") for side, leaf in sorted(sides.items())]
    phases: list[Phase] = []
    for phase in plan.phases:
        if phase.shuffle == shuffle and phase.program.leaves:
            phases += [one for one in merging if one not in phases]
            phase = replace(phase, shuffle=shuffle + MERGED)
        phases.append(phase)
    return replace(plan, phases=tuple(phases)), [one.name for one in merging]


def _merging(leaf: ShuffleLeaf, which: str) -> Phase:
    """The pass that puts the files of one side of a shuffle together."""
    name = f"{leaf.shuffle}{MERGED}{which}"
    into = replace(leaf, shuffle=leaf.shuffle + MERGED, combiner=None, combined_by="")  # what was combined is not combined anew
    program = Program(name, name, MergeRoot(), Branch(leaves=(0,)), (into,), (), leaf.declared, leaf.declared_text)
    return Phase(program, leaf.shuffle)
