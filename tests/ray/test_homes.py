"""What a step waits for that no machine has room for now, how that is said, and when it is an error. Time and cluster are pretended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dataflow import DataflowError
from dataflow.plan.steps import Resources

pytest.importorskip("ray", reason="Ray is not installed")

from runners.ray import homes
from runners.ray.homes import LAUNCH, PATIENCE, SAY, Homes

pytestmark = [pytest.mark.ray]

GPU = Resources(gpus=1)


class Waiting:
    """A step of a run on a cluster that has nothing for it, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.other_run = self.held_by_others = self.launching = False
        self.coming: dict[str, Any] = {}
        self.going: list[Any] = []
        cluster = SimpleNamespace(
            waits=lambda: self.other_run, could_hold=lambda asked: self.held_by_others, coming=self.coming, link=None
        )  # fmt: skip
        self.homes = Homes(SimpleNamespace(cluster=cluster, left_at_work=lambda: self.going))  # type: ignore[arg-type]
        monkeypatch.setattr(homes, "launching", lambda link: self.launching)
        monkeypatch.setattr(homes.time, "monotonic", lambda: self.now)

    def wait(self, seconds: float, asked: Resources | None = GPU) -> float:
        """Ask for it four times a second; after how many seconds that was an error, or ``seconds``."""
        for step in range(int(seconds * 4)):
            try:
                self.homes.lacks(asked)
            except DataflowError as error:
                assert "no machine of the Ray cluster has, or has left" in str(error)
                return step / 4
            self.now += 0.25
        return seconds


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    with monkeypatch.context() as patched:
        yield Waiting(patched)


def test_where_no_machine_comes_that_is_an_error_after_a_minute(step: Waiting, caplog: pytest.LogCaptureFixture) -> None:
    assert PATIENCE <= step.wait(200) <= PATIENCE + 1
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("what", "words"), [("other_run", "another run of this process"), ("held_by_others", "other jobs hold what a step asks for: 1 gpu")]
)
def test_what_others_have_is_waited_for_and_said_once(step: Waiting, what: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    setattr(step, what, True)
    with caplog.at_level(logging.WARNING, "dataflow"):
        assert step.wait(SAY - 1) == SAY - 1 and not caplog.messages
        assert step.wait(2000) == 2000
    assert len(caplog.messages) == 1 and words in caplog.messages[0]


def test_a_machine_that_is_being_set_up_is_waited_for_if_it_has_what_is_asked_for(step: Waiting, caplog: pytest.LogCaptureFixture) -> None:
    step.coming["n"] = (SimpleNamespace(full={"CPU": 4}, address="10.0.0.7"), None)
    with caplog.at_level(logging.WARNING, "dataflow"):
        assert step.wait(300, None) == 300
        assert step.wait(300, GPU) < 300
    assert ["10.0.0.7" in message for message in caplog.messages] == [True]


def test_attempts_on_machines_that_go_are_waited_for(step: Waiting) -> None:
    step.going = [SimpleNamespace(full={"CPU": 1, "GPU": 1})]
    assert step.wait(300) == 300
    step.going = [SimpleNamespace(full={"CPU": 1})]
    assert PATIENCE - 1 <= step.wait(300) <= PATIENCE + SAY + 1


def test_machines_that_the_autoscaler_starts_are_waited_for_a_quarter_of_an_hour(step: Waiting, caplog: pytest.LogCaptureFixture) -> None:
    step.launching = True
    with caplog.at_level(logging.WARNING, "dataflow"):
        assert LAUNCH <= step.wait(2 * LAUNCH) <= LAUNCH + 1
    assert len(caplog.messages) == 1 and "autoscaler" in caplog.messages[0]


def test_a_launch_that_failed_may_be_tried_anew(step: Waiting) -> None:
    step.launching = True
    assert step.wait(200) == 200
    step.launching = False
    assert PATIENCE - 1 <= step.wait(200) <= PATIENCE + 1


def test_a_step_that_found_a_home_or_was_not_wanted_waits_anew(step: Waiting) -> None:
    assert step.wait(50) == 50
    step.homes.found(GPU)
    assert step.wait(50) == 50
    step.now += 30  # its queue was empty
    assert step.wait(50) == 50
