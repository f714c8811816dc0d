"""Verbs on a whole collection: counting, aggregating, sampling, and seeing it as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_origin, is_typeddict

from dataflow.api.base import Deferred, pair_type
from dataflow.api.building import check_callable, name_of, plan_error
from dataflow.plan.nodes import Read, Relation, View
from dataflow.plan.origin import caller
from dataflow.plan.steps import OnError

if TYPE_CHECKING:
    from dataflow.api.collection import PCollection
    from dataflow.api.pobject import PObject
    from dataflow.api.table import PTable

__all__ = ["Aggregating"]

T = TypeVar("T")


class Aggregating(Deferred[T]):
    """The part of `PCollection` that looks at all elements together."""

    def count(self, label: str | None = None) -> PTable[T, int]:
        """How often each element occurs.

        >>> from dataflow import Pipeline
        >>> sorted(Pipeline().create(["a", "b", "a"]).count().collect())
        [('a', 2), ('b', 1)]
        """
        from dataflow.algebra.aggregators import Count

        return self._marked(label or "count").group_by_key(label=label).combine_values(Count(), label=label or "count")

    def distinct(self, *columns: Any, label: str | None = None) -> PCollection[T]:
        """Each different element once; of records, one for each different combination of ``columns``, by default of all.

        >>> from dataflow import Pipeline
        >>> sorted(Pipeline().create([2, 1, 2]).distinct().collect())
        [1, 2]
        >>> Pipeline().create([{"a": 1}, {"a": 1}]).distinct().collect()
        [{'a': 1}]
        >>> len(Pipeline().create([{"a": 1, "b": 1}, {"a": 1, "b": 2}]).distinct("a").collect())
        1
        """
        columns = tuple(one for one in columns if one is not None)
        if columns or self._holds_records():
            return cast("PCollection[T]", cast("PCollection[Any]", self)._distinct_by(columns, label))
        return self.count(label=label or "distinct").keys()

    def combine(self, aggregator: Any, label: str | None = None) -> PObject[Any]:
        """One value of the whole collection: an aggregator, Beam's CombineFn, ``sum``, ``max``, or a function of an iterable.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([1, 2, 3]).combine(sum).get()
        6
        """
        from dataflow.algebra.aggregator import as_aggregator
        from dataflow.api.pobject import PObject

        origin = caller()
        try:
            known = as_aggregator(aggregator)
        except TypeError as error:
            raise plan_error(str(error), origin) from None
        node = self._combined(known, label or f"combine {known!r}").node
        view = View(label=self._label("value"), origin=origin, input=node, kind="singleton", default=_Nothing(known))
        return PObject(self.pipeline, view)

    def size(self) -> PObject[int]:
        """How many elements there are.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([3, 1, 2]).size().get()
        3
        """
        from dataflow.algebra.aggregators import Count

        if isinstance(self.node, Relation) or (isinstance(self.node, Read) and getattr(self.node.source, "scans", False)):
            return self._counted()
        return self.combine(Count(), label="size")

    def reduce(self, fn: Callable[[T, T], T], label: str | None = None) -> PObject[T | None]:
        """All elements folded by an associative and commutative function; None if there are none.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([1, 2, 3]).reduce(lambda a, b: a * b).get()
        6
        """
        from dataflow.algebra.aggregator import reducing

        check_callable("reduce", fn, caller())
        return self.combine(reducing(fn), label=label or name_of("reduce", fn))

    def top(self, n: int, key: Callable[[T], Any] | None = None, *, smallest: bool = False, label: str | None = None) -> PCollection[T]:
        """The ``n`` largest elements by ``key`` (``smallest``: the smallest), in order.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([3, 9, 4]).top(2).collect()
        [9, 4]
        """
        from dataflow.algebra.aggregators import Top

        try:
            aggregator = Top(n, key, smallest=smallest)
        except ValueError as error:
            raise plan_error(str(error)) from None
        return self._combined(aggregator, label or "top").flat_map(_same, label=f"{label or 'top'} elements")

    def sample(self, n: int | None = None, *, fraction: float | None = None, seed: int = 0, label: str | None = None) -> PCollection[T]:
        """``n`` elements drawn evenly, all if there are no more; or each with the chance ``fraction``. Records keep their columns.

        Seeded by shard: the same in every run over the same input, and another with another ``seed``.

        >>> from dataflow import Pipeline
        >>> len(Pipeline().create(range(100)).sample(5).collect())
        5
        """
        from dataflow.api.sampling import each_with_chance, lowest_ranks

        if (n is None) == (fraction is None):
            raise plan_error("sample needs either n or fraction")
        if n is not None and (isinstance(n, bool) or not isinstance(n, int)):
            raise plan_error(f"sample takes a number of elements, not {n!r}", hint="sample(fraction=0.1) takes each with that chance")
        if not isinstance(seed, int):
            raise plan_error(f"a seed is an integer, not {type(seed).__name__}")
        if fraction is not None:
            return each_with_chance(cast("PCollection[T]", self), fraction, seed, label or "sample")
        known = self.pipeline.columns(self.node) if self._holds_records() else None
        return lowest_ranks(cast("PCollection[T]", self), n or 0, seed, known, label or "sample")

    def describe(
        self, percentiles: Sequence[float] = (0.25, 0.5, 0.75), *, interpolation: str = "nearest", label: str | None = None
    ) -> PCollection[dict[str, Any]]:
        """What the columns of records look like: a record for every statistic, with its name in ``statistic``, as in Polars.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([{"n": 1, "s": "b"}, {"n": 2, "s": "a"}, {"n": 6, "s": None}]).describe().show()
        statistic   n                   s
        ----------  ------------------  ----
        count       3.0                 2
        null_count  0.0                 1
        mean        3.0                 None
        std         2.6457513110645907  None
        min         1.0                 a
        25%         2.0                 None
        50%         2.0                 None
        75%         6.0                 None
        max         6.0                 b

        Of numbers, bools (as 0 and 1, without ``std`` and percentiles) and durations (in seconds) in float64; of text, dates and
        times ``min`` and ``max``, and the counts, as text; of other types the counts alone. Percentiles are exact, so all values of a
        column are needed together. `dataflow.lib.describe` is the same for a collection of numbers, in one pass.
        """
        from dataflow.api.describing import described

        return described(cast("PCollection[Any]", self), percentiles, interpolation, label or "describe")

    # -- as side inputs

    def as_list(self) -> PObject[list[T]]:
        """All elements as a list, for use as a side input.

        >>> from dataflow import Pipeline
        >>> c = Pipeline().create([1, 2])
        >>> c.map(lambda x, everyone: x / sum(everyone), c.as_list()).collect()
        [0.3333333333333333, 0.6666666666666666]
        """
        return self._view("list")

    def as_dict(self) -> PObject[dict[Any, Any]]:
        """A collection of pairs as a dict, for use as a side input; of equal keys one value stays.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> p.create(["a"]).map(lambda x, names: names[x], p.create([("a", "Ann")]).as_dict()).collect()
        ['Ann']
        """
        return self._view("dict")

    def as_iterable(self) -> PObject[Iterable[T]]:
        """All elements as an iterable that is read from disk at each use, for side inputs larger than memory."""
        return self._view("iterable")

    def as_singleton(self) -> PObject[T | None]:
        """The one element, for use as a side input; None if there is none, an error if there are more.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([5]).as_singleton().get()
        5
        """
        return self._view("singleton")

    def _counted(self) -> PObject[int]:
        """How many records: by a query, which a file's metadata may answer."""
        from dataflow.expr.functions import len_

        one = cast("PCollection[Any]", self).group_by().agg(n=len_(), label="size")
        return cast("PObject[int]", one.map(_number, label="size value").as_singleton())

    def _view(self, kind: Any) -> PObject[Any]:
        from dataflow.api.pobject import PObject

        return PObject(self.pipeline, View(label=self._label(f"as {kind}"), origin=caller(), input=self.node, kind=kind))

    def _holds_records(self) -> bool:
        """Whether the elements are dicts, as far as is known: those of a function without a return type may be."""
        element = self.node.element
        if isinstance(self.node, Relation) or dict in (element, get_origin(element)) or is_typeddict(element):
            return True
        return element is None and self.pipeline.columns(self.node) is not None

    def _marked(self, label: str) -> PTable[T, None]:
        element = pair_type(self.node.element, type(None))
        return self._table(self._step("pair_with", "pair_with", None, (), element, f"{label} pairs", OnError()))

    def _combined(self, aggregator: Any, label: str) -> PCollection[Any]:
        """The aggregate of all elements as the one element of a collection; empty if there are none."""
        paired = self._table(self._step("pair_with", "pair_with", None, (), None, f"{label} pairs", OnError(), arg=0))
        return (
            paired.swap(label=f"{label} all")
            .group_by_key(label=f"{label} group")
            .combine_values(aggregator, label=label)
            .values(label=f"{label} value")
        )


def _same(values: Iterable[T]) -> Iterable[T]:
    return values


def _number(record: dict[str, Any]) -> int:
    return int(record["n"])


class _Nothing:
    """What an aggregator gives over no elements."""

    def __init__(self, aggregator: Any) -> None:
        self.aggregator = aggregator

    def __call__(self) -> Any:
        return self.aggregator.present(self.aggregator.create())
