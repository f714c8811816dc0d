"""The built-in aggregators: sum, count, min, max, mean, variance, top, first, collect, sketches, and tuples of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from dataflow.algebra.aggregator import Aggregator, as_aggregator
from dataflow.algebra.order import canonical, order_key

__all__ = ["AllOf", "Collect", "CollectSet", "Count", "First", "Max", "Mean", "Min", "Sample", "Sum", "Top", "Variance"]


class Sum(Aggregator[Any, Any, Any]):
    """The sum; 0 over nothing. Integers never overflow."""

    native = "sum"

    def create(self) -> Any:
        return 0

    def add(self, acc: Any, value: Any) -> Any:
        return acc + value

    def merge(self, left: Any, right: Any) -> Any:
        return left + right

    def add_all(self, acc: Any, values: Iterable[Any]) -> Any:
        return sum(values, acc)


class Count(Aggregator[Any, int, int]):
    """How many values, whatever they are."""

    native = "count"

    def create(self) -> int:
        return 0

    def add(self, acc: int, value: Any) -> int:
        return acc + 1

    def merge(self, left: int, right: int) -> int:
        return left + right


class _Extreme(Aggregator[Any, Any, Any]):
    """The value that comes first (or last) in the engine's order; None over nothing. Accumulator: () or (value,)."""

    last = False

    def create(self) -> Any:
        return ()

    def add(self, acc: Any, value: Any) -> Any:
        if not acc:
            return (value,)
        new, old = order_key(value), order_key(acc[0])
        return (value,) if (new > old if self.last else new < old) else acc

    def merge(self, left: Any, right: Any) -> Any:
        return self.add(left, right[0]) if right else left

    def present(self, acc: Any) -> Any:
        return acc[0] if acc else None


class Min(_Extreme):
    """The smallest value, None over nothing."""

    native = "min"


class Max(_Extreme):
    """The largest value, None over nothing."""

    native = "max"
    last = True


class Mean(Aggregator[Any, tuple[Any, int], Any]):
    """The arithmetic mean; None over nothing."""

    native = "mean"

    def create(self) -> tuple[Any, int]:
        return (0, 0)

    def add(self, acc: tuple[Any, int], value: Any) -> tuple[Any, int]:
        return (acc[0] + value, acc[1] + 1)

    def merge(self, left: tuple[Any, int], right: tuple[Any, int]) -> tuple[Any, int]:
        return (left[0] + right[0], left[1] + right[1])

    def present(self, acc: tuple[Any, int]) -> Any:
        return acc[0] / acc[1] if acc[1] else None


class Variance(Aggregator[float, tuple[int, float, float], float | None]):
    """The variance with ``ddof`` degrees of freedom taken off; None over too few values.

    Accumulators (n, mean, sum of squared deviations) merge without cancellation (Chan, Golub and LeVeque 1979).

    >>> from dataflow.algebra.aggregator import combine
    >>> combine(Variance(), [1.0, 2.0, 3.0, 4.0])
    1.6666666666666667
    """

    def __init__(self, ddof: int = 1) -> None:
        self.ddof = ddof

    def create(self) -> tuple[int, float, float]:
        return (0, 0.0, 0.0)

    def add(self, acc: tuple[int, float, float], value: float) -> tuple[int, float, float]:
        return self.merge(acc, (1, float(value), 0.0))

    def merge(self, left: tuple[int, float, float], right: tuple[int, float, float]) -> tuple[int, float, float]:
        if not left[0]:
            return right
        if not right[0]:
            return left
        n = left[0] + right[0]
        delta = right[1] - left[1]
        mean = left[1] + delta * right[0] / n
        return (n, mean, left[2] + right[2] + delta * delta * left[0] * right[0] / n)

    def present(self, acc: tuple[int, float, float]) -> float | None:
        return acc[2] / (acc[0] - self.ddof) if acc[0] > self.ddof else None


