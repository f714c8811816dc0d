"""Aggregators: what may be computed in any grouping and any order, and therefore before a shuffle.

An aggregator is a commutative monoid with a way in and a way out (Flume's CombineFn):

    values ──add──> accumulator ─┐
    values ──add──> accumulator ─┼─merge──> accumulator ──present──> result
    values ──add──> accumulator ─┘

The laws, tested for each in `tests/properties/test_aggregators.py`: `merge` is associative and commutative,
`create()` is its identity, and adding a value equals merging an accumulator that holds that value alone.
Floating-point sums obey them up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, runtime_checkable

__all__ = ["Aggregator", "CombineFnShape", "Native", "as_aggregator", "combine"]

V = TypeVar("V")
A = TypeVar("A")
R = TypeVar("R")

Native = Literal["count", "sum", "min", "max", "mean"]


class Aggregator(Generic[V, A, R]):
    """How values become one result, whatever way they are grouped on the way.

    Subclass it to write your own:

    >>> class Longest(Aggregator[str, str, str]):
    ...     def create(self): return ""
    ...     def add(self, acc, value): return max(acc, value, key=lambda s: (len(s), s))
    ...     def merge(self, left, right): return self.add(left, right)
    ...     def present(self, acc): return acc
    >>> combine(Longest(), ["a", "ccc", "bb"])
    'ccc'

    ``add`` and ``merge`` may change and return their first argument. ``native`` names an equal
    kernel over Arrow columns, used where the values' types allow.
    """

    native: Native | None = None

    def create(self) -> A:
        """The accumulator of no values."""
        raise NotImplementedError

    def add(self, acc: A, value: V) -> A:
        """The accumulator with one more value."""
        raise NotImplementedError

    def merge(self, left: A, right: A) -> A:
        """The accumulator of the values of both."""
        raise NotImplementedError

    def present(self, acc: A) -> R:
        """The result."""
        return cast(R, acc)

    def add_all(self, acc: A, values: Iterable[V]) -> A:
        """Add many values; override where that can be faster."""
        add = self.add
        for value in values:
            acc = add(acc, value)
        return acc

    def __repr__(self) -> str:
        return type(self).__name__


def combine(aggregator: Aggregator[V, A, R], values: Iterable[V]) -> R:
    """The result of an aggregator over values at hand."""
    return aggregator.present(aggregator.add_all(aggregator.create(), values))


@runtime_checkable
class CombineFnShape(Protocol):
    """The shape of Beam's ``CombineFn``: four methods, known by their names."""

    def create_accumulator(self) -> Any: ...
    def add_input(self, accumulator: Any, element: Any) -> Any: ...
    def merge_accumulators(self, accumulators: Any) -> Any: ...
    def extract_output(self, accumulator: Any) -> Any: ...


class _FromCombineFn(Aggregator[Any, Any, Any]):
    """An object shaped like Beam's CombineFn, as one of ours. Ours calls nothing but those four and ``compact``."""

    def __init__(self, shape: CombineFnShape) -> None:
        self.shape = shape

    def create(self) -> Any:
        return self.shape.create_accumulator()

    def add(self, acc: Any, value: Any) -> Any:
        return self.shape.add_input(acc, value)

    def merge(self, left: Any, right: Any) -> Any:
        return self.shape.merge_accumulators([left, right])

    def present(self, acc: Any) -> Any:
        compact = getattr(self.shape, "compact", None)
        return self.shape.extract_output(compact(acc) if compact else acc)

    def __repr__(self) -> str:
        return type(self.shape).__name__


class _Fold(Aggregator[Any, Any, Any]):
    """A function of two values, folded; None stands for "no value yet", inside a one-element tuple otherwise."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function

    def create(self) -> Any:
        return None

    def add(self, acc: Any, value: Any) -> Any:
        return (value,) if acc is None else (self.function(acc[0], value),)

    def merge(self, left: Any, right: Any) -> Any:
        if left is None or right is None:
            return left or right
        return (self.function(left[0], right[0]),)

    def present(self, acc: Any) -> Any:
        return None if acc is None else acc[0]

    def __repr__(self) -> str:
        return f"reduce({getattr(self.function, '__name__', 'function')})"


class _OfIterable(Aggregator[Any, Any, Any]):
    """A function of an iterable of all values, as Beam allows in CombinePerKey. All are kept until it is called, unless what it gives of
    some can stand for them."""

    def __init__(self, function: Callable[[Iterable[Any]], Any]) -> None:
        self.function = function

    def create(self) -> Any:
        return []

    def add(self, acc: Any, value: Any) -> Any:
        acc.append(value)
        return [self.function(acc)] if self.function in _FOLDING and len(acc) >= 1000 else acc

    def merge(self, left: Any, right: Any) -> Any:
        return left + right

    def present(self, acc: Any) -> Any:
        return self.function(acc)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", "function")


_FOLDING = (any, all)


def reducing(function: Callable[[V, V], V]) -> Aggregator[V, Any, V | None]:
    """The aggregator that folds an associative and commutative function of two values; None over nothing."""
    return _Fold(function)


def as_aggregator(thing: Any) -> Aggregator[Any, Any, Any]:
    """Our aggregator for: one of ours, Beam's CombineFn (by shape), ``sum``/``min``/``max``/``len``, a function of an iterable.

    >>> combine(as_aggregator(max), [3, 1])
    3
    """
    from dataflow.algebra import aggregators

    known = {sum: aggregators.Sum, min: aggregators.Min, max: aggregators.Max, len: aggregators.Count}
    if isinstance(thing, Aggregator):
        return thing
    if isinstance(thing, type):
        if issubclass(thing, Aggregator):
            return thing()
        if hasattr(thing, "create_accumulator"):
            return _FromCombineFn(thing())  # type: ignore[arg-type]
    if isinstance(thing, CombineFnShape):
        return _FromCombineFn(thing)
    try:
        if thing in known:
            return known[thing]()
    except TypeError:  # unhashable callables are simply not among the known ones
        pass
    if callable(thing):
        return _OfIterable(thing)
    raise TypeError(f"not an aggregator: {thing!r}; use one of dataflow.aggregators, a CombineFn, or a function of an iterable")
