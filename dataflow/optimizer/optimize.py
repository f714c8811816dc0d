"""The ordered rules, and the loop that checks each.

The order is FlumeJava's: flattens sink first, so that steps meet; combines lift before fusion, since a lifted
combine ends a fused step; blocks are set before anything fuses; fusion is last. Sharing runs before all (it
makes siblings) and again after sinking (which copies steps). Branches that no output reads never enter: a
plan is what its outputs reach. The fifth pass of the paper, fusing MSCRs, is `physical/stages.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from dataflow.optimizer.rule import Plan, Remarks, Rule
from dataflow.optimizer.rules.fuse_parallel_dos import fuse_parallel_dos
from dataflow.optimizer.rules.insert_fusion_blocks import insert_fusion_blocks
from dataflow.optimizer.rules.lift_combine_values import lift_combine_values
from dataflow.optimizer.rules.separate_resources import separate_resources
from dataflow.optimizer.rules.share_subplans import share_subplans
from dataflow.optimizer.rules.sink_flattens import sink_flattens
from dataflow.plan.explain import as_text
from dataflow.plan.nodes import Node, Query, Relation
from dataflow.plan.traversal import orders_remembered, topological
from dataflow.plan.verify import verify

if TYPE_CHECKING:
    from dataflow.expr.types import DType

__all__ = ["optimize", "placing", "rules_for"]

BEFORE: tuple[Rule, ...] = (share_subplans, sink_flattens, lift_combine_values)
AFTER: tuple[Rule, ...] = (insert_fusion_blocks, separate_resources, fuse_parallel_dos)


def relational_rules(plan: Plan, cut: Rule | None) -> tuple[Rule, ...]:
    """The rules for steps on columns, loaded when a plan has one: conditions are made simple and go down, what is joined twice is joined
    once, joins are ordered by what the conditions leave, aggregates and limits go down where joins stand then, columns are pruned last, so
    that a column which only a condition reads ends where it is checked; then trees are gathered, and cut where they are too large.

    Those that look for joins or groupings are loaded where a plan has them at first, as the ones before make none that they look for: to
    load one takes up to 5 ms, and most plans have no joins."""
    from dataflow.optimizer.rules.answer_from_metadata import answer_from_metadata
    from dataflow.optimizer.rules.gather_queries import gather_queries
    from dataflow.optimizer.rules.narrow_aggregates import narrow_aggregates
    from dataflow.optimizer.rules.prune_columns import prune_columns
    from dataflow.optimizer.rules.prune_fields import prune_fields
    from dataflow.optimizer.rules.prune_folders import prune_folders
    from dataflow.optimizer.rules.push_filters import push_filters
    from dataflow.optimizer.rules.push_limits import push_limits
    from dataflow.optimizer.rules.simplify_expressions import simplify_expressions

    kinds = [type(node).__name__ for node in topological(plan)]
    joins, groups, filters = kinds.count("Join"), kinds.count("GroupAggregate"), kinds.count("Where")
    return (
        *_loaded("drop_null_checks", groups > 0 and _asks_for_nulls(plan)),
        simplify_expressions,
        push_filters,
        *_loaded("share_conditions", filters > 1),
        prune_folders,
        answer_from_metadata,
        *_loaded("aggregate_joined", joins > 1 and groups > 0),
        narrow_aggregates,
        *_loaded("share_renamed", joins + groups > 1),
        *_loaded("reorder_joins", joins > 1),
        *_loaded("delay_partners", joins > 1),
        *_loaded("push_aggregates", joins > 0),
        push_limits,
        prune_columns,
        prune_fields,
        gather_queries,
        *((cut,) if cut is not None else ()),
    )


def _asks_for_nulls(plan: Plan) -> bool:
    """Whether an expression depends on what is null."""
    from dataflow.expr.nodes import Aggregate, Call, walk
    from dataflow.plan.relational import expressions_of

    parts = (one for node in topological(plan) for expr in expressions_of(node) for one in walk(expr))
    return any(
        one.operation in ("is_null", "is_not_null") if isinstance(one, Call) else isinstance(one, Aggregate) and one.function == "count"
        for one in parts
    )


def _loaded(name: str, needed: bool) -> tuple[Rule, ...]:
    """A rule by its name, if it is needed."""
    return (getattr(import_module(f"dataflow.optimizer.rules.{name}"), name),) if needed else ()


def rules_for(plan: Plan, cut: Rule | None) -> tuple[Rule, ...]:
    """All rules for a plan, in their order."""
    relational = any(isinstance(node, Relation) for node in topological(plan))
    return (*BEFORE, *(relational_rules(plan, cut) if relational else ()), *AFTER)


@orders_remembered()
def optimize(plan: Plan, remarks: Remarks | None = None, watch: Callable[[str, str], None] | None = None, cut: Rule | None = None) -> Plan:
    """The plan after all rules. ``watch`` is told each rule's name and the plan's text when it changed.

    ``cut`` is the rule that places queries (`placing`), which a runner that knows its memory gives; without, all are whole.
    """
    remarks = remarks if remarks is not None else Remarks()
    verify(plan)
    text = as_text(plan) if watch else ""
    for rule in rules_for(plan, cut):
        before, plan = plan, rule(plan, remarks)
        if plan == before:  # node by node the same ones: most rules find nothing to do in most plans
            continue
        elements, columns = [node.element for node in before], list(map(_columns, before))
        verify(plan)
        if [node.element for node in plan] != elements:
            raise AssertionError(f"{rule.__name__} changed the type of an output")
        if any(one and two and one != two for one, two in zip(columns, map(_columns, plan), strict=True)):
            raise AssertionError(f"{rule.__name__} changed the columns of an output, or their order")
        if watch:  # the text of a large plan takes longer than most rules
            new = as_text(plan)
            if new != text:
                watch(rule.__name__, new)
            text = new
    return plan


def _columns(output: Node) -> list[tuple[str, DType]] | None:
    """The columns of an output and their types, in order, if they are known."""
    for node in (output, *output.inputs[:1]):
        made = node.root if isinstance(node, Query) else node
        if isinstance(made, Relation) and made.schema is not None:
            return list(made.schema.items())
    return None


def placing(memory: int, placement: str = "auto") -> Rule:
    """The rule that cuts queries which do not fit ``memory`` bytes."""

    def partition_queries(plan: Plan, remarks: Remarks) -> Plan:
        from dataflow.optimizer.rules.partition_queries import partition_queries

        return partition_queries(plan, remarks, memory=memory, placement=placement)

    return partition_queries