class Top(Aggregator[Any, list[Any], list[Any]]):
    """The ``n`` largest values by ``key``, largest first (``smallest=True``: smallest, smallest first).

    >>> from dataflow.algebra.aggregator import combine
    >>> combine(Top(2), [3, 9, 4])
    [9, 4]
    """

    def __init__(self, n: int, key: Callable[[Any], Any] | None = None, *, smallest: bool = False) -> None:
        if n < 0:
            raise ValueError(f"top needs n >= 0, not {n}")
        self.n, self.key, self.smallest = n, key, smallest

    def _rank(self, value: Any) -> Any:
        return order_key(self.key(value) if self.key else value)

    def create(self) -> list[Any]:
        return []

    def add(self, acc: list[Any], value: Any) -> list[Any]:
        acc.append(value)
        return self._cut(acc) if len(acc) > 2 * self.n + 1000 else acc

    def merge(self, left: list[Any], right: list[Any]) -> list[Any]:
        return self._cut(left + right)

    def add_all(self, acc: list[Any], values: Iterable[Any]) -> list[Any]:
        return self._cut([*acc, *values]) if isinstance(values, list) else super().add_all(acc, values)

    def _cut(self, values: list[Any]) -> list[Any]:
        pick = heapq.nsmallest if self.smallest else heapq.nlargest
        return pick(self.n, values, key=self._rank)

    def present(self, acc: list[Any]) -> list[Any]:
        return self._cut(acc)


class First(Aggregator[Any, Any, Any]):
    """Any one of the values (a collection has no order); None over nothing."""

    def create(self) -> Any:
        return ()

    def add(self, acc: Any, value: Any) -> Any:
        return acc or (value,)

    def merge(self, left: Any, right: Any) -> Any:
        return left or right

    def present(self, acc: Any) -> Any:
        return acc[0] if acc else None


class Collect(Aggregator[Any, list[Any], list[Any]]):
    """All the values in a list. It holds them in memory: `group_by_key` does not."""

    def create(self) -> list[Any]:
        return []

    def add(self, acc: list[Any], value: Any) -> list[Any]:
        acc.append(value)
        return acc

    def merge(self, left: list[Any], right: list[Any]) -> list[Any]:
        left.extend(right)
        return left

    def add_all(self, acc: list[Any], values: Iterable[Any]) -> list[Any]:
        acc.extend(values)
        return acc


class CollectSet(Aggregator[Any, dict[Any, Any], list[Any]]):
    """The different values, each once, in the engine's order."""

    def create(self) -> dict[Any, Any]:
        return {}

    def add(self, acc: dict[Any, Any], value: Any) -> dict[Any, Any]:
        acc.setdefault(canonical(value), value)
        return acc

    def merge(self, left: dict[Any, Any], right: dict[Any, Any]) -> dict[Any, Any]:
        return {**right, **left}

    def present(self, acc: dict[Any, Any]) -> list[Any]:
        return sorted(acc.values(), key=order_key)


class Sample(Aggregator[tuple[int, Any], list[tuple[int, Any]], list[Any]]):
    """``n`` values drawn evenly: each comes with a random rank, and the lowest ranks stay (bottom-k sampling).

    The ranks are given by the step that feeds it, seeded by shard, so the sample is the same in every run.
    """

    def __init__(self, n: int) -> None:
        self.n = n

    def create(self) -> list[tuple[int, Any]]:
        return []

    def add(self, acc: list[tuple[int, Any]], value: tuple[int, Any]) -> list[tuple[int, Any]]:
        acc.append(value)
        return self._cut(acc) if len(acc) > 2 * self.n + 1000 else acc

    def merge(self, left: list[tuple[int, Any]], right: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
        return self._cut(left + right)

    def _cut(self, pairs: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
        return heapq.nsmallest(self.n, pairs, key=lambda pair: pair[0])

    def present(self, acc: list[tuple[int, Any]]) -> list[Any]:
        return [value for _, value in self._cut(acc)]


class AllOf(Aggregator[Any, list[Any], tuple[Any, ...]]):
    """Several aggregators over the same values, in one pass.

    >>> from dataflow.algebra.aggregator import combine
    >>> combine(AllOf(Count(), Sum(), Max()), [1, 5, 2])
    (3, 8, 5)
    """

    def __init__(self, *parts: Any) -> None:
        self.parts = tuple(map(as_aggregator, parts))

    def create(self) -> list[Any]:
        return [part.create() for part in self.parts]

    def add(self, acc: list[Any], value: Any) -> list[Any]:
        return [part.add(one, value) for part, one in zip(self.parts, acc, strict=True)]

    def merge(self, left: list[Any], right: list[Any]) -> list[Any]:
        return [part.merge(one, two) for part, one, two in zip(self.parts, left, right, strict=True)]

    def present(self, acc: list[Any]) -> tuple[Any, ...]:
        return tuple(part.present(one) for part, one in zip(self.parts, acc, strict=True))
