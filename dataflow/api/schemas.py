"""What is known of a collection's columns when the pipeline is written, from metadata and annotations alone."""

from __future__ import annotations

import dataclasses
import typing
from typing import TYPE_CHECKING, Any

from dataflow.plan.nodes import Flatten, Node, ParallelDo, Read, Redistribute, Relation, Sort
from dataflow.plan.types import is_pair, pair_of, result_of

if TYPE_CHECKING:
    from dataflow.expr.types import DType

__all__ = ["columns_known", "columns_of_class", "columns_written"]


def columns_known(node: Node, known: dict[int, Any]) -> dict[str, DType] | None:
    """Names and types of the columns of a collection; None where only the data will tell. ``known`` remembers by node."""
    if id(node) not in known:
        known[id(node)] = (node, _columns(node, known))  # the node is kept, so that its id stays its own
    found: dict[str, DType] | None = known[id(node)][1]
    return found


def columns_written(node: Node, known: dict[int, Any]) -> dict[str, DType] | None:
    """Names and types of the columns of files that a collection is written to: of records theirs, ``key`` and ``value`` of pairs,
    else ``value``. Of a key or value of unknown type the column is null."""
    from dataflow.expr.types import NULL

    found = columns_known(node, known)
    if found is not None:
        return found
    if is_pair(node.element):
        return {name: _of_value(kind) or NULL for name, kind in zip(("key", "value"), pair_of(node.element), strict=True)}
    kind = _of_value(node.element)
    return {"value": kind} if kind is not None else None


def _of_value(hint: Any) -> DType | None:
    """The type of a column that holds values of a Python type; None where that is not plain."""
    from dataflow.expr.types import struct_of, type_from

    if (fields := columns_of_class(hint)) is not None:
        return struct_of(fields)
    try:
        return type_from(_without_none(hint)) if hint is not None else None
    except ValueError:
        return None


def _columns(node: Node, known: dict[int, Any]) -> dict[str, DType] | None:
    match node:
        case Relation(schema=schema):
            return dict(schema) if schema is not None else None
        case Read(source=source) if getattr(source, "has_columns", False):
            return _of_source(source)
        case ParallelDo(step=step) if step.kind in ("filter", "chance"):
            return columns_known(node.input, known)
        case ParallelDo(step=step) if step.kind == "map_columns":
            before, made = columns_known(node.input, known), columns_of_class(result_of(step.fn))
            return {**before, **made} if before is not None and made is not None else None
        case Sort() | Redistribute():
            return columns_known(node.input, known)
        case Flatten(parts=parts):
            first, *others = (columns_known(part, known) for part in parts)
            return first if all(other == first for other in others) else None
        case _:
            return columns_of_class(node.element)


def _of_source(source: Any) -> dict[str, DType] | None:
    from dataflow.errors import DataflowError

    try:
        found: dict[str, DType] | None = source.column_types()
    except (OSError, ValueError, ImportError, DataflowError):  # preflight reports inputs that are missing or unreadable
        return None
    return found


def columns_of_class(element: Any) -> dict[str, DType] | None:
    """The columns of a dataclass, TypedDict or NamedTuple whose fields all have plain types."""
    from dataflow.expr.types import type_from

    if not isinstance(element, type) or not (
        dataclasses.is_dataclass(element) or typing.is_typeddict(element) or hasattr(element, "_fields")
    ):
        return None
    try:
        hints = typing.get_type_hints(element)
        return {name: type_from(_without_none(hint)) for name, hint in hints.items()}
    except (ValueError, NameError, TypeError):
        return None


def _without_none(hint: Any) -> Any:
    args = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    return args[0] if len(args) == 1 and type(None) in typing.get_args(hint) else hint
