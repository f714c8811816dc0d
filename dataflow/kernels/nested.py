"""Operations on lists, structs and maps in Polars. A fixed-size list is made a list first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from dataflow.expr.types import DType, list_of, promoted
from dataflow.kernels.lowered import Kernel, Lowered, as_type, nothing
from dataflow.kernels.types import to_polars

__all__ = ["KERNELS"]


def _list(given: Lowered) -> pl.Expr:
    return given.expr.arr.to_list() if given.type.name == "array" else given.expr


def _of(build: Callable[[pl.Expr, Mapping[str, Any]], pl.Expr], to: bool = False) -> Kernel:
    """A method of ``.list``; ``to``: its result must be cast to the plan's type."""

    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        found = build(_list(args[0]), options)
        return found.cast(to_polars(kind)) if to else found

    return kernel


def _sum(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Exact, as the aggregate: a sum that does not fit fails."""
    item = args[0].type.args[0]
    if item.name == "duration" or item.name == "decimal":
        return _list(args[0]).list.sum()
    wide = pl.Int128() if item.name in ("int64", "uint64") else to_polars(kind)
    return _list(args[0]).cast(pl.List(wide)).list.sum().cast(to_polars(kind))


def _mean(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    items = _list(args[0])
    return items.list.mean().cast(to_polars(kind)) if kind.name == "duration" else items.cast(pl.List(pl.Float64)).list.mean()


def _contains(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """Null is looked for like any value."""
    if args[0].type.name == "null":
        return nothing(args, kind)
    meet = promoted(args[0].type.args[0], args[1].type)
    assert meet is not None
    items = Lowered(_list(args[0]), list_of(args[0].type.args[0]))
    return as_type(items, list_of(meet)).list.contains(as_type(args[1], meet), nulls_equal=True)


def _concat(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return pl.concat_list([as_type(Lowered(_list(arg), list_of(arg.type.args[0])), kind) for arg in args])


def _listed(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    """One value is one item, a null too; lists are joined, and null if one is."""
    lists = [arg.type.name in ("list", "array") for arg in args]
    joined = [Lowered(_list(arg), list_of(arg.type.args[0])) if is_list else arg for arg, is_list in zip(args, lists, strict=True)]
    return pl.concat_list([as_type(arg, kind if is_list else kind.args[0]) for arg, is_list in zip(joined, lists, strict=True)])


def _struct(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
    return pl.struct([arg.expr.alias(name) for name, arg in zip(options["names"], args, strict=True)])


def _key(method: str) -> Kernel:
    def kernel(args: list[Lowered], options: Mapping[str, Any], kind: DType) -> pl.Expr:
        return getattr(args[0].expr.map, method)(as_type(args[1], args[0].type.args[0]))

    return kernel


KERNELS: dict[str, Kernel] = {
    "list.len": _of(lambda x, o: x.list.len(), to=True), "list.get": _of(lambda x, o: x.list.get(o["index"], null_on_oob=True)),
    "list.first": _of(lambda x, o: x.list.get(0, null_on_oob=True)), "list.last": _of(lambda x, o: x.list.get(-1, null_on_oob=True)),
    "list.slice": _of(lambda x, o: x.list.slice(o["offset"], o["length"])), "list.reverse": _of(lambda x, o: x.list.reverse()),
    "list.drop_nulls": _of(lambda x, o: x.list.drop_nulls()),
    "list.sort": _of(lambda x, o: x.list.sort(descending=o["descending"], nulls_last=o["nulls_last"])),
    "list.unique": _of(lambda x, o: x.list.unique(maintain_order=True)),
    "list.n_unique": _of(lambda x, o: x.list.drop_nulls().list.n_unique(), to=True),
    "list.contains": _contains, "list.concat": _concat, "concat_list": _listed,
    "list.join": _of(lambda x, o: x.list.join(o["separator"], ignore_nulls=True)),
    "list.any": _of(lambda x, o: x.cast(pl.List(pl.Boolean)).list.any()),
    "list.all": _of(lambda x, o: x.cast(pl.List(pl.Boolean)).list.all()),
    "list.sum": _sum, "list.mean": _mean, "list.min": _of(lambda x, o: x.list.min()), "list.max": _of(lambda x, o: x.list.max()),
    "struct.field": lambda a, o, k: a[0].expr.struct.field(o["name"]),
    "struct.rename_fields": lambda a, o, k: a[0].expr.struct.rename_fields(list(o["names"])), "struct": _struct,
    "map.len": lambda a, o, k: a[0].expr.map.len().cast(pl.Int64), "map.keys": lambda a, o, k: a[0].expr.map.keys(),
    "map.values": lambda a, o, k: a[0].expr.map.values(), "map.get": _key("get"), "map.contains_key": _key("contains_key"),
}  # fmt: skip
