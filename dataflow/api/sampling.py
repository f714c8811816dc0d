"""Samples: each element with a chance, or ``n`` of all by the lowest random ranks. What comes as columns stays columns.

sample(fraction=f)    chance f ─>
sample(n)             number ─> the n lowest of all ─>                             elements of Python
                      number in a column ─> sort by it, limit n ─> drop it ─>      columns
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.api.building import plan_error
from dataflow.plan.nodes import Flatten, Node, ParallelDo, Read, Redistribute, Relation
from dataflow.plan.steps import OnError

if TYPE_CHECKING:
    from dataflow.api.collection import PCollection

__all__ = ["each_with_chance", "lowest_ranks"]

T = TypeVar("T")


def each_with_chance(of: PCollection[T], fraction: float, seed: int, label: str) -> PCollection[T]:
    """Each element with the same chance."""
    if not 0 <= fraction <= 1:
        raise plan_error(f"fraction lies between 0 and 1, not {fraction}")
    return type(of)(of.pipeline, of._step("chance", "sample", None, (), of.node.element, label, OnError(), arg=(fraction, seed)))


def lowest_ranks(of: PCollection[T], n: int, seed: int, known: dict[str, Any] | None, label: str) -> PCollection[Any]:
    """The ``n`` elements with the lowest random ranks; ``known``: the columns of what is known to be records."""
    if n < 0:
        raise plan_error(f"a sample of {n} elements cannot be drawn")
    if known is not None and _is_columns(of.node):
        return _of_columns(of, n, seed, known, label)
    from dataflow.algebra.aggregators import Sample

    ranked = of._collection(of._step("number", "number", None, (), None, label, OnError(), arg=(seed, None)))
    found = ranked._combined(Sample(n), label).flat_map(_each, label=f"{label} elements")
    node = replace(found.node, element=of.node.element)
    if known is not None:
        of.pipeline.remember(node, known)
    return type(of)(of.pipeline, node)


def _of_columns(of: PCollection[T], n: int, seed: int, known: dict[str, Any], label: str) -> PCollection[Any]:
    from dataflow.expr.types import INT64

    name = "rank"
    while name in known:
        name += "_"
    ranked = of._collection(of._step("number", "number", None, (), None, label, OnError(), arg=(seed, name)))
    of.pipeline.remember(ranked.node, {**known, name: INT64})
    return ranked._ordered(name, False, False, n, f"{label} order").drop(name, label=f"{label} columns")


def _is_columns(node: Node) -> bool:
    """Whether elements come as columns, not as Python values."""
    match node:
        case Relation():
            return True
        case Read(source=source):
            return bool(getattr(source, "has_columns", False)) and node.element is not None
        case ParallelDo(step=step, input=below):
            return step.kind == "chance" and _is_columns(below)
        case Redistribute(input=below):
            return _is_columns(below)
        case Flatten(parts=parts):
            return all(map(_is_columns, parts))
        case _:
            return False


def _each(values: Iterable[T]) -> Iterable[T]:
    return values
