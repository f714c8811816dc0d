"""The reference runner: what each node means, one case a node.

It shares no code with the engine's execution beyond the sources, the sinks' files and the order of values. Results of
grouping come in order of first appearance; a collection is a bag, so nobody may rely on that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from dataflow.algebra.order import canonical, order_key
from dataflow.counters import collect_counters
from dataflow.errors import StepError
from dataflow.io.commit import Commit
from dataflow.io.sink_writer import SinkWriter
from dataflow.plan.nodes import (
    CombineValues,
    Flatten,
    GroupByKey,
    Node,
    Operate,
    ParallelDo,
    Read,
    Redistribute,
    Relation,
    Sort,
    TaggedOutput,
    View,
    Write,
)  # fmt: skip
from dataflow.plan.steps import Step
from dataflow.plan.traversal import topological
from dataflow.scheduling.result import Output, RunResult
from dataflow.shard.batch import Rows

__all__ = ["ReferenceRunner"]


class ReferenceRunner:
    """Runs a plan as its definition. Takes and ignores the options of other runners."""

    def __init__(self, **_: Any) -> None:
        self.skipped = 0

    def run(self, plan: tuple[Node, ...]) -> RunResult:
        """Run a plan whose outputs are sinks."""
        writes = [node for node in plan if isinstance(node, Write)]
        result = RunResult("reference")
        commit = Commit("reference", [node.sink for node in writes])  # type: ignore[misc]
        with collect_counters() as counters:
            values = self._values(plan)
        commit.begin()
        for node, target in zip(writes, commit.targets, strict=True):
            writer = SinkWriter(target.sink, f"{target.staging}/attempts", "part")
            writer.push(Rows(values[id(node.input)]))
            target.files = writer.close()
        commit.commit()
        for target in commit.targets:
            rows, size = sum(f.rows for f in target.files), sum(f.bytes for f in target.files)
            result.outputs.append(Output(target.sink.path, rows, size, len(target.files)))
        result.counters, result.skipped = counters, self.skipped
        return result

    @contextmanager
    def evaluate(self, plan: tuple[Node, ...]) -> Generator[list[Any]]:
        """Run a plan whose outputs are views, and give their values."""
        values = self._values(plan)
        yield [values[id(node)] for node in plan]

    def _values(self, plan: tuple[Node, ...]) -> dict[int, Any]:
        """The value of every node: a list of elements, or a whole value for views and operate."""
        from dataflow.api.schemas import columns_known
        from runners.reference.relations import relation_rows

        values: dict[int, Any] = {}
        tagged: dict[tuple[int, str], list[Any]] = {}
        columns: dict[int, Any] = {}
        for node in topological(plan):
            match node:
                case Read(source=source):
                    splits = source.splits(1 << 30)  # type: ignore[attr-defined]
                    values[id(node)] = [row for split in splits for piece in source.read(split) for row in piece.batch.rows()]  # type: ignore[attr-defined]
                case ParallelDo(step=step):
                    sides = [values[id(side)] for side in node.sides]
                    main, extra = self._step(step, values[id(node.input)], sides)
                    values[id(node)] = main
                    for tag in step.tags:
                        tagged[id(node), tag] = extra.get(tag, [])
                case TaggedOutput(tag=tag):
                    values[id(node)] = tagged[id(node.input), tag]
                case GroupByKey():
                    values[id(node)] = self._group(node, values[id(node.input)])
                case CombineValues(aggregator=aggregator):
                    results = []
                    for key, group in values[id(node.input)]:
                        acc = aggregator.create()
                        for value in group:
                            acc = aggregator.add(acc, value)
                        results.append((key, aggregator.present(acc)))
                    values[id(node)] = results
                case Flatten(parts=parts):
                    values[id(node)] = [row for part in parts for row in values[id(part)]]
                case Sort(key=key):
                    ordered = sorted(values[id(node.input)], key=_by(key))
                    values[id(node)] = ordered[::-1] if node.descending else ordered
                case Redistribute() | Write():
                    values[id(node)] = values[id(node.input)]
                case View():
                    values[id(node)] = _view(node, values[id(node.input)])
                case Operate(fn=fn, args=args):
                    values[id(node)] = fn(*[values[id(arg)] for arg in args])
                case Relation():
                    given = [values[id(child)] for child in node.inputs]
                    values[id(node)] = relation_rows(node, given, [columns_known(child, columns) for child in node.inputs])
                case _:
                    raise AssertionError(f"the reference runner runs logical plans, and {type(node).__name__} is not logical")
        return values

    @staticmethod
    def _group(node: GroupByKey, pairs: list[Any]) -> list[Any]:
        groups: dict[Any, tuple[Any, list[Any]]] = {}
        for key, value in pairs:
            groups.setdefault(canonical(key), (key, []))[1].append(value)
        if node.sort_values:
            for _, group in groups.values():
                group.sort(key=_by(node.sort_key))
        return list(groups.values())

    def _step(self, step: Step, rows: list[Any], sides: list[Any]) -> tuple[list[Any], dict[str, list[Any]]]:
        if step.kind == "map_batches":
            from dataflow.execution.formats import from_format, to_format

            found = from_format(step.fn(to_format(Rows(rows), step.arg), *sides)).rows() if rows else []
            return list(found), {}
        if step.kind == "do":
            return self._do(step, rows, sides)
        if step.kind == "number":
            seed, name = step.arg
            draw = random.Random(seed)
            ranks = [draw.getrandbits(62) for _ in rows]
            return [{**row, name: rank} if name else (rank, row) for rank, row in zip(ranks, rows, strict=True)], {}
        if step.kind == "chance":
            fraction, seed = step.arg
            draw = random.Random(seed)
            return [row for row in rows if draw.random() < fraction], {}
        out: list[Any] = []
        for row in rows:
            try:
                results = list(_one(step, row, sides))
            except Exception as error:
                if not step.on_error.skip:
                    raise StepError(f"{step.label} failed: {type(error).__name__}: {error}") from error
                self.skipped += 1
                continue
            out.extend(results)
        return out, {}

    def _do(self, step: Step, rows: list[Any], sides: list[Any]) -> tuple[list[Any], dict[str, list[Any]]]:
        from dataflow.execution.dofns import is_tagged

        dofn: Any = step.fn
        given: list[Any] = []
        if hasattr(dofn, "setup"):
            dofn.setup()
        for name in ("start_bundle", "process", "finish_bundle"):
            if name != "process":
                given.extend((getattr(dofn, name)() if hasattr(dofn, name) else None) or ())
                continue
            for row in rows:
                try:
                    given.extend(list(dofn.process(row, *sides) or ()))
                except Exception as error:
                    if not step.on_error.skip:
                        raise StepError(f"{step.label} failed: {type(error).__name__}: {error}") from error
                    self.skipped += 1
        if hasattr(dofn, "teardown"):
            dofn.teardown()
        extra: dict[str, list[Any]] = {}
        for item in given:
            if is_tagged(item):
                extra.setdefault(item.tag, []).append(item.value)
        return [item for item in given if not is_tagged(item)], extra


def _by(key: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    return order_key if key is None else lambda value: order_key(key(value))


def _one(step: Step, row: Any, sides: list[Any]) -> Iterable[Any]:
    """The results of one element."""
    fn = step.fn
    match step.kind:
        case "map":
            return (fn(row, *sides),)
        case "flat_map":
            return fn(row, *sides)  # type: ignore[no-any-return]
        case "filter":
            return (row,) if fn(row, *sides) else ()
        case "map_columns":
            return ({**row, **fn({name: row[name] for name in step.arg}, *sides)},)
        case "map_values":
            return ((row[0], fn(row[1], *sides)),)
        case "map_groups":
            return ((row[0], fn(row[0], row[1], *sides)),)
        case "key_by":
            return ((fn(row, *sides), row),)
        case "pair_with":
            return ((row, step.arg),)
        case "keys":
            return (row[0],)
        case "values":
            return (row[1],)
        case "swap":
            return ((row[1], row[0]),)
        case _:
            raise AssertionError(step.kind)


def _view(node: View, rows: list[Any]) -> Any:
    rows = rows[: node.limit] if node.limit is not None else rows
    match node.kind:
        case "list" | "iterable" | "stored":
            return list(rows)
        case "dict":
            return dict(rows)
        case _:
            if len(rows) > 1:
                raise ValueError(f"a single value was expected, and there are {len(rows)}")
            return rows[0] if rows else node.default() if node.default else None
