"""Looking at a collection: collect, head, show, Arrow, pandas, Polars, and notebooks."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.api.base import Deferred
from dataflow.collector import patient_collector
from dataflow.plan.explain import as_mermaid, as_svg, as_text
from dataflow.plan.nodes import Node, View, ViewKind
from dataflow.plan.origin import Origin, caller
from dataflow.plan.types import show as show_type

if TYPE_CHECKING:
    from dataflow.api.pipeline import Pipeline

__all__ = ["Results", "analyzed", "explained", "looked_at"]

T = TypeVar("T")
PREVIEW_BYTES = 64 << 20


class Results(Deferred[T]):
    """The part of `PCollection` that runs the pipeline to look at elements."""

    @contextmanager
    def _elements(self, limit: int | None, options: dict[str, Any], kind: ViewKind = "list") -> Generator[Any]:
        with patient_collector():
            label = self.pipeline.labels.unique("view")
            view = View(label=label, origin=caller(), element=self.node.element, input=self.node, kind=kind, limit=limit)
            with self.pipeline.evaluate((view,), options) as (elements,):
                yield elements

    def collect(self, **options: Any) -> list[T]:
        """Run what leads here and give all elements as a list; in order after `sort`, else in no promised order.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([3, 1, 2]).sort().collect()
        [1, 2, 3]
        """
        with self._elements(None, options) as elements:
            return list(elements)

    def head(self, n: int = 10, **options: Any) -> list[T]:
        """Up to ``n`` elements, from the first tasks alone where that is enough.

        >>> from dataflow import Pipeline
        >>> Pipeline().create(range(1000)).head(3)
        [0, 1, 2]
        """
        if n < 0:
            raise ValueError(f"head takes a number of elements that is not negative, not {n}")
        with self._elements(n, options) as elements:
            return list(elements)[:n]

    def show(self, n: int = 10, **options: Any) -> None:
        """Print the first ``n`` elements as a table.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]).show()
        a  b
        -  -
        1  x
        2  y
        """
        print(_text_table(self.head(n, **options)))

    def to_arrow(self, **options: Any) -> Any:
        """All elements as a ``pyarrow.Table``: a record's keys, ``key`` and ``value`` of pairs, or one column ``value``.

        >>> from dataflow import Pipeline
        >>> Pipeline().create([("a", 1)]).to_arrow().to_pylist()
        [{'key': 'a', 'value': 1}]
        """
        import pyarrow as pa

        from dataflow.io.schema import conform, table_of, unify
        from dataflow.shard.batch import Rows
        from dataflow.shard.codec import decode_batch
        from dataflow.shard.runfile import read_block

        with self._elements(None, options) as elements:
            if isinstance(elements, list):  # of a runner that keeps no files
                empty = self._nothing()
                declared = {field.name: field.type for field in empty.schema}
                return table_of(Rows(elements), declared) if elements else empty
            batches = [decode_batch(read_block(file, block)) for file in elements.files for block in file.blocks]
            tables = [table_of(batch) for batch in batches if len(batch)]
        if not tables:
            return self._nothing()
        schema = unify([("an earlier batch", table.schema.remove_metadata()) for table in tables])
        return pa.concat_tables([conform(table, schema) for table in tables])

    def _nothing(self) -> Any:
        """A table of no rows, with the columns that are known."""
        import pyarrow as pa

        known = self.pipeline.written(self.node)
        if not known:
            return pa.table({})
        from dataflow.kernels.types import to_arrow

        return pa.schema([(name, to_arrow(kind)) for name, kind in known.items()]).empty_table()

    def to_pandas(self, **options: Any) -> Any:
        """All elements as a pandas DataFrame. Needs pandas."""
        return self.to_arrow(**options).to_pandas()

    def to_polars(self, **options: Any) -> Any:
        """All elements as a Polars DataFrame. Needs Polars."""
        import polars

        table = self.to_arrow(**options)
        if "" not in table.column_names:
            return polars.from_arrow(table)
        numbered = [str(at) for at in range(table.num_columns)]  # a column without a name would get one there
        frame: Any = polars.from_arrow(table.rename_columns(numbered))
        return frame.rename(dict(zip(numbered, table.column_names, strict=True)))

    def to_ray(self, *, address: str | None = None, **options: Any) -> Any:
        """All elements as a ``ray.data.Dataset``, on a Ray cluster if nothing else is said. Needs the extra ``ray``.

        >>> dataset = Pipeline().read_parquet("orders/").filter(col("price") > 100).to_ray()  # doctest: +SKIP

        A block is what one task of the last pass gave, made from its file on the machine where that lies. The columns are those of
        `to_arrow`. ``address`` and ``options``: as of `Pipeline.run`.
        """
        from dataflow.api.ray_data import ray_data

        there = {"runner": "ray", "address": address} if options.get("runner", "ray") == "ray" else {}
        datasets = ray_data()
        with self._elements(None, {**options, **there}, "stored") as elements:
            tables = datasets.stored_tables(elements.files, address)
        return datasets.dataset_of(tables, self._nothing)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The elements for any library that speaks the Arrow stream interface: ``polars.from_arrow(collection)``."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def explain(self, form: str = "text", *, analyze: bool = False, **options: Any) -> str:
        """The plan that leads here: as "text" (logical, optimized, stages, and why), "mermaid" or "svg".

        Beside a step on columns stands how many records it is expected to give, where its inputs' metadata tell. ``options`` are those
        of `Pipeline.run`; ``placement`` and ``memory`` decide how queries are cut. ``analyze``: run it too, count the records of each
        step of a query that runs whole beside what was expected, and add rows, bytes, seconds, spill and peak memory of every pass and
        step.
        """
        view = looked_at(self.pipeline, self.node, caller())
        return analyzed(self.pipeline, (view,), form, options) if analyze else explained((view,), form, self.pipeline.placing(options))

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}[{show_type(self.node.element)}] {self.node.label!r}, not computed: use collect(), head() or a write>"
        )

    def _repr_html_(self) -> str:
        """For notebooks: the type, the plan, and the first rows where they are cheap (small inputs, no shuffle)."""
        from html import escape  # 6 ms, and only a notebook needs it

        parts = [f"<b>{type(self).__name__}</b>[{escape(show_type(self.node.element))}] <code>{escape(self.node.label)}</code>"]
        parts.append(f"<details><summary>plan</summary>{as_svg((self.node,))}</details>")
        try:
            rows = self._cheap_rows()
            parts.append(_html_table(rows) if rows is not None else "<i>not computed: use .show(), .head() or a write</i>")
        except Exception as error:  # a preview must never be the thing that fails
            parts.append(f"<i>not computed: {escape(str(error).splitlines()[0] if str(error) else type(error).__name__)}</i>")
        return "\n".join(parts)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_(), "text/vnd.mermaid": as_mermaid((self.node,))}

    def _cheap_rows(self) -> list[Any] | None:
        from dataflow.plan.nodes import GroupByKey, Read, Redistribute, Sort
        from dataflow.plan.traversal import topological

        size = 0
        for node in topological((self.node,)):
            if isinstance(node, (GroupByKey, Sort, Redistribute)):
                size += 1 << 20
            if isinstance(node, Read) and hasattr(node.source, "files"):
                size += sum(info.size for info in node.source.files())  # type: ignore[attr-defined]
        if size > PREVIEW_BYTES:
            return None
        return self.head(5, progress=False)


class Explanation(str):
    """A plan as text. At the end of a notebook's cell it is shown line by line, or as the drawing it is, and not in quotes."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str | None:
        return str(self) if self.startswith("<svg") else None


