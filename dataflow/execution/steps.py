"""Running steps: batches in, batches out, in bounded pieces.

A step runs over a batch inside C loops (``list.extend(map(fn, rows))``), several times faster than a Python loop per
element. Nothing is lost by that: when the function raises, the iterator over the rows knows how many it has handed
out, so the failing record is at hand, and with ``on_error="skip"`` the loop goes on behind it.

Output is cut into pieces of about `TARGET` bytes (`_Pacer`), so that one record that becomes ten million never stands
in memory as ten million.

    Flow.push(batch) ─> step 0 ─> step 1 ─> … ─> branches (by tag) and leaves
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import length_hint
from time import perf_counter
from typing import Any, Protocol

import pyarrow as pa

from dataflow.errors import DataflowError
from dataflow.execution.context import TaskContext
from dataflow.execution.failures import step_error
from dataflow.kernels.known_functions import known_flat_map, known_map
from dataflow.physical.program import BoundStep, Branch
from dataflow.shard.batch import Batch, NotPairs, Pairs, Rows, Same, Values, raw_pairs
from dataflow.shard.size import estimated_bytes

__all__ = ["Flow", "Taker", "build_flow"]

TARGET = 4 << 20
FIRST_ROWS = 1024
MOST_ROWS = 65_536
ONE_TO_ONE = ("map", "map_values", "key_by", "pair_with", "keys", "values", "swap", "number", "combine", "merge")


class Taker(Protocol):
    """What stands at the end of a flow: a leaf of the program."""

    def push(self, batch: Batch) -> None: ...


class _Pacer:
    """How many rows the next piece of output may have, from the size of the last."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = FIRST_ROWS

    def learn(self, piece: list[Any]) -> None:
        size = estimated_bytes(piece) / len(piece)
        self.rows = max(1, min(MOST_ROWS, int(TARGET / max(size, 1)), self.rows * 8))


class Runner:
    """One step of one attempt."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        self.step, self.context, self.path, self.before = bound.step, context, path, before
        self.stats = context.step(bound.step.label)
        self.sides = tuple(context.sides[name] for name in bound.sides)
        self.fn: Callable[..., Any] = self._bound(bound.step.fn)
        self.seen, self.generation = 0, -1

    def _bound(self, fn: Any) -> Any:
        if not self.sides:
            return fn
        sides = self.sides
        return lambda element: fn(element, *sides)

    def start(self) -> Iterator[tuple[Batch, str | None]]:
        """What the step gives before any element."""
        return iter(())

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        """The outputs of a batch, each with its tag."""
        raise NotImplementedError

    def finish(self) -> Iterator[tuple[Batch, str | None]]:
        """What the step gives after all elements."""
        return iter(())

    def begin(self, batch: Batch) -> None:
        """Count the elements since the current root batch began; errors need their numbers."""
        if self.generation != self.context.generation:
            self.seen, self.generation = 0, self.context.generation
        self.stats.rows_in += len(batch)

    def failed(self, error: Exception, record: Any, index: int) -> None:
        """A record failed: skip it if the step says so, else raise the report."""
        row = self._root_row(self.seen + index)
        if self.step.on_error.skip and not isinstance(error, DataflowError):
            self.context.skip(self.step, record, error, row)
            return
        place = self.context.place
        where = place.of(self.context.root_offset + row) if place and row is not None else self.context.whereabouts()
        raise step_error(self.step, error, record, where, self.context, self.path) from error

    def _root_row(self, ordinal: int) -> int | None:
        """Which row of the root batch the step's ``ordinal``-th element came from; None where that cannot be known."""
        if all(r.step.kind in ONE_TO_ONE for r in self.before):
            return ordinal
        root = self.context.root
        if root is None or not all(r.step.kind in (*ONE_TO_ONE, "filter", "flat_map") for r in self.before):
            return None
        count = 0
        for row, element in enumerate(root.rows()):
            try:
                count += sum(1 for _ in _replay(self.before, element))
            except Exception:  # a record that an earlier step skipped
                continue
            if count > ordinal:
                return row
        return None


def _replay(runners: tuple[Runner, ...], element: Any) -> Iterable[Any]:
    elements: Iterable[Any] = (element,)
    for runner in runners:
        match runner.step.kind:
            case "filter":
                elements = filter(runner.fn, elements)
            case "flat_map":
                elements = chain.from_iterable(map(runner.fn, elements))
            case "map":
                elements = map(runner.fn, elements)
            case "map_values":
                elements = ((k, runner.fn(v)) for k, v in elements)
            case "key_by":
                elements = ((runner.fn(x), x) for x in elements)
            case "keys":
                elements = (k for k, _ in elements)
            case "values":
                elements = (v for _, v in elements)
            case "swap":
                elements = ((v, k) for k, v in elements)
            case _:
                elements = list(elements)
    return elements


