"""Pipeline: what runs collections; where they come from is in `reading`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, TypeVar

from dataflow.api.building import Labels, plan_error
from dataflow.api.collection import PCollection
from dataflow.api.pobject import PObject, operate_node
from dataflow.api.reading import Reading
from dataflow.api.results import analyzed, explained, looked_at
from dataflow.api.settings import settings
from dataflow.collector import patient_collector
from dataflow.errors import DataflowError
from dataflow.plan.nodes import Node, Write

__all__ = ["Pipeline"]

T = TypeVar("T")
U = TypeVar("U")


class Pipeline(Reading):
    """A deferred pipeline: collections are described with it, and nothing happens until something runs.

    ``options`` are defaults for `run`, `collect` and the like: see `run`.

    >>> p = Pipeline("word-count")
    >>> counts = p.create(["to be", "or not to be"]).flat_map(str.split).count()
    >>> sorted(counts.collect())
    [('be', 2), ('not', 1), ('or', 1), ('to', 2)]
    """

    def __init__(self, name: str = "pipeline", **options: Any) -> None:
        self.name, self.options = name, options
        self.labels = Labels()
        self.outputs: list[Write] = []
        self._tried: dict[Write, bool] = {}  # those that have run, and whether well
        self.measured = ""  # the passes and steps of the last run that looked at a collection
        self._columns: dict[int, Any] = {}
        self._tables: dict[int, Node] = {}

    def sql(self, text: str, /, **tables: Any) -> PCollection[dict[str, Any]]:
        """The records of a SELECT over tables named by keyword: collections of records, paths to read, or what speaks Arrow, such as a
        data frame.

        >>> p = Pipeline()
        >>> orders = p.create([{"who": "ann", "price": 3}, {"who": "bob", "price": 4}, {"who": "ann", "price": 5}])
        >>> p.sql("select who, sum(price) as spent from orders group by who order by spent desc", orders=orders).collect()
        [{'who': 'ann', 'spent': 8}, {'who': 'bob', 'spent': 4}]
        """
        from dataflow.api.querying import query

        return query(self, text, tables)

    def operate(self, fn: Callable[..., U], *args: PObject[Any], label: str | None = None) -> PObject[U]:
        """``fn`` of the values of PObjects, run once inside the pipeline."""
        return operate_node(self, fn, args, label)

    def columns(self, node: Node) -> dict[str, Any] | None:
        """Names and types of a node's columns, read from metadata once; None where only the data will tell."""
        from dataflow.api.schemas import columns_known

        return columns_known(node, self._columns)

    def remember(self, node: Node, columns: dict[str, Any]) -> None:
        """The columns of a node of which its own step does not tell them."""
        self._columns[id(node)] = (node, columns)

    def written(self, node: Node) -> dict[str, Any] | None:
        """Names and types of the columns of files that a node is written to; None where only the data will tell."""
        from dataflow.api.schemas import columns_written

        return columns_written(node, self._columns)

    def table(self, node: Node) -> Node:
        """A node of records as relational steps take it: with its columns, where they are known; made once."""
        from dataflow.plan.nodes import Relation
        from dataflow.plan.relational import Table

        schema = self.columns(node) if not isinstance(node, Relation) else None
        if schema is None:
            return node
        if id(node) not in self._tables:
            label = self.labels.unique(f"{node.label} table")
            self._tables[id(node)] = Table(label=label, origin=node.origin, element=node.element, schema=schema, input=node)
        return self._tables[id(node)]

    # -- running

    def run(self, runner: str | Any | None = None, **options: Any) -> Any:
        """Run the pipeline's writes and commit them together; gives a `RunResult`.

        >>> import tempfile
        >>> p = Pipeline()
        >>> p.create([{"n": 1}]).write_parquet(tempfile.mkdtemp() + "/numbers")
        >>> p.run(progress=False).outputs[0].rows
        1

        A write that has run is not run again with those that are declared after it, as in the cells of a notebook; where there are no
        others, all run once more. One that failed is tried again, unless another to the same place took its place.

        ``runner``: the name of an installed runner ("local" is the default), or an object with ``run(plan)``. Options
        of the local runner: ``memory="8GiB"``, ``workers=4``, ``mode="auto" | "in_process" | "processes"``,
        ``spill_folders=[…]``, ``skipped_to="folder"``, ``task_timeout=600`` (seconds), ``progress=False``,
        ``check_determinism=0.01`` (that share of the tasks runs twice and is compared).
        """
        if not self.outputs:
            raise plan_error("the pipeline writes nothing", hint="add a write_…, or use collect() to look at a collection")
        plan = self._due()
        if settings.explain is not None:
            settings.explain(explained(plan, cut=self.placing(options)))
        try:
            self._tried.update(dict.fromkeys(plan, False))
            result = self._runner(runner, options).run(plan)
            settings.skipped += getattr(result, "skipped", 0)
            self._tried.update(dict.fromkeys(plan, True))
        except KeyboardInterrupt as stop:
            raise _stopped(stop) from None
        except DataflowError as error:
            raise _in_short(error)  # noqa: B904 - it is that error
        if settings.finished is not None:
            settings.finished(result)
        return result

    def add_output(self, output: Write) -> None:
        """Have a write run with the next `run`; what the ``write_…`` of collections call."""
        failed = {one for one, well in self._tried.items() if not well and one.sink.path == output.sink.path}
        self.outputs = [*(one for one in self.outputs if one not in failed), output]

    def _due(self) -> tuple[Write, ...]:
        """The writes that `run` would run."""
        return tuple(one for one in self.outputs if not self._tried.get(one)) or tuple(self.outputs)

    @contextmanager
    def evaluate(self, plan: tuple[Node, ...], options: dict[str, Any]) -> Generator[list[Any]]:
        """Run a plan of views and give their values; what `collect` and `get` use."""
        if settings.explain is not None:
            settings.explain(explained(plan, cut=self.placing(options)))
        options = dict(options)
        runner = self._runner(options.pop("runner", None), options)
        with ExitStack() as stack:
            try:
                values = stack.enter_context(runner.evaluate(plan))
            except KeyboardInterrupt as stop:
                raise _stopped(stop) from None
            except DataflowError as error:
                raise _in_short(error)  # noqa: B904 - it is that error
            result = getattr(runner, "result", None)
            self.measured = result.measured() if result is not None else ""
            settings.skipped += getattr(result, "skipped", 0)
            yield values

    def explain(self, form: str = "text", *, analyze: bool = False, **options: Any) -> str:
        """The plan of the writes that `run` would run, as "text" (logical, optimized, stages, and why), "mermaid" or "svg".

        ``options``: as of `run`. ``analyze``: run it up to the writes, which are left out, and add what was measured; see
        `PCollection.explain`.
        """
        if not analyze:
            return explained(self._due(), form, self.placing(options))
        views = [looked_at(self, node, output.origin) for output in self._due() for node in output.inputs]
        return analyzed(self, tuple(views), form, options)

    def placing(self, options: dict[str, Any]) -> Any:
        """The rule by which the runner would place queries, None if it has none."""
        options = dict(options)
        runner = self._runner(options.pop("runner", None), options)
        return runner.rule() if hasattr(runner, "rule") else None

    def _runner(self, runner: str | Any | None, options: dict[str, Any]) -> Any:
        chosen = runner or settings.runner or self.options.get("runner") or "local"
        if not isinstance(chosen, str):
            return chosen
        load = _runner_class(chosen)
        own = {name: value for name, value in self.options.items() if name != "runner"}
        try:
            return load(**{**own, **options, **settings.options})
        except (TypeError, ValueError) as error:
            raise plan_error(f"the {chosen} runner cannot take these options: {error}") from error

    def __repr__(self) -> str:
        return f"<Pipeline {self.name!r} with {len(self.outputs)} writes>"

    def _repr_html_(self) -> str:
        return self.explain("svg") if self.outputs else repr(self)


def _stopped(stop: KeyboardInterrupt) -> KeyboardInterrupt:
    """Ctrl-C as the script sees it: the same words, without the frames of whatever the engine was at just then."""
    return KeyboardInterrupt(*stop.args)


def _in_short(error: DataflowError) -> DataflowError:
    """An error as the script sees it, likewise."""
    from dataflow.api.tracebacks import in_short

    return in_short(error)


def _runner_class(name: str) -> Any:
    """The class of a runner, by its entry point; our own by their known place, which saves reading all packages' metadata."""
    if name in ("local", "ray", "reference"):
        with patient_collector():
            return getattr(import_module(f"runners.{name}"), f"{name.title()}Runner")
    from importlib.metadata import entry_points

    known = {point.name: point for point in entry_points(group="dataflow.runners")}
    if name not in known:
        raise plan_error(f"there is no runner {name!r}", hint=f"installed: {', '.join(sorted(known))}")
    return known[name].load()