def explained(plan: tuple[Node, ...], form: str = "text", cut: Any = None, counting: bool = False) -> str:
    """A plan for people; see `PCollection.explain`. ``counting``: run its queries, to count the records of their steps."""
    if form == "mermaid":
        return Explanation(as_mermaid(plan))
    if form == "svg":
        return Explanation(as_svg(plan))
    if form != "text":
        raise ValueError(f'explain gives "text", "mermaid" or "svg", not {form!r}')
    from dataflow.io.listings import one_listing
    from dataflow.optimizer.estimates import estimate_notes
    from dataflow.optimizer.optimize import optimize
    from dataflow.optimizer.rule import Remarks
    from dataflow.physical.explain import stages_text
    from dataflow.physical.stages import plan_phases

    remarks = Remarks()
    with one_listing():
        better = optimize(plan, remarks, cut=cut)
        notes = estimate_notes(better, _counted(better) if counting else None)
        lines = ["== Logical", as_text(plan), "", "== Optimized", as_text(better, notes), "", "== Stages", stages_text(plan_phases(better))]
    if remarks.lines:
        lines += ["", "== Why", *remarks.lines]
    return Explanation("\n".join(lines))


def looked_at(pipeline: Pipeline, node: Node, origin: Origin) -> View:
    """The end of a plan that would give a node's elements, which nobody reads, and writes nothing."""
    return View(label=pipeline.labels.unique("view"), origin=origin, element=node.element, input=node, kind="stored")


def analyzed(pipeline: Pipeline, views: tuple[Node, ...], form: str, options: dict[str, Any]) -> str:
    """A plan of views for people, with what running it has shown."""
    with pipeline.evaluate(views, options):
        pass
    text = explained(views, form, pipeline.placing(options), counting=True)
    measured = pipeline.measured or "the runner measures nothing"
    return Explanation(f"{text}\n\n== Measured\n{measured}") if form == "text" else text


def _counted(plan: tuple[Node, ...]) -> dict[int, int]:
    """The records of each step of the queries that read files or tables, and call no Python function: that would be called twice."""
    from dataflow.execution.queries import count_records
    from dataflow.expr.nodes import has_apply
    from dataflow.plan.nodes import Query, Read
    from dataflow.plan.relational import expressions_of
    from dataflow.plan.traversal import topological

    found: dict[int, int] = {}
    for node in topological(plan):
        if isinstance(node, Query):
            exprs = [expr for one in topological((node.root,)) for expr in expressions_of(one)]
            sources: list[Any] = [one.source for one in node.sources if isinstance(one, Read)]
            if len(sources) == len(node.sources) and not any(map(has_apply, exprs)):
                found.update(count_records(node.root, sources))
    return found


def _cells(rows: list[Any]) -> tuple[list[str], list[list[str]]]:
    from dataflow.errors import shorten

    def cell(value: Any) -> str:
        return value if isinstance(value, str) and len(value) <= 60 and value.isprintable() else shorten(value, 60)

    if rows and all(isinstance(row, dict) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        return names, [[cell(row.get(name)) for name in names] for row in rows]
    if rows and all(isinstance(row, tuple) and len(row) == 2 for row in rows):
        return ["key", "value"], [[cell(row[0]), cell(row[1])] for row in rows]
    return ["value"], [[cell(row)] for row in rows]


def _text_table(rows: list[Any]) -> str:
    names, cells = _cells(rows)
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    lines = [names, ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def _html_table(rows: list[Any]) -> str:
    names, cells = _cells(rows)
    from html import escape

    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in line) + "</tr>" for line in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
