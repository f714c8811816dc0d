"""What one element-wise step does. A fused chain is a tuple of these, never nested closures.

kind          fn                         element -> elements
map           x -> y                     one to one
flat_map      x -> iterable of y         one to many
filter        x -> bool                  one to at most one
map_columns   record of `arg` -> record  on records; the other columns are carried, not made into Python values
map_values    v -> w, on pairs           keys untouched
map_groups    (k, values) -> w           on groups; keys untouched
key_by        x -> k                     x becomes (k, x)
pair_with     (none; value in `arg`)     x becomes (x, arg)
keys, values, swap                       on pairs, no function
map_batches   batch -> batch             in the format of `arg`, `batch_size` rows at a time
query         (none; relation in `arg`)  records to records, by a relational tree over them and the sides
do            a DoFn                     anything, with set-up, bundles and tagged outputs
combine       an aggregator in `arg`     (k, group) -> (k, result); `merge`: groups hold accumulators
number        (seed, name) in `arg`      x becomes (random rank, x), seeded by shard; with a name, a record has the rank in that column
chance        (fraction, seed) in `arg`  x with that chance, seeded by shard; columns stay columns
"""

from __future__ import annotations

from typing import Any, Literal

from dataflow.plan.origin import Origin
from dataflow.record import record

__all__ = ["OnError", "Resources", "Step", "StepKind"]

StepKind = Literal[
    "map", "flat_map", "filter", "map_columns", "map_values", "map_groups", "key_by", "pair_with", "keys", "values", "swap",
    "map_batches", "query", "do", "combine", "merge", "number", "chance",
]  # fmt: skip


@record(eq=True)
class OnError:
    """What happens to a record on which the user's function fails.

    ``skip``: it is set aside and counted, until more than ``max_errors`` records (or more than the share
    ``max_error_rate`` of the records seen) were skipped in the whole run.
    """

    skip: bool = False
    max_errors: int | None = None
    max_error_rate: float | None = None


@record(eq=True)
class Resources:
    """What one attempt of a step takes where it runs: cores, bytes of memory, GPUs, and amounts of what a cluster calls by a name
    of its own."""

    cpus: float = 1
    memory: int = 0
    gpus: float = 0
    custom: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} cpus"] if self.cpus != 1 else []
        parts += [f"{self.memory:,} bytes"] if self.memory else []
        parts += [f"{self.gpus:g} gpus"] if self.gpus else []
        return ", ".join([*parts, *(f"{amount:g} {name}" for name, amount in self.custom)]) or "1 cpu"


@record
class Step:
    """One element-wise step: see the table in this module's header."""

    kind: StepKind
    label: str
    origin: Origin
    fn: Any = None
    arg: Any = None
    batch_size: int | None = None
    tags: tuple[str, ...] = ()
    on_error: OnError = OnError()
    resources: Resources | None = None

    def described(self) -> str:
        """The step in a plan's text, without addresses or anything else that differs between processes."""
        if self.kind == "query":
            from dataflow.plan.explain_relational import query_text

            return f"query [{query_text(self.arg)}]"
        if self.kind in ("combine", "merge"):
            return f"{self.label}({self.kind} {self.arg!r})"
        name = getattr(self.fn, "__qualname__", None) or (type(self.fn).__name__ if self.fn is not None else "")
        name = name.replace("<locals>.", "")
        return f"{self.label}({name})" if name else self.label
