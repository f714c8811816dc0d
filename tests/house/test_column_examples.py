"""Everything a user types on columns has an example that runs: the doctests see to it that the example is right."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dataflow
from dataflow.expr import functions
from dataflow.expr.binary import Binary
from dataflow.expr.expression import Expr
from dataflow.expr.lists import Lists
from dataflow.expr.maps import Maps
from dataflow.expr.operations import AGGREGATES, OPERATIONS, RANKINGS
from dataflow.expr.strings import Strings
from dataflow.expr.structs import Structs
from dataflow.expr.times import Times

NAMESPACES = {"str": Strings, "dt": Times, "list": Lists, "struct": Structs, "map": Maps, "bin": Binary}


def public() -> Iterator[tuple[str, Any]]:
    for kind in (Expr, *NAMESPACES.values(), functions.When, functions.Then):
        for name, member in inspect.getmembers(kind):
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                yield f"{kind.__name__}.{name}", member
    for name in functions.__all__:
        yield name, getattr(functions, name)


@pytest.mark.parametrize(("name", "member"), [pytest.param(name, member, id=name) for name, member in public()])
def test_what_is_typed_on_columns_has_an_example_with_its_result(name: str, member: Any) -> None:
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(member) or "")
    assert examples, f"{name} has no example"
    assert examples[-1].want, f"the example of {name} shows no result"
    last = name.rpartition(".")[2]
    assert any(last in example.source for example in examples), f"the example of {name} does without it"


def test_every_namespace_is_found_here() -> None:
    properties = {name for name, member in inspect.getmembers(Expr) if isinstance(member, property)}
    assert properties == set(NAMESPACES)


def test_functions_of_columns_are_the_packages_own() -> None:
    assert set(functions.__all__) <= set(dataflow.__all__)


def test_every_operation_is_typed_by_some_method() -> None:
    """An operation that only SQL could write would have no example."""
    room = Path(functions.__file__).parent
    text = "".join(path.read_text() for path in room.glob("*.py"))
    written = set(re.findall(r'"([a-z_0-9.]+)"', text))
    names = {name.rpartition(".")[2] for name in OPERATIONS} | set(AGGREGATES) | set(RANKINGS)
    assert names <= written
