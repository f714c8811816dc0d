"""What a run asks Ray's autoscaler for, and that it gives it back however it ends."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow import DataflowError, Pipeline
from tests.ray.test_faults import numbers

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]


@pytest.fixture
def requests(machines: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, float]]]:
    """The bundles of every request, which goes on to Ray."""
    import ray.autoscaler.sdk as sdk

    made: list[list[dict[str, float]]] = []
    request = sdk.request_resources

    def noting(**asked: Any) -> None:
        made.append(asked["bundles"])
        request(**asked)

    monkeypatch.setattr(sdk, "request_resources", noting)
    return made


def slow(n: int) -> int:
    import time

    time.sleep(0.05)
    return n


def test_a_run_asks_for_what_is_left_and_gives_it_back(
    options: Options, requests: list[list[dict[str, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from runners.ray import autoscaling

    monkeypatch.setattr(autoscaling, "PAUSE", 0.0)
    assert sorted(numbers(Pipeline(), 60, 60).map(slow).collect(**options)) == list(range(60))
    assert [{"CPU": 1}] * 20 in requests  # a third of sixty tasks of ten seconds, as is guessed, for half a minute a core
    assert requests[-1] == []
    assert len(requests) < 10, "the autoscaler is asked when something else is to be asked for, not with every task"


def test_a_run_that_fails_gives_it_back(options: Options, requests: list[list[dict[str, float]]]) -> None:
    def wrong(n: int) -> int:
        return slow(n) // (n - 50)

    with pytest.raises(DataflowError):
        numbers(Pipeline(), 60, 60).map(wrong).collect(**options)
    assert requests and requests[-1] == []