class _Elementwise(Runner):
    """map, filter, flat_map: one C loop over the rows of a batch."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        super().__init__(bound, context, path, before)
        self.pacer = _Pacer()
        self.kernel = None
        if not self.sides:
            known = {"flat_map": known_flat_map, "map": known_map}.get(self.step.kind)
            self.kernel = known(self.step.fn) if known else None

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        if self.kernel is not None and (done := self.kernel(batch)) is not None:
            self.stats.rows_out += len(done)
            self.seen += len(batch)
            yield done, None
            return
        for piece in self.pieces(batch.rows()):
            yield Rows(piece), None
        self.seen += len(batch)

    def pieces(self, rows: Sequence[Any]) -> Iterator[list[Any]]:
        """The results of the function over the rows, in bounded pieces."""
        hands = iter(rows)
        ended = _Ended()
        stream = self._stream(chain(hands, ended.mark()))
        while True:
            out: list[Any] = []
            try:
                out.extend(islice(stream, self.pacer.rows))
                if len(out) < self.pacer.rows and not ended.reached:
                    raise RuntimeError("the function raised StopIteration")  # it would end the loop as if no rows were left
            except Exception as error:
                self._error(error, rows, hands)
                stream = self._stream(chain(hands, ended.mark()))
            except SystemExit as error:
                self._error(RuntimeError(f"the function called sys.exit({error.code})"), rows, hands)
                stream = self._stream(chain(hands, ended.mark()))
            if out:
                self.stats.rows_out += len(out)
                self.pacer.learn(out)
                yield out
            if ended.reached:
                return

    def _error(self, error: Exception, rows: Sequence[Any], hands: Iterator[Any]) -> None:
        index = max(0, len(rows) - length_hint(hands) - 1)
        self.failed(error, rows[index], index)

    def _stream(self, hands: Iterator[Any]) -> Iterator[Any]:
        match self.step.kind:
            case "map":
                return map(self.fn, hands)
            case "filter":
                return filter(self.fn, hands)
            case _:
                found = map(self.fn, hands)
                # when records may be skipped, none of a failing record's outputs may have left already
                return chain.from_iterable(map(list, found) if self.step.on_error.skip else found)


class _Ended:
    """Tells a loop that ended because the rows did from one that ended because the function raised StopIteration."""

    reached = False

    def mark(self) -> Iterator[Any]:
        self.reached = True
        return
        yield


class _OnPairs(_Elementwise):
    """map_values and key_by: keys and values stay two columns unless a record is skipped."""

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        if self.step.kind == "key_by":
            rows = batch.rows()
            keys: Sequence[Any] = ()
        else:
            keys, rows = _pairs_of(self, batch)  # type: ignore[assignment]
        if self.step.on_error.skip:
            for piece in self._one_by_one(rows, keys):
                yield Rows(piece), None
        else:
            done = 0
            for piece in self.pieces(rows):
                part = slice(done, done + len(piece))
                yield (Pairs(piece, rows[part]) if self.step.kind == "key_by" else Pairs(keys[part], piece)), None
                done += len(piece)
        self.seen += len(batch)

    def _one_by_one(self, rows: Sequence[Any], keys: Sequence[Any]) -> Iterator[list[Any]]:
        out: list[Any] = []
        for index, element in enumerate(rows):
            try:
                found = self.fn(element)
            except Exception as error:
                self.failed(error, (keys[index], element) if keys else element, index)
                continue
            out.append((found, element) if self.step.kind == "key_by" else (keys[index], found))
        self.stats.rows_out += len(out)
        yield out

    def _stream(self, hands: Iterator[Any]) -> Iterator[Any]:
        return map(self.fn, hands)


class _Shape(Runner):
    """keys, values, swap, pair_with, number: no function of the user's."""

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        self.stats.rows_out += len(batch)
        kind = self.step.kind
        out: Batch
        if kind == "pair_with":
            items: Any = batch.array if isinstance(batch, Values) else batch.rows()
            out = Pairs(items, Same(self.step.arg, len(batch)))
        elif kind == "number":
            if self.draw is None:
                self.draw = self.context.random()
            rank = self.draw.getrandbits
            out = Rows([(rank(62), row) for row in batch.rows()])
        else:
            keys, values = _pairs_of(self, batch, raw=True)
            found = keys if kind == "keys" else values
            if kind == "swap":
                out = Pairs(values, keys)
            elif isinstance(found, pa.Array):
                out = Values(found)
            else:
                out = Rows(found if isinstance(found, list) else list(found))
        self.seen += len(batch)
        yield out, None

    draw: random.Random | None = None


