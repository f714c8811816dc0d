"""Derived operations, written only with the public API: short, and the pattern for your own.

>>> from dataflow import Pipeline
>>> from dataflow.lib import describe
>>> describe(Pipeline().create([1.0, 2.0, 3.0])).get()["mean"]
2.0
"""

from dataflow.lib.per_key import distinct_per_key, mean_per_key, top_per_key
from dataflow.lib.statistics import describe, histogram

__all__ = ["describe", "distinct_per_key", "histogram", "mean_per_key", "top_per_key"]
