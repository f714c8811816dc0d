"""PTable: a collection of (key, value) pairs; PGroupedTable: the same with all values of a key together."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from dataflow.api import joins
from dataflow.api.base import error_rule, pair_type
from dataflow.api.building import check_callable, plan_error
from dataflow.api.collection import PCollection
from dataflow.api.joins import JoinKind
from dataflow.api.pobject import PObject
from dataflow.plan.nodes import CombineValues, GroupByKey
from dataflow.plan.origin import caller
from dataflow.plan.steps import OnError
from dataflow.plan.types import is_pair, pair_of, result_of, show

__all__ = ["PGroupedTable", "PTable"]

K = TypeVar("K")
V = TypeVar("V")
W = TypeVar("W")


class PTable(PCollection[tuple[K, V]], Generic[K, V]):
    """A deferred multi-map: pairs (key, value), keys may repeat."""

    def map_values(self, fn: Callable[..., W], *sides: PObject[Any], on_error: str = "raise", label: str | None = None) -> PTable[K, W]:
        """``fn(value)`` for every value; keys stay.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([("a", 1)]).as_table().map_values(lambda v: v + 1).collect()
        [('a', 2)]
        """
        element = pair_type(pair_of(self.node.element)[0], result_of(fn))
        return self._table(self._step("map_values", "map_values", fn, sides, element, label, error_rule(on_error, None, None)))

    def keys(self, label: str | None = None) -> PCollection[K]:
        """The keys, one for every pair.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([("a", 1), ("a", 2)]).as_table().keys().collect()
        ['a', 'a']
        """
        return PCollection(self.pipeline, self._step("keys", "keys", None, (), pair_of(self.node.element)[0], label, OnError()))

    def values(self, label: str | None = None) -> PCollection[V]:
        """The values.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([("a", 1), ("a", 2)]).as_table().values().collect()
        [1, 2]
        """
        return PCollection(self.pipeline, self._step("values", "values", None, (), pair_of(self.node.element)[1], label, OnError()))

    def swap(self, label: str | None = None) -> PTable[V, K]:
        """(value, key) for every (key, value).

        >>> from dataflow import Pipeline
        >>> Pipeline().create([("a", 1)]).as_table().swap().collect()
        [(1, 'a')]
        """
        key, value = pair_of(self.node.element)
        return self._table(self._step("swap", "swap", None, (), pair_type(value, key), label, OnError()))

    def group_by_key(
        self,
        *,
        sort_values: bool | Callable[[V], Any] = False,
        partitioner: Callable[[K, int], int] | None = None,
        partitions: int | None = None,
        label: str | None = None,
    ) -> PGroupedTable[K, V]:
        """All values of a key together: pairs (key, values), where values may be iterated again and again.

        A group may be larger than memory: its values are then read from disk. ``sort_values`` orders them (by a
        function of the value, if it is one). ``partitioner(key, n)`` says which of ``partitions`` reduce tasks, and so
        which output file, a key goes to. Keys are equal by value: 1 is 1.0, NaN is NaN; lists and dicts are refused.

        >>> from dataflow import Pipeline
        >>> grouped = Pipeline().create([("a", 1), ("b", 2), ("a", 3)]).as_table().group_by_key()
        >>> sorted((key, list(values)) for key, values in grouped.collect())
        [('a', [1, 3]), ('b', [2])]
        """
        origin = caller()
        if is_pair(self.node.element) is False:
            raise plan_error(f"group_by_key needs (key, value) pairs, and the elements are {show(self.node.element)}", origin, "use key_by")
        if partitioner is not None:
            check_callable("partitioner", partitioner, origin)
            if partitions is None:
                raise plan_error("a partitioner needs partitions=, the number it is given", origin)
        if partitions is not None and not 1 <= partitions <= 65_536:
            raise plan_error(f"partitions lies between 1 and 65,536, not {partitions}", origin)
        key, value = pair_of(self.node.element)
        node = GroupByKey(
            label=self._label(label or "group_by_key"),
            origin=origin,
            element=pair_type(key, types.GenericAlias(Iterable, (value or Any,))),
            input=self.node,
            sort_values=bool(sort_values),
            sort_key=sort_values if callable(sort_values) else None,
            partitioner=partitioner,
            partitions=partitions,
        )
        return PGroupedTable(self.pipeline, node)

    def combine_per_key(self, aggregator: Any, label: str | None = None) -> PTable[K, Any]:
        """The aggregate of each key's values: ``group_by_key().combine_values(aggregator)``.

        >>> from dataflow import Pipeline
        >>> sorted(Pipeline().create([("a", 1), ("a", 2)]).as_table().combine_per_key(sum).collect())
        [('a', 3)]
        """
        return self.group_by_key().combine_values(aggregator, label=label)

    def reduce_per_key(self, fn: Callable[[V, V], V], label: str | None = None) -> PTable[K, V]:
        """Each key's values folded by an associative and commutative function.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([("a", 2), ("a", 3)]).as_table().reduce_per_key(lambda x, y: x * y).collect()
        [('a', 6)]
        """
        from dataflow.algebra.aggregator import reducing

        return self.group_by_key().combine_values(reducing(fn), label=label)

    def join(  # type: ignore[override]  # tables join on their keys, records on columns
        self, other: PTable[K, W], how: JoinKind = "inner", label: str | None = None
    ) -> PTable[K, Any]:
        """Pairs (key, (value, other value)) of equal keys; None stands for a missing side in outer joins.

        ``how``: "inner", "left", "right", "full"; "semi" and "anti" keep this table's pairs whose key is, or is not,
        in the other.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> left, right = p.create([("a", 1), ("b", 2)]).as_table(), p.create([("a", "x")]).as_table()
        >>> sorted(left.join(right, "left").collect())
        [('a', (1, 'x')), ('b', (2, None))]
        """
        if how not in joins._KINDS:
            raise plan_error(f"there is no {how!r} join; there are {', '.join(joins._KINDS)}")
        self._check_others("join", other)
        return joins.join(self, other, how, label)

    def cogroup(self, *others: PTable[K, Any], label: str | None = None) -> PTable[K, tuple[Iterable[Any], ...]]:
        """For every key of any of the tables, a tuple of its values in each.

        >>> from dataflow import Pipeline
        >>> p = Pipeline()
        >>> a, b = p.create([("k", 1)]).as_table(), p.create([("k", 2), ("k", 3)]).as_table()
        >>> a.cogroup(b).collect()
        [('k', ([1], [2, 3]))]
        """
        self._check_others("cogroup", *others)
        return joins.cogroup([self, *others], label)


class PGroupedTable(PCollection[tuple[K, Iterable[V]]], Generic[K, V]):
    """A table whose values of a key are together."""

    def combine_values(self, aggregator: Any, label: str | None = None) -> PTable[K, Any]:
        """The aggregate of each key's values, begun before the shuffle: FlumeJava's combineValues.

        >>> from dataflow import Pipeline
        >>> from dataflow.aggregators import Max
        >>> Pipeline().create([("a", 1), ("a", 5)]).as_table().group_by_key().combine_values(Max()).collect()
        [('a', 5)]
        """
        from dataflow.algebra.aggregator import as_aggregator

        origin = caller()
        try:
            known = as_aggregator(aggregator)
        except TypeError as error:
            raise plan_error(str(error), origin) from None
        element = pair_type(pair_of(self.node.element)[0], None)
        label = self._label(label or f"combine {known!r}")
        return PTable(self.pipeline, CombineValues(label=label, origin=origin, element=element, input=self.node, aggregator=known))

    def map_groups(self, fn: Callable[..., W], *sides: PObject[Any], on_error: str = "raise", label: str | None = None) -> PTable[K, W]:
        """(key, ``fn(key, values)``) for every key.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([("a", 2), ("a", 3)]).as_table().group_by_key().map_groups(lambda k, v: sum(v)).collect()
        [('a', 5)]
        """
        element = pair_type(pair_of(self.node.element)[0], result_of(fn))
        rule = error_rule(on_error, None, None)
        return PTable(self.pipeline, self._step("map_groups", "map_groups", fn, sides, element, label, rule))
