"""A record is a frozen dataclass with slots in all that can be seen of it, whenever its methods are made."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from typing import Any

import pytest

from dataflow.record import record


@record(eq=True)
class Place:
    file: str
    row: int = 1
    tags: list[str] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class Same:
    file: str
    row: int = 1
    tags: list[str] = field(default_factory=list, compare=False)


@record(eq=True)
class Deeper(Place):
    depth: int = 0


@record(kw_only=True)
class Named:
    one: int
    two: int = 2


@record(frozen=False, eq=True)
class State:
    done: int = 0
    files: list[str] = field(default_factory=list)


@record
class Checked:
    row: int

    def __post_init__(self) -> None:
        if self.row < 0:
            raise ValueError("below zero")


@pytest.mark.parametrize("given", [(("a",), {}), (("a", 2), {}), ((), {"file": "a", "row": 3}), (("a",), {"tags": ["x"]})])
def test_it_is_made_shown_and_changed_as_a_dataclass_is(given: tuple[Any, Any]) -> None:
    args, named = given
    one, other = Place(*args, **named), Same(*args, **named)
    assert repr(one) == repr(other).replace("Same", "Place")
    assert [getattr(one, f.name) for f in fields(one)] == [getattr(other, f.name) for f in fields(other)]
    assert replace(one, row=9) == Place(one.file, 9) and is_dataclass(one)
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(FrozenInstanceError):
        one.row = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.row


def test_what_is_missing_or_too_much_is_an_error_as_of_a_function() -> None:
    for wrong in (lambda: Place(), lambda: Place("a", 1, [], 4), lambda: Place("a", no=1), lambda: Named(1)):  # type: ignore[call-arg, misc]
        with pytest.raises(TypeError, match="__init__"):
            wrong()
    assert (Named(one=1).one, Named(one=1, two=3).two) == (1, 3)


def test_each_instance_has_a_default_of_its_own() -> None:
    assert Place("a").tags is not Place("a").tags


def test_records_are_compared_by_what_is_to_be_compared() -> None:
    assert Place("a", tags=["x"]) == Place("a", tags=["y"]) and hash(Place("a", tags=["x"])) == hash(Place("a"))
    assert Place("a") != Place("b") and Place("a") != Same("a") and Place("a") != Deeper("a")
    assert Deeper("a", depth=1) == Deeper("a", depth=1) and Deeper("a", depth=1) != Deeper("a")
    assert Named(one=1) != Named(one=1)  # by identity, as it was not asked for more


def test_what_is_checked_when_it_is_made_is_checked_each_time() -> None:
    assert Checked(1).row == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="below zero"):
            Checked(-1)


def test_one_that_is_not_frozen_changes_and_has_no_hash() -> None:
    state = State()
    state.done += 1
    state.files.append("a")
    assert state == State(1, ["a"]) and state != State() and repr(state) == "State(done=1, files=['a'])"
    assert pickle.loads(pickle.dumps(state)) == state and replace(state, done=2).files == ["a"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(state)
    with pytest.raises(AttributeError):
        state.other = 1  # type: ignore[attr-defined]


def test_a_class_says_itself_when_it_is_equal() -> None:
    @record(eq=True)
    class Exact:
        value: Any

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Exact) and repr(self.value) == repr(other.value)

        def __hash__(self) -> int:
            return hash(repr(self.value))

    assert Exact(1) != Exact(True) and Exact([1]) == Exact([1]) and len({Exact([1]), Exact([1]), Exact(1.0), Exact(1)}) == 3


@record(eq=True, slots=False)
class Open:
    file: str
    row: int = 1
    tags: list[str] = field(default_factory=list, repr=False, kw_only=True)

    def where(self) -> str:
        return f"{self.file}:{self.row}"


@record(eq=True, slots=False)
class Known(Open):
    depth: int = 0

    def where(self) -> str:
        return f"{super().where()} at {self.depth}"


def test_one_without_slots_is_frozen_and_its_methods_reach_those_above() -> None:
    known = Known("a", 2, 3, tags=["t"])
    assert known.where() == "a:2 at 3" and repr(known) == "Known(file='a', row=2, depth=3)"
    assert known == Known("a", 2, 3, tags=["t"]) != Known("a", 2, 4, tags=["t"]) and known != Open("a", 2, tags=["t"])
    assert pickle.loads(pickle.dumps(known)) == known == replace(known) and replace(known, depth=9).depth == 9
    with pytest.raises(FrozenInstanceError):
        known.depth = 4  # type: ignore[misc]
    assert Known("b").tags == [] and Known("b").tags is not Known("b").tags


def test_one_that_says_nothing_of_itself_has_no_docstring() -> None:
    assert Open.__doc__ is None and Place.__doc__ is None
