"""Typing rules of lists, structs and maps. A fixed-size list counts as a list, and so do results made of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dataflow.expr.rules.aggregates import AGGREGATES
from dataflow.expr.rules.parts import Operation, Refusal, Rule, is_list, meeting, orderable
from dataflow.expr.types import BOOL, INT64, NULL, STRING, DType, list_of, promoted, struct_of

__all__ = ["OPERATIONS"]


def _of_list(result: Callable[[DType], DType], own_nulls: bool = False) -> Operation:
    """A rule from the type of a list's items."""

    def rule(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
        if types[0] == NULL:
            return result(NULL)
        if not is_list(types[0]):
            raise Refusal(f"it takes a list, not {types[0]}")
        return result(types[0].args[0])

    return Operation(rule, own_nulls)


def _contains(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if types[0] != NULL and not is_list(types[0]):
        raise Refusal(f"it takes a list, not {types[0]}")
    inner = types[0].args[0] if types[0] != NULL else NULL
    if inner.is_nested or promoted(inner, types[1]) is None:
        raise Refusal(f"a list of {inner} cannot contain {types[1]}")
    return BOOL


def _concat(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if not all(is_list(kind) or kind == NULL for kind in types):
        raise Refusal(f"it takes lists, not {' and '.join(map(str, types))}")
    return meeting(tuple(list_of(kind.args[0]) if kind != NULL else kind for kind in types))


def _listed(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    return list_of(meeting(tuple(kind.args[0] if is_list(kind) else kind for kind in types)))


def _only(kind: DType) -> Callable[[DType], DType]:
    def check(item: DType) -> DType:
        if item not in (kind, NULL):
            raise Refusal(f"it takes a list of {kind}, not of {item}")
        return kind

    return check


def _as(aggregate: str) -> Callable[[DType], DType]:
    return lambda item: AGGREGATES[aggregate]((item,), {})


def _flat(kind: DType) -> DType:
    if kind.is_nested or kind.name == "other":
        raise Refusal(f"it takes a list of plain values, not of {kind}")
    return kind


_items = _of_list(list_of)

# -- structs


def _fields(kind: DType) -> dict[str, DType]:
    if kind.name != "struct":
        raise Refusal(f"it takes a struct, not {kind}")
    return dict(kind.args)


def _field(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    fields = _fields(types[0])
    if options["name"] not in fields:
        raise Refusal(f"there is no field {options['name']!r}; fields: {', '.join(fields)}")
    return fields[options["name"]]


def _renamed(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    fields, names = _fields(types[0]), options["names"]
    if len(names) != len(fields) or len(set(names)) < len(names):
        raise Refusal(f"it takes {len(fields)} different names, for {', '.join(fields)}")
    return struct_of(dict(zip(names, fields.values(), strict=True)))


def _struct(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
    if len(set(options["names"])) < len(types):
        raise Refusal("two fields have one name")
    return struct_of(dict(zip(options["names"], types, strict=True)))


# -- maps


def _of_map(result: Callable[[DType, DType], DType]) -> Rule:
    def rule(types: tuple[DType, ...], options: Mapping[str, Any]) -> DType:
        if types[0].name != "map":
            raise Refusal(f"it takes a map, not {types[0]}")
        key, value = types[0].args
        if len(types) > 1 and promoted(types[1], key) != key:
            raise Refusal(f"the map's keys are {key}, not {types[1]}")
        return result(key, value)

    return rule


OPERATIONS: dict[str, Operation] = {
    "list.len": _of_list(lambda item: INT64), "list.get": _of_list(lambda item: item), "list.first": _of_list(lambda item: item),
    "list.last": _of_list(lambda item: item), "list.slice": _items, "list.reverse": _items, "list.drop_nulls": _items,
    "list.sort": _of_list(lambda item: list_of(orderable(item))), "list.unique": _of_list(lambda item: list_of(_flat(item))),
    "list.n_unique": _of_list(lambda item: (_flat(item), INT64)[1]), "list.contains": Operation(_contains, own_nulls=True),
    "list.concat": Operation(_concat), "list.join": _of_list(_only(STRING)), "list.any": _of_list(_only(BOOL)),
    "list.all": _of_list(_only(BOOL)),
    "list.sum": _of_list(_as("sum")), "list.mean": _of_list(_as("mean")), "list.min": _of_list(_as("min")),
    "list.max": _of_list(_as("max")),
    "concat_list": Operation(_listed, own_nulls=True),
    # structs
    "struct.field": Operation(_field), "struct.rename_fields": Operation(_renamed), "struct": Operation(_struct, own_nulls=True),
    # maps
    "map.len": Operation(_of_map(lambda key, value: INT64)), "map.keys": Operation(_of_map(lambda key, value: list_of(key))),
    "map.values": Operation(_of_map(lambda key, value: list_of(value))), "map.get": Operation(_of_map(lambda key, value: value)),
    "map.contains_key": Operation(_of_map(lambda key, value: BOOL)),
}  # fmt: skip
