"""The aggregators by one name: ``from dataflow.aggregators import Sum, Top``. To write your own, subclass `Aggregator`."""

from dataflow.algebra.aggregator import Aggregator, combine, reducing
from dataflow.algebra.aggregators import (
    AllOf,
    Collect,
    CollectSet,
    Count,
    First,
    Max,
    Mean,
    Min,
    Sum,
    Top,
    Variance,
)  # fmt: skip
from dataflow.algebra.sketches import ApproxDistinct, ApproxQuantiles

__all__ = [
    "Aggregator", "AllOf", "ApproxDistinct", "ApproxQuantiles", "Collect", "CollectSet", "Count", "First", "Max", "Mean",
    "Min", "Sum", "Top", "Variance", "combine", "reducing",
]  # fmt: skip
