"""SQL over collections: `Pipeline.sql` gives the text to `dataflow.sql`, and its errors the place in the text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflow.api.building import plan_error
from dataflow.errors import DataflowError, PlanError, Report
from dataflow.plan.nodes import Read
from dataflow.plan.origin import Origin, caller
from dataflow.plan.traversal import topological

if TYPE_CHECKING:
    from dataflow.api.collection import PCollection
    from dataflow.api.pipeline import Pipeline

__all__ = ["query"]


def _check_files(name: str, table: PCollection[Any], origin: Origin) -> None:
    """Say which files of a table cannot be read, where that is why its columns are not known."""
    for node in topological((table.node,)):
        if not isinstance(node, Read):
            continue
        source: Any = node.source
        try:
            reports = source.check()
            if not reports and source.has_columns:
                source.columns()
        except (DataflowError, OSError, ValueError, ImportError) as error:
            reports = [error.report if isinstance(error, DataflowError) else Report(str(error))]
        if reports:
            first = reports[0]
            sentence = f"the table {name!r} cannot be read: {first.sentence}"
            raise PlanError(replace(first, sentence=sentence, declared=str(origin), declared_text=origin.text()))


def query(pipeline: Pipeline, text: str, tables: Mapping[str, Any]) -> PCollection[dict[str, Any]]:
    """The collection that a SELECT over collections means. A table may also be a path of Parquet, CSV or JSON lines,
    or what speaks Arrow, such as a data frame."""
    from dataflow.api.collection import PCollection
    from dataflow.sql import SqlError, translate

    origin = caller()
    if not isinstance(text, str):
        raise plan_error(f"sql needs a text, not {type(text).__name__}", origin)
    nodes, schemas = {}, {}
    for name, given in tables.items():
        table = given
        if isinstance(given, (str, os.PathLike)):
            table = _read(pipeline, os.fspath(given))
        elif not isinstance(given, PCollection) and hasattr(given, "__arrow_c_stream__"):
            table = pipeline.from_arrow(given, name)
        if not isinstance(table, PCollection):
            what = "it must be a collection of records, a path, or a table or data frame"
            raise plan_error(f"the table {name!r} is a {type(given).__name__}; {what}", origin)
        if table.pipeline is not pipeline:
            raise plan_error(f"the table {name!r} belongs to another pipeline", origin)
        schema = pipeline.columns(table.node)
        if schema is None:
            _check_files(name, table, origin)
            hint = _how_to_say(table)
            raise plan_error(f"the columns of the table {name!r} are not known before it runs", origin, hint)
        nodes[name], schemas[name] = pipeline.table(table.node), schema
    try:
        node = translate(text, nodes, schemas, pipeline.labels.unique, origin)
    except SqlError as error:
        raise plan_error(_shown(error, text), origin, error.hint) from None
    return PCollection(pipeline, node)


def _how_to_say(table: PCollection[Any]) -> str:
    """How the columns of a collection can be made known."""
    from dataflow.io.whole import ListSource

    if isinstance(table.node, Read) and isinstance(table.node.source, ListSource) and not table.node.source.items:
        return 'there are no values to tell them; say create([], schema={"name": str, "age": int})'
    return "give the function a return type (a dataclass or TypedDict), or select the columns with their types"


def _read(pipeline: Pipeline, path: str) -> PCollection[Any]:
    low = path.lower()
    if ".csv" in low:
        return pipeline.read_csv(path)
    if ".jsonl" in low or ".ndjson" in low:
        return pipeline.read_jsonl(path)
    return pipeline.read_parquet(path)


def _shown(error: Any, text: str) -> str:
    """The error with its line of the text, cut to what fits, and a caret below the place."""
    lines = text.splitlines() or [""]
    line = lines[min(error.line, len(lines)) - 1]
    start = max(0, error.column - 61)
    part = line[start : start + 120].replace("\t", " ")
    return f"{error.sentence}\n  line {error.line}:  {part}\n{' ' * (len(f'  line {error.line}:  ') + error.column - 1 - start)}^"
