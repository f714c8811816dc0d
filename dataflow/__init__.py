"""A batch dataflow engine: deferred pipelines over collections, an optimizer, bounded memory, whole outputs.

The life of a pipeline:

1. The user's calls build logical nodes (`dataflow.plan`), each with a label and the user's line (`dataflow.api`).
2. `Pipeline.run` finds a runner, which optimizes the plan (`dataflow.optimizer`): FlumeJava's passes.
3. The planner cuts it at shuffles into phases, and groups these into stages (`dataflow.physical.stages`).
4. `preflight` reports everything that is known to fail, at once (`dataflow.physical.preflight`).
5. A `Job` turns each phase into tasks when what it reads is whole (`dataflow.scheduling.job`).
6. The scheduler runs them, again or twice where needed (`dataflow.scheduling.scheduler`), on the runner's workers.
7. A task reads its input, runs its fused steps, fills its leaves (`dataflow.execution.task`).
8. Shuffles go through run files with checksums (`dataflow.shard.runfile`).
9. The commit makes all outputs visible together (`dataflow.io.commit`).

>>> from dataflow import Pipeline
>>> sorted(Pipeline().create(["a b", "a"]).flat_map(str.split).count().collect())
[('a', 2), ('b', 1)]
"""

from typing import TYPE_CHECKING

from dataflow.api.collection import Outputs, PCollection
from dataflow.api.dofn import DoFn, Tagged
from dataflow.api.pipeline import Pipeline
from dataflow.api.pobject import PObject
from dataflow.api.settings import param
from dataflow.api.table import PGroupedTable, PTable
from dataflow.counters import Counter, counter
from dataflow.errors import DataflowError

if TYPE_CHECKING:
    from dataflow.expr.functions import (
        all_columns,
        all_horizontal,
        any_horizontal,
        coalesce,
        col,
        concat_list,
        concat_str,
        cume_dist,
        dense_rank,
        duration,
        len_,
        lit,
        max_horizontal,
        min_horizontal,
        ntile,
        percent_rank,
        rank,
        row_number,
        struct,
        sum_horizontal,
        when,
    )

__all__ = [
    "Counter", "DataflowError", "DoFn", "Outputs", "PCollection", "PGroupedTable", "PObject", "PTable", "Pipeline", "Tagged",
    "all_columns", "all_horizontal", "any_horizontal", "coalesce", "col", "concat_list", "concat_str", "counter", "cume_dist", "dense_rank",
    "duration", "len_", "lit", "max_horizontal", "min_horizontal", "ntile", "param", "percent_rank", "rank", "row_number", "struct",
    "sum_horizontal", "when",
]  # fmt: skip

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Column expressions, loaded when first used."""
    if name not in __all__:
        raise AttributeError(f"module 'dataflow' has no attribute {name!r}")
    from dataflow.expr import functions

    found: object = getattr(functions, name)
    globals()[name] = found
    return found
