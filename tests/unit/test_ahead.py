"""Which workers have their next attempt already."""

import time

import pytest

from dataflow.driving.ahead import Ahead


def test_only_workers_of_attempts_that_are_known_to_be_short_have_a_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ahead: Ahead[str] = Ahead()
    ahead.begins("w", "map")
    assert not list(ahead.could_take()) and ahead.depth == 1, "of what it is not known how long it takes, none waits"
    now[0] += 0.05
    assert ahead.ends("w") is None and ahead.depth > 1
    ahead.begins("w", "map")
    assert list(ahead.could_take()) == ["w"]
    ahead.takes("w", "the next")
    assert not list(ahead.could_take())
    assert ahead.ends("w") == "the next"
    ahead.begins("w", "map")
    now[0] += 10
    ahead.ends("w")
    ahead.begins("w", "map")
    assert not list(ahead.could_take()) and ahead.depth == 1, "they are not short any more"


def test_what_a_worker_had_not_begun_is_known_when_it_is_gone() -> None:
    ahead: Ahead[str] = Ahead()
    ahead.begins("w", "map")
    ahead.takes("w", "the next")
    assert ahead.forget("w") == "the next" and ahead.forget("w") is None and ahead.ends("w") is None


def test_after_an_attempt_that_failed_none_waits() -> None:
    ahead: Ahead[str] = Ahead()
    for _ in range(2):
        ahead.begins("w", "map")
        ahead.ends("w")
    assert ahead.depth > 1
    ahead.begins("w", "map")
    ahead.ends("w", well=False)
    ahead.begins("w", "map")
    assert ahead.depth == 1 and not list(ahead.could_take())
