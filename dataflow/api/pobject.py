"""PObject: one value that is not computed yet; a side input, or the argument of `operate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dataflow.api.building import check_callable, name_of
from dataflow.plan.nodes import Operate, SideInput
from dataflow.plan.origin import caller
from dataflow.plan.types import result_of

if TYPE_CHECKING:
    from dataflow.api.pipeline import Pipeline

__all__ = ["PObject"]

T = TypeVar("T")
U = TypeVar("U")


class PObject(Generic[T]):
    """A deferred value of type ``T``: the result of `PCollection.combine`, of a view (`as_list`, …), or of `operate`."""

    def __init__(self, pipeline: Pipeline, node: SideInput) -> None:
        self.pipeline, self.node = pipeline, node

    def get(self, **options: Any) -> T:
        """Run what leads here and give the value.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([1, 2]).combine(max).get()
        2
        """
        with self.pipeline.evaluate((self.node,), options) as (value,):
            kind = getattr(self.node, "kind", "singleton")
            return list(value) if kind in ("list", "iterable") else value  # type: ignore[return-value]

    def operate(self, fn: Callable[..., U], *others: PObject[Any], label: str | None = None) -> PObject[U]:
        """``fn(value, *other values)``, run once inside the pipeline: FlumeJava's operate.

        >>> from dataflow import Pipeline
        >>> numbers = Pipeline().create([1, 2, 3])
        >>> numbers.combine(sum).operate(lambda total, n: total / n, numbers.size()).get()
        2.0
        """
        return self.pipeline.operate(fn, self, *others, label=label)

    def __repr__(self) -> str:
        return f"<PObject {self.node.label!r}, not computed: use get()>"


def operate_node(pipeline: Pipeline, fn: Callable[..., U], args: tuple[PObject[Any], ...], label: str | None) -> PObject[U]:
    """The node of an `operate`."""
    from dataflow.api.base import side_nodes

    origin = caller()
    check_callable("operate", fn, origin)
    label = pipeline.labels.unique(label or name_of("operate", fn))
    node = Operate(label=label, origin=origin, element=result_of(fn), args=side_nodes(args, pipeline, origin), fn=fn)
    return PObject(pipeline, node)
