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

__all__ = ["is_merged", "with_merging"]


def is_merged(plan: PhysicalPlan, shuffle: str) -> bool:
    """Whether a shuffle is of files that were put together."""
    return any(isinstance(feeder.program.root, MergeRoot) for feeder in plan.feeders(shuffle))


def with_merging(plan: PhysicalPlan, shuffle: str) -> tuple[PhysicalPlan, list[str]]:
    """The plan in which the readers of a shuffle, which is whole, read larger files; and the names of the passes that make them.

    >>> from dataflow.physical.program import GroupRoot, KeepLeaf, KeptRoot
    >>> maps = Program("map", "map", KeptRoot(), Branch(leaves=(0,)), (ShuffleLeaf("of map", "group"),))
    >>> reader = Program("reduce", "reduce", GroupRoot(), Branch(leaves=(0,)), (KeepLeaf("out"),))
    >>> plan, passes = with_merging(PhysicalPlan((Phase(maps), Phase(reader, "of map")), (), {}), "of map")
    >>> passes, [(phase.name, phase.shuffle) for phase in plan.phases[1:]]
    (['of map, merged'], [('of map, merged', 'of map'), ('reduce', 'of map, merged')])
    >>> is_merged(plan, "of map, merged")
    True
    """
    sides: dict[int, ShuffleLeaf] = {}
    for feeder in plan.feeders(shuffle):
        for leaf in feeder.program.leaves:
            if isinstance(leaf, ShuffleLeaf) and leaf.shuffle == shuffle:
                sides.setdefault(leaf.side, leaf)
    merged = _free(plan, f"{shuffle}, merged")
    passes = [_merging(leaf, merged, f" of side {side}" if len(sides) > 1 else "") for side, leaf in sorted(sides.items())]
    first = next(at for at, phase in enumerate(plan.phases) if _reads(phase, shuffle))
    readers = (replace(phase, shuffle=merged) if _reads(phase, shuffle) else phase for phase in plan.phases[first:])
    return replace(plan, phases=(*plan.phases[:first], *passes, *readers)), [one.name for one in passes]


def _reads(phase: Phase, shuffle: str) -> bool:
    return phase.shuffle == shuffle and bool(phase.program.leaves)


def _free(plan: PhysicalPlan, name: str) -> str:
    """A name that nothing has: users call their steps as they like."""
    taken = {phase.name for phase in plan.phases}.union(*(phase.feeds() for phase in plan.phases))
    while any(one.startswith(name) for one in taken):
        name += "'"
    return name


def _merging(leaf: ShuffleLeaf, merged: str, which: str) -> Phase:
    """The pass that puts the files of one side of a shuffle together."""
    name = merged + which
    into = replace(leaf, shuffle=merged, combiner=None, combined_by="")  # what was combined is not combined anew
    program = Program(name, name, MergeRoot(), Branch(leaves=(0,)), (into,), (), leaf.declared, leaf.declared_text)
    return Phase(program, leaf.shuffle)
