"""The ordered rules, and the loop that checks each.

The order is FlumeJava's: flattens sink first, so that steps meet; combines lift before fusion, since a lifted
combine ends a fused step; blocks are set before anything fuses; fusion is last. Sharing runs before all (it
makes siblings) and again after sinking (which copies steps). Branches that no output reads never enter: a
plan is what its outputs reach. The fifth pass of the paper, fusing MSCRs, is `physical/stages.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from dataflow.optimizer.rule import Plan, Remarks, Rule
from dataflow.optimizer.rules.fuse_parallel_dos import fuse_parallel_dos
from dataflow.optimizer.rules.gather_queries import gather_queries
from dataflow.optimizer.rules.insert_fusion_blocks import insert_fusion_blocks
from dataflow.optimizer.rules.lift_combine_values import lift_combine_values
from dataflow.optimizer.rules.prune_columns import prune_columns
from dataflow.optimizer.rules.push_filters import push_filters
from dataflow.optimizer.rules.share_subplans import share_subplans
from dataflow.optimizer.rules.sink_flattens import sink_flattens
from dataflow.plan.explain import as_text
from dataflow.plan.nodes import Query
from dataflow.plan.traversal import topological
from dataflow.plan.verify import verify

__all__ = ["RULES", "optimize", "placing"]

RULES: tuple[Rule, ...] = (
    share_subplans,
    sink_flattens,
    lift_combine_values,
    push_filters,
    prune_columns,
    gather_queries,
    insert_fusion_blocks,
    fuse_parallel_dos,
)


def optimize(
    plan: Plan, remarks: Remarks | None = None, watch: Callable[[str, str], None] | None = None, cut: Rule | None = None
) -> Plan:
    """The plan after all rules. ``watch`` is told each rule's name and the plan's text when it changed.

    ``cut`` is the rule that places queries (`placing`), which a runner that knows its memory gives; without, all are whole.
    """
    remarks = remarks if remarks is not None else Remarks()
    verify(plan)
    text = as_text(plan)
    for rule in _with(cut):
        elements = [node.element for node in plan]
        plan = rule(plan, remarks)
        verify(plan)
        if [node.element for node in plan] != elements:
            raise AssertionError(f"{rule.__name__} changed the type of an output")
        new = as_text(plan)
        if watch and new != text:
            watch(rule.__name__, new)
        text = new
    return plan


def placing(memory: int, placement: str = "auto") -> Rule:
    """The rule that cuts queries which do not fit ``memory`` bytes; loaded when a plan has one."""

    def partition_queries(plan: Plan, remarks: Remarks) -> Plan:
        if not any(isinstance(node, Query) for node in topological(plan)):
            return plan
        from dataflow.optimizer.rules.partition_queries import partition_queries

        return partition_queries(plan, remarks, memory=memory, placement=placement)

    return partition_queries


def _with(cut: Rule | None) -> tuple[Rule, ...]:
    if cut is None:
        return RULES
    at = RULES.index(gather_queries) + 1
    return (*RULES[:at], cut, *RULES[at:])
