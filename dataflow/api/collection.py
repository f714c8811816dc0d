"""PCollection: a bag of elements that is not computed yet, and the verbs on it.

FlumeJava's four primitives are `parallel_do`, `group_by_key` and `combine_values` (on tables), and `flatten`. The other
verbs are short forms of these; each says which.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from dataflow.api.aggregating import Aggregating
from dataflow.api.base import error_rule, pair_type
from dataflow.api.building import check_argument, check_callable, name_of, plan_error
from dataflow.api.columns import Columns
from dataflow.api.dofn import DoFn, Tagged
from dataflow.api.results import Results
from dataflow.api.writing import Writing
from dataflow.plan.nodes import Flatten, Redistribute, Sort, TaggedOutput
from dataflow.plan.origin import caller
from dataflow.plan.types import item_of, result_of

if TYPE_CHECKING:
    from dataflow.api.pobject import PObject
    from dataflow.api.table import PTable
    from dataflow.expr.expression import Expr

__all__ = ["Outputs", "PCollection"]

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K")


class PCollection(Aggregating[T], Columns[T], Results[T], Writing[T]):
    """A deferred bag of elements of type ``T``. Made by `Pipeline.read_*`, `Pipeline.create` and the verbs here.

    Functions may take side inputs as further arguments: ``c.map(fn, total)`` calls ``fn(element, value_of_total)``.
    ``on_error="skip"`` sets a record aside when the function raises, up to ``max_errors`` records or a share of
    ``max_error_rate``; ``label`` names the step.
    """

    # -- element by element

    def resources(
        self, *, cpus: float = 1, memory: str | int = 0, gpus: float = 0, custom: Mapping[str, float] | None = None
    ) -> PCollection[T]:
        """The same collection, each attempt of whose last step takes these resources where it runs.

        ``memory`` in bytes, or as "4GiB"; ``custom``: amounts of what a cluster calls by a name of its own (`ray start --resources`).
        The step runs in passes of its own, so that only it holds them. On one machine nothing but cores is shared out.

        >>> from dataflow import Pipeline
        >>> Pipeline().create(["a", "bb"]).map(len).resources(cpus=2, memory="1GiB").collect()
        [1, 2]
        """
        from dataflow.plan.nodes import ParallelDo
        from dataflow.plan.steps import Resources
        from dataflow.sizes import parse_size

        node = self.node
        if not isinstance(node, ParallelDo):
            raise plan_error(
                f"resources are for steps with a function, and this is {node.label}", hint="say it right after map, flat_map, …"
            )
        if cpus <= 0 or gpus < 0 or any(amount <= 0 for amount in (custom or {}).values()):
            raise plan_error("a step takes some of a core, no less than no GPU, and some of what it names")
        asked = Resources(cpus, parse_size(memory), gpus, tuple(sorted((custom or {}).items())))
        return PCollection(self.pipeline, replace(node, step=replace(node.step, resources=asked)))

    def map(
        self,
        fn: Callable[..., U],
        *sides: PObject[Any],
        columns: Sequence[str] | None = None,
        on_error: str = "raise",
        max_errors: int | None = None,
        max_error_rate: float | None = None,
        label: str | None = None,
    ) -> PCollection[U]:
        """``fn(element)`` for every element.

        >>> from dataflow import Pipeline
        >>> Pipeline().create(["a", "bb"]).map(len).collect()
        [1, 2]

        On records, with ``columns``: the function gets a dict of these columns alone, and gives a dict of columns that are new
        or take the place of old ones; all others are carried along without becoming Python values.

        >>> rows = Pipeline().create([{"name": "ann", "age": 5}])
        >>> rows.map(lambda row: {"name": row["name"].title()}, columns=["name"]).collect()
        [{'name': 'Ann', 'age': 5}]
        """
        rule = error_rule(on_error, max_errors, max_error_rate)
        if columns is not None:
            return self._mapped_columns(fn, sides, columns, rule, label)
        return PCollection(self.pipeline, self._step("map", "map", fn, sides, result_of(fn), label, rule))

    def flat_map(
        self,
        fn: Callable[..., Iterable[U]],
        *sides: PObject[Any],
        on_error: str = "raise",
        max_errors: int | None = None,
        max_error_rate: float | None = None,
        label: str | None = None,
    ) -> PCollection[U]:
        """All elements of ``fn(element)``, an iterable that may be long: it is consumed in pieces.

        >>> from dataflow import Pipeline
        >>> Pipeline().create(["a b", "c"]).flat_map(str.split).collect()
        ['a', 'b', 'c']
        """
        rule = error_rule(on_error, max_errors, max_error_rate)
        return PCollection(self.pipeline, self._step("flat_map", "flat_map", fn, sides, item_of(result_of(fn)), label, rule))

    def filter(
        self,
        fn: Callable[..., Any] | Expr,
        *sides: PObject[Any] | Expr,
        on_error: str = "raise",
        max_errors: int | None = None,
        max_error_rate: float | None = None,
        label: str | None = None,
    ) -> PCollection[T]:
        """The elements for which ``fn(element)`` is true; of records also by expressions, which must all be true: ``filter(col("x") > 1)``.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([1, 2, 3]).filter(lambda x: x > 1).collect()
        [2, 3]
        >>> from dataflow import col
        >>> Pipeline().create([{"k": 1, "x": 2}, {"k": 1, "x": 9}]).filter(col("k") == 1, col("x") > 5).collect()
        [{'k': 1, 'x': 9}]
        """
        if not callable(fn):
            from dataflow.expr.expression import Expr

            if isinstance(fn, Expr) or (isinstance(fn, (list, tuple)) and fn and all(isinstance(one, Expr) for one in fn)):
                return cast("PCollection[T]", self.where(fn, *sides, label=label))
        rule = error_rule(on_error, max_errors, max_error_rate)
        given = cast("tuple[PObject[Any], ...]", sides)
        return type(self)(self.pipeline, self._step("filter", "filter", fn, given, self.node.element, label, rule))

    def map_batches(
        self,
        fn: Callable[..., Any],
        *sides: PObject[Any],
        format: str | None = None,
        batch_size: int | None = None,
        on_error: str = "raise",
        label: str | None = None,
    ) -> PCollection[Any]:
        """``fn(batch)`` for batches of elements; the result may have any number of elements.

        ``format``: "arrow", "pandas", "numpy" or "polars"; by default what ``fn``'s first parameter is annotated with,
        else Arrow. Records come as a table (NumPy: a dict of arrays), values as an array or series. The result may be
        in any of these formats, a list, or an iterator of such. ``batch_size``: rows a batch, the last may be smaller.

        >>> from dataflow import Pipeline
        >>> import numpy as np
        >>> Pipeline().create([1, 2, 3]).map_batches(lambda x: x * 10, format="numpy").collect()
        [10, 20, 30]
        """
        from dataflow.plan.types import argument_of

        origin = caller()
        annotation = argument_of(fn)
        root = (getattr(annotation, "__module__", "") or "").partition(".")[0]
        form = format or {"pyarrow": "arrow", "pandas": "pandas", "numpy": "numpy", "polars": "polars"}.get(root, "arrow")
        if form not in ("arrow", "pandas", "numpy", "polars"):
            raise plan_error(f'map_batches has no format {form!r}; there are "arrow", "pandas", "numpy", "polars"', origin)
        if batch_size is not None and batch_size < 1:
            raise plan_error(f"batch_size must be at least 1, not {batch_size}", origin)
        rule = error_rule(on_error, None, None)
        return PCollection(
            self.pipeline, self._step("map_batches", "map_batches", fn, sides, None, label, rule, arg=form, batch_size=batch_size)
        )

    def parallel_do(
        self,
        dofn: DoFn[T, U] | Any,
        *sides: PObject[Any],
        tags: Sequence[str] = (),
        on_error: str = "raise",
        max_errors: int | None = None,
        max_error_rate: float | None = None,
        label: str | None = None,
    ) -> Any:
        """A `DoFn` (ours, or one shaped like Beam's) on every element: FlumeJava's parallelDo.

        With ``tags``, the result is an `Outputs` with ``.main`` and ``[tag]``; without, a collection.
        """
        origin = caller()
        if isinstance(dofn, type):
            raise plan_error(f"parallel_do needs an instance: {dofn.__name__}()", origin)
        if not callable(getattr(dofn, "process", None)):
            raise plan_error(f"parallel_do needs a DoFn, an object with a process method, not {type(dofn).__name__}", origin)
        rule = error_rule(on_error, max_errors, max_error_rate)
        element = item_of(result_of(dofn.process))
        tags = (tags,) if isinstance(tags, str) else tuple(tags)
        node = self._step(
            "do",
            "parallel_do",
            dofn,
            sides,
            element,
            label or type(dofn).__name__,
            rule,
            tags=tags,
        )
        main: PCollection[U] = PCollection(self.pipeline, node)
        return Outputs(main, tags) if tags else main

    def key_by(self, fn: Callable[[T], K], *sides: PObject[Any], on_error: str = "raise", label: str | None = None) -> PTable[K, T]:
        """Pairs (``fn(element)``, element).

        >>> from dataflow import Pipeline
        >>> Pipeline().create(["a", "bb"]).key_by(len).collect()
        [(1, 'a'), (2, 'bb')]
        """
        element = pair_type(result_of(fn), self.node.element)
        rule = error_rule(on_error, None, None)
        return self._table(self._step("key_by", "key_by", fn, sides, element, label, rule))

    def as_table(self) -> PTable[Any, Any]:
        """The same collection of (key, value) pairs, with the verbs of a `PTable`."""
        from dataflow.plan.types import is_pair, show

        if is_pair(self.node.element) is False:
            raise plan_error(f"a table needs (key, value) pairs, and the elements are {show(self.node.element)}", hint="use key_by")
        return self._table(self.node)

    # -- collections together

    def flatten(self, *others: PCollection[T], label: str | None = None) -> PCollection[T]:
        """The elements of this and the other collections together, duplicates and all: FlumeJava's flatten.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([1, 2]).flatten(p.create([2, 3])).collect()
        [1, 2, 2, 3]
        """
        self._check_others("flatten", *others)
        parts = (self.node, *(other.node for other in others))
        element = self.node.element if all(part.element == self.node.element for part in parts) else None
        node = Flatten(label=self._label(label or "flatten"), origin=caller(), element=element, parts=parts)
        return type(self)(self.pipeline, node)

    def union(self, *others: PCollection[T], label: str | None = None) -> PCollection[T]:
        """All elements of all the collections, as `flatten`.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([1]).union(p.create([2])).collect()
        [1, 2]
        """
        self._check_others("union", *others)
        return self.flatten(*others, label=label or "union")

    def intersect(self, other: PCollection[T], label: str | None = None) -> PCollection[T]:
        """The different elements that are in both.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([1, 2, 2]).intersect(p.create([2, 3])).collect()
        [2]
        """
        self._check_others("intersect", other)
        return self._marked(label or "intersect").join(other._marked("other"), "semi", label=label or "intersect").keys().distinct()

    def subtract(self, other: PCollection[T], label: str | None = None) -> PCollection[T]:
        """The elements, duplicates and all, that are not in the other collection.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create([1, 1, 2]).subtract(p.create([2])).collect()
        [1, 1]
        """
        self._check_others("subtract", other)
        return self._marked(label or "subtract").join(other._marked("other"), "anti", label=label or "subtract").keys()

    def partition(self, n: int, fn: Callable[[T], int], label: str | None = None) -> list[PCollection[T]]:
        """``n`` collections; an element goes to number ``fn(element)``.

        >>> from dataflow import Pipeline
        >>> even, odd = Pipeline().create([1, 2, 3]).partition(2, lambda x: x % 2)
        >>> odd.collect()
        [1, 3]
        """
        if n < 1:
            raise plan_error(f"partition needs at least one part, not {n}")
        tags = [f"part {i}" for i in range(n)]
        outputs = self.parallel_do(_Partition(n, fn), tags=tags, label=label or name_of("partition", fn))
        return [outputs[tag] for tag in tags]

    def sort(
        self,
        key: Any = None,
        *more: Any,
        descending: bool | Sequence[bool] = False,
        nulls_last: bool | Sequence[bool] = False,
        label: str | None = None,
    ) -> PCollection[T]:
        """The elements in order of ``key(element)``; `collect` and the sinks keep the order. Larger than memory is fine.

        ``key`` may also be a column's name, an expression, or several of these, with ``descending`` and ``nulls_last`` for all
        or one by one. Null comes first, NaN last among numbers, kinds of values one after the other.

        >>> from dataflow import Pipeline
        >>> Pipeline().create(["b", "C", "a"]).sort(key=str.lower).collect()
        ['a', 'b', 'C']
        >>> Pipeline().create([{"k": 2, "x": 1}, {"k": 1, "x": 3}, {"k": 1, "x": 2}]).sort("k", "x", descending=[False, True]).collect()
        [{'k': 1, 'x': 3}, {'k': 1, 'x': 2}, {'k': 2, 'x': 1}]
        """
        if more or (key is not None and not callable(key)):
            key = [*(key if isinstance(key, (list, tuple)) else [key]), *more] if more else key
            return cast("PCollection[T]", self._ordered(key, descending, nulls_last, None, label))
        origin = caller()
        if not isinstance(descending, bool) or nulls_last:
            raise plan_error("a list in descending, and nulls_last, go with columns: sort(['a', 'b'], descending=[True, False])", origin)
        if key is not None:
            check_callable("sort", key, origin)
            check_argument("sort", key, self.node.element, origin)
        node = Sort(
            label=self._label(label or "sort"), origin=origin, element=self.node.element, input=self.node, key=key, descending=descending
        )
        return type(self)(self.pipeline, node)

    def redistribute(self, partitions: int, label: str | None = None) -> PCollection[T]:
        """The same elements, dealt evenly over that many tasks: after few large inputs, before slow steps.

        >>> from dataflow import Pipeline
        >>> sorted(Pipeline().create([3, 1, 2]).redistribute(2).collect())
        [1, 2, 3]
        """
        if partitions < 1:
            raise plan_error(f"redistribute needs at least one partition, not {partitions}")
        node = Redistribute(
            label=self._label(label or "redistribute"), origin=caller(), element=self.node.element, input=self.node, partitions=partitions
        )
        return type(self)(self.pipeline, node)


class Outputs(Generic[T]):
    """What a parallel_do with tags gives: ``main`` and, by tag, the others."""

    def __init__(self, main: PCollection[T], tags: tuple[str, ...]) -> None:
        self.main, self.tags = main, tags

    def __getitem__(self, tag: str) -> PCollection[Any]:
        if tag not in self.tags:
            raise KeyError(f"no output is tagged {tag!r}; the tags are {', '.join(self.tags)}")
        source = self.main.node
        label = self.main.pipeline.labels.unique(f"{source.label} {tag}")
        return PCollection(self.main.pipeline, TaggedOutput(label=label, origin=caller(), input=source, tag=tag))


class _Partition(DoFn[Any, Any]):
    """Sends an element to the output of its number."""

    def __init__(self, n: int, fn: Callable[[Any], int]) -> None:
        self.n, self.fn = n, fn

    def process(self, element: Any, *sides: Any) -> Iterable[Any]:
        number = int(operator.index(self.fn(element)))
        if not 0 <= number < self.n:
            raise ValueError(f"partition gave number {number!r}; it must give an int from 0 to {self.n - 1}")
        return (Tagged(f"part {number}", element),)