def _pairs_of(runner: Runner, batch: Batch, raw: bool = False) -> tuple[Sequence[Any], Sequence[Any]]:
    try:
        return raw_pairs(batch) if raw else batch.pairs()
    except NotPairs as error:
        runner.failed(TypeError(f"{error} (make pairs with key_by, or return a tuple of two)"), error.element, error.index)
        raise


class _Combine(Runner):
    """combine and merge: an aggregator over the values of each group."""

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        keys, groups = _pairs_of(self, batch)
        aggregator = self.step.arg
        results = []
        for index, (key, values) in enumerate(zip(keys, groups, strict=True)):
            try:
                if self.step.kind == "merge":
                    acc = aggregator.create()
                    for other in values:
                        acc = aggregator.merge(acc, other)
                else:
                    acc = aggregator.add_all(aggregator.create(), values)
                results.append(aggregator.present(acc))
            except Exception as error:
                self.failed(error, (key, values), index)
        self.stats.rows_out += len(results)
        self.seen += len(batch)
        yield Pairs(keys, results), None


class _Do(Runner):
    """A DoFn: set up once in a process, bundles per task, tagged outputs."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        super().__init__(bound, context, path, before)
        self.dofn = bound.step.fn
        self.fn = self._bound(self.dofn.process)
        self.pacer = _Pacer()
        self.tagged: dict[str, list[Any]] = {}

    def start(self) -> Iterator[tuple[Batch, str | None]]:
        yield from self._call("start_bundle")

    def finish(self) -> Iterator[tuple[Batch, str | None]]:
        yield from self._call("finish_bundle")

    def _call(self, name: str) -> Iterator[tuple[Batch, str | None]]:
        method = getattr(self.dofn, name, None)
        if method is None:
            return
        try:
            found = method()
            out = list(found) if found is not None else []
        except Exception as error:
            raise step_error(self.step, error, f"<{name}>", "", self.context, self.path) from error
        yield from self._sorted_out(out)

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        out: list[Any] = []
        for index, element in enumerate(batch.rows()):
            kept = len(out)
            try:
                found = self.fn(element)
                if found is None:
                    continue
                if self.step.on_error.skip:
                    out.extend(list(found))
                    continue
                if isinstance(found, (str, bytes)):
                    raise TypeError(f"process returned a {type(found).__name__}, which would be taken apart; return a list of results")
                stream = iter(found)
                while len(out) - kept < self.pacer.rows:
                    room = self.pacer.rows - (len(out) - kept)
                    part = list(islice(stream, room))
                    out.extend(part)
                    if len(part) < room:
                        break
                    yield from self._sorted_out(out)
                    out, kept = [], 0
            except DataflowError:
                raise
            except (Exception, SystemExit) as error:
                del out[kept:]
                self.failed(error if isinstance(error, Exception) else RuntimeError(f"process called sys.exit({error.code})"), element, index)
                continue
            if len(out) >= self.pacer.rows:
                yield from self._sorted_out(out)
                out = []
        if out:
            yield from self._sorted_out(out)
        self.seen += len(batch)

    def _sorted_out(self, out: list[Any]) -> Iterator[tuple[Batch, str | None]]:
        """The main output and the tagged ones apart."""
        if not out:
            return
        self.pacer.learn(out)
        self.stats.rows_out += len(out)
        if not self.step.tags:
            stray = next((x for x in out if is_tagged(x)), None)
            if stray is not None:
                error = TypeError(f"an output tagged {stray.tag!r}, which parallel_do was not told of (tags=[{stray.tag!r}])")
                raise step_error(self.step, error, stray.value, self.context.whereabouts(), self.context, self.path)
            yield Rows(out), None
            return
        parts: dict[str | None, list[Any]] = {}
        for item in out:
            tag = item.tag if is_tagged(item) else None
            if tag is not None and tag not in self.step.tags:
                error = TypeError(f"an output tagged {tag!r}; the declared tags are {', '.join(self.step.tags)}")
                raise step_error(self.step, error, item.value, self.context.whereabouts(), self.context, self.path)
            parts.setdefault(tag, []).append(item.value if tag is not None else item)
        for tag, items in parts.items():
            yield Rows(items), tag


def is_tagged(item: Any) -> bool:
    """Whether an output is one of ours or Beam's tagged outputs, known by name and shape."""
    return type(item).__name__ in ("Tagged", "TaggedOutput") and hasattr(item, "tag") and hasattr(item, "value")


