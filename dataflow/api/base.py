"""What all collections are: a pipeline, a node, and the way to add a step to it."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dataflow.api.building import check_argument, check_callable, name_of, plan_error
from dataflow.plan.nodes import Node, ParallelDo, SideInput
from dataflow.plan.origin import Origin, caller
from dataflow.plan.steps import OnError, Step, StepKind
from dataflow.plan.types import pair_of, show

if TYPE_CHECKING:
    from dataflow.api.collection import PCollection
    from dataflow.api.pipeline import Pipeline
    from dataflow.api.pobject import PObject
    from dataflow.api.table import PTable

__all__ = ["Deferred", "error_rule", "pair_type", "side_nodes"]

T = TypeVar("T")


class Deferred(Generic[T]):
    """A node of a pipeline, with ways to add another."""

    def __init__(self, pipeline: Pipeline, node: Node) -> None:
        self.pipeline, self.node = pipeline, node

    if not TYPE_CHECKING:  # which knows what is there

        def __getattr__(self, name: str) -> Any:
            from dataflow.api.elsewhere import said_here

            raise said_here(self, name)

        def __iter__(self) -> Any:
            from dataflow.api.elsewhere import not_there_yet

            raise not_there_yet(self, "cannot be iterated over")

        def __getitem__(self, key: Any) -> Any:
            from dataflow.api.elsewhere import not_there_yet

            if isinstance(key, str):
                raise not_there_yet(self, "has no columns to take", f"a step names them, such as select(col({key!r}))")
            raise not_there_yet(self, "has no first element or part", "limit(n) is a step, and head(n) computes some elements")

        def __len__(self) -> int:
            from dataflow.api.elsewhere import not_there_yet

            raise not_there_yet(self, "has no length", "size().get() counts its elements")

    def __bool__(self) -> bool:
        return True

    def _label(self, wanted: str) -> str:
        return self.pipeline.labels.unique(wanted)

    def _check_others(self, verb: str, *others: object) -> None:
        """That other collections are some, and of the same pipeline."""
        for other in others:
            if not isinstance(other, Deferred):
                hint = "p.create(values) makes one of values"
                if hasattr(other, "__arrow_c_stream__"):
                    hint = "p.from_arrow(table) makes one of it"
                elif isinstance(other, (list, tuple)) and all(isinstance(one, Deferred) for one in other):
                    hint = f"{verb}(a, b) instead of {verb}([a, b])"
                raise plan_error(f"{verb} takes another collection, not {show(type(other))}", hint=hint)
            if other.pipeline is not self.pipeline:
                raise plan_error("the collections belong to different pipelines", hint="make both from one Pipeline()")

    def _collection(self, node: Node) -> PCollection[Any]:
        from dataflow.api.collection import PCollection

        return PCollection(self.pipeline, node)

    def _table(self, node: Node) -> PTable[Any, Any]:
        from dataflow.api.table import PTable

        return PTable(self.pipeline, node)

    def _step(
        self,
        kind: StepKind,
        verb: str,
        fn: Any,
        sides: Sequence[PObject[Any]],
        element: Any,
        label: str | None,
        rule: OnError,
        *,
        arg: Any = None,
        batch_size: int | None = None,
        tags: tuple[str, ...] = (),
    ) -> Node:
        origin = caller()
        if fn is not None and kind != "do":
            check_callable(verb, fn, origin, len(sides))
            if kind in ("map", "flat_map", "filter", "key_by"):
                check_argument(verb, fn, self.node.element, origin)
        if fn is not None and kind == "map_values":
            check_argument(verb, fn, pair_of(self.node.element)[1], origin)
        name = self._label(label or (name_of(verb, fn) if fn is not None else verb))
        step = Step(kind, name, origin, fn, arg, batch_size, tags, rule)
        return ParallelDo(
            label=name, origin=origin, element=element, input=self.node, step=step, sides=side_nodes(sides, self.pipeline, origin)
        )


def side_nodes(sides: Sequence[PObject[Any]], pipeline: Any, origin: Origin) -> tuple[SideInput, ...]:
    from dataflow.api.pobject import PObject

    nodes: list[SideInput] = []
    for side in sides:
        if isinstance(side, Deferred):
            raise plan_error(
                "a collection is no side input by itself",
                origin,
                "say how to see it: as_list(), as_dict(), as_iterable() or as_singleton()",
            )
        if not isinstance(side, PObject):
            raise plan_error(
                f"a side input is a PObject, not {type(side).__name__}", origin, "plain values are best captured by the function"
            )
        if side.pipeline is not pipeline:
            raise plan_error("the side input belongs to another pipeline", origin)
        nodes.append(side.node)
    return tuple(nodes)


def error_rule(on_error: str, max_errors: int | None, max_error_rate: float | None) -> OnError:
    if on_error not in ("raise", "skip"):
        raise plan_error(f'on_error is "raise" or "skip", not {on_error!r}')
    if (max_errors is not None or max_error_rate is not None) and on_error != "skip":
        raise plan_error('max_errors and max_error_rate go with on_error="skip"')
    if max_errors is not None and max_errors < 0:
        raise plan_error(f"max_errors must not be negative: {max_errors}")
    if max_error_rate is not None and not 0 <= max_error_rate <= 1:
        raise plan_error(f"max_error_rate lies between 0 and 1, not {max_error_rate}")
    return OnError(on_error == "skip", max_errors, max_error_rate)


def pair_type(key: Any, value: Any) -> Any:
    return types.GenericAlias(tuple, (key or Any, value or Any))
