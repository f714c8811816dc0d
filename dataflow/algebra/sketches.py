"""Aggregators that answer nearly: distinct counts and quantiles in a few kilobytes, by Apache DataSketches.

Accumulators are the sketches' own serialized bytes between processes and live objects within one.
Needs the extra ``sketches``.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from dataflow.algebra.aggregator import Aggregator

__all__ = ["ApproxDistinct", "ApproxQuantiles"]


def _library() -> Any:
    try:
        import datasketches
    except ImportError as error:
        raise ImportError("sketch aggregators need: pip install 'dataflow-engine[sketches]'") from error
    return datasketches


class ApproxDistinct(Aggregator[Any, bytes, int]):
    """About how many different values there are (HyperLogLog; relative error 1.04/sqrt(2**lg_k), 1.6% by default).

    >>> from dataflow.algebra.aggregator import combine
    >>> combine(ApproxDistinct(), ["a", "b", "a"])
    2
    """

    def __init__(self, lg_k: int = 12) -> None:
        self.lg_k = lg_k

    def create(self) -> bytes:
        return b""

    def add(self, acc: bytes, value: Any) -> bytes:
        return self.add_all(acc, (value,))

    def add_all(self, acc: bytes, values: Any) -> bytes:
        from dataflow.algebra.order import canonical

        sketch = self._union(acc)
        one = _library().hll_sketch(self.lg_k)
        for value in values:
            one.update(_text(canonical(value)))
        sketch.update(one)
        return self._bytes(sketch)

    def merge(self, left: bytes, right: bytes) -> bytes:
        if not left or not right:
            return left or right
        union = self._union(left)
        union.update(_library().hll_sketch.deserialize(right))
        return self._bytes(union)

    def present(self, acc: bytes) -> int:
        return round(_library().hll_sketch.deserialize(acc).get_estimate()) if acc else 0

    def _union(self, acc: bytes) -> Any:
        union = _library().hll_union(self.lg_k)
        if acc:
            union.update(_library().hll_sketch.deserialize(acc))
        return union

    def _bytes(self, union: Any) -> bytes:
        return bytes(union.get_result(_library().tgt_hll_type.HLL_8).serialize_compact())


def _text(key: Any) -> str:
    """A text that is the same exactly where keys are, whatever their types; of sets, whatever their order.

    >>> _text(1) == _text(1.0) == _text(Decimal(1)) != _text("1"), _text(2**60) == _text(2**60 + 1), _text((1, 0.0)) == _text((1.0, -0.0))
    (True, False, True)
    """
    if isinstance(key, str):
        return key
    if isinstance(key, (int, float, Decimal)):
        if isinstance(key, int) or (math.isfinite(key) and key == int(key)):
            return f"\0{int(key):x}"
        return f"\0{float(key)!r}" if not isinstance(key, Decimal) or Decimal(float(key)) == key else f"\0{key.normalize()}"
    if isinstance(key, tuple):
        return "\0(" + "\0,".join(map(_text, key)) + "\0)"
    if isinstance(key, frozenset):
        return "\0{" + "\0,".join(sorted(map(_text, key))) + "\0}"
    return f"\0{key!r}"


class ApproxQuantiles(Aggregator[float, bytes, list[float]]):
    """The values at the given ranks (KLL; rank error about 1.3% at k=200). Empty input gives an empty list.

    >>> from dataflow.algebra.aggregator import combine
    >>> combine(ApproxQuantiles([0.0, 0.5, 1.0]), [3.0, 1.0, 2.0])
    [1.0, 2.0, 3.0]
    """

    def __init__(self, ranks: list[float], k: int = 200) -> None:
        if not all(0 <= rank <= 1 for rank in ranks):
            raise ValueError(f"ranks lie between 0 and 1: {ranks}")
        self.ranks, self.k = ranks, k

    def create(self) -> bytes:
        return b""

    def add(self, acc: bytes, value: float) -> bytes:
        return self.add_all(acc, (value,))

    def add_all(self, acc: bytes, values: Any) -> bytes:
        sketch = self._sketch(acc)
        for value in values:
            sketch.update(float(value))
        return bytes(sketch.serialize())

    def merge(self, left: bytes, right: bytes) -> bytes:
        if not left or not right:
            return left or right
        sketch = self._sketch(left)
        sketch.merge(self._sketch(right))
        return bytes(sketch.serialize())

    def present(self, acc: bytes) -> list[float]:
        sketch = self._sketch(acc)
        return [float(sketch.get_quantile(rank)) for rank in self.ranks] if not sketch.is_empty() else []  # NaN is no value to it

    def _sketch(self, acc: bytes) -> Any:
        kll = _library().kll_doubles_sketch
        return kll.deserialize(acc) if acc else kll(self.k)