class _Batches(Runner):
    """map_batches: rows gathered to the asked size, in the asked format."""

    def __init__(self, bound: BoundStep, context: TaskContext, path: tuple[str, ...], before: tuple[Runner, ...]) -> None:
        super().__init__(bound, context, path, before)
        self.held: list[Batch] = []
        self.rows = 0

    def apply(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        self.begin(batch)
        self.seen += len(batch)
        size = self.step.batch_size
        if size is None:
            yield from self._run(batch)
            return
        self.held.append(batch)
        self.rows += len(batch)
        while self.rows >= size:
            yield from self._run(self._take(size))

    def finish(self) -> Iterator[tuple[Batch, str | None]]:
        if self.rows:
            yield from self._run(self._take(self.rows))

    def _take(self, size: int) -> Batch:
        from dataflow.execution.formats import joined

        parts: list[Batch] = []
        need = size
        while need:
            head = self.held[0]
            if len(head) <= need:
                parts.append(self.held.pop(0))
                need -= len(head)
            else:
                parts.append(head.slice(0, need))
                self.held[0] = head.slice(need, len(head))
                need = 0
        self.rows -= size
        return joined(parts)

    def _run(self, batch: Batch) -> Iterator[tuple[Batch, str | None]]:
        from dataflow.execution.formats import from_format, to_format

        if not len(batch):
            return
        try:
            given = to_format(batch, self.step.arg)
            found = self.fn(given)
            results = itertools.chain((found,)) if not hasattr(found, "__next__") else found
            for result in results:
                out = from_format(result)
                self.stats.rows_out += len(out)
                yield out, None
        except DataflowError:
            raise
        except Exception as error:
            if self.step.on_error.skip:
                for record in batch.rows():
                    self.context.skip(self.step, record, error, None)
                return
            sample = batch.rows()[0] if len(batch) else None
            raise step_error(self.step, error, sample, self.context.whereabouts(), self.context, self.path) from error


def _runner(bound: BoundStep) -> type[Runner]:
    match bound.step.kind:
        case "map" | "filter" | "flat_map":
            return _Elementwise
        case "map_values" | "key_by":
            return _OnPairs
        case "keys" | "values" | "swap" | "pair_with" | "number":
            return _Shape
        case "combine" | "merge":
            return _Combine
        case "do":
            return _Do
        case "map_batches":
            return _Batches


class Flow:
    """A branch of a program at work."""

    def __init__(self, runners: list[Runner], leaves: list[Taker], branches: dict[str | None, list[Flow]]) -> None:
        self.runners, self.leaves, self.branches = runners, leaves, branches

    def push(self, batch: Batch) -> None:
        """Run a batch through everything below."""
        self._run(batch, 0)

    def start(self) -> None:
        """Begin the bundle of every step."""
        for index, runner in enumerate(self.runners):
            for batch, tag in runner.start():
                self._pass_on(batch, tag, index)
        for flow in self._flows():
            flow.start()

    def finish(self) -> None:
        """End the bundle of every step, first step first, so that what one still gives reaches the next."""
        for index, runner in enumerate(self.runners):
            for batch, tag in runner.finish():
                self._pass_on(batch, tag, index)
        for flow in self._flows():
            flow.finish()

    def _flows(self) -> Iterator[Flow]:
        return chain.from_iterable(self.branches.values())

    def _run(self, batch: Batch, index: int) -> None:
        if index == len(self.runners):
            for leaf in self.leaves:
                leaf.push(batch)
            for flow in self.branches.get(None, ()):
                flow.push(batch)
            return
        runner = self.runners[index]
        outputs = runner.apply(batch)
        spent = 0.0
        while True:
            begun = perf_counter()
            found = next(outputs, None)
            spent += perf_counter() - begun
            if found is None:
                break
            self._pass_on(*found, index)
        runner.stats.seconds += spent

    def _pass_on(self, batch: Batch, tag: str | None, index: int) -> None:
        if tag is None:
            self._run(batch, index + 1)
        else:
            for flow in self.branches.get(tag, ()):
                flow.push(batch)


def build_flow(branch: Branch, takers: Sequence[Taker], context: TaskContext, label: str, before: tuple[Runner, ...] = (), path: tuple[str, ...] = ()) -> Flow:  # fmt: skip
    """The runners of a branch and all below it."""
    path = path or (label,)
    runners: list[Runner] = []
    for bound in branch.steps:
        path = (*path, bound.step.label)
        runner = _runner(bound)(bound, context, path, (*before, *runners))
        runners.append(runner)
    below = (*before, *runners)
    branches: dict[str | None, list[Flow]] = {}
    for inner in branch.branches:
        branches.setdefault(inner.tag, []).append(build_flow(inner, takers, context, label, below, path))
    return Flow(runners, [takers[i] for i in branch.leaves], branches)


