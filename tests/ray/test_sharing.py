"""The cores of the machines go to the steps that have work now, whatever these ask for."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow import Pipeline
from tests.ray.test_faults import numbers

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

Options = dict[str, Any]


@pytest.mark.parametrize("asked", [{"cpus": 1}, {"memory": "1MiB"}])
def test_a_step_that_may_have_all_cores_leaves_them_to_the_others_when_it_is_done(options: Options, asked: dict[str, Any]) -> None:
    several = numbers(Pipeline(), 100, 6).map(lambda n: n + 1).resources(**asked)
    totals = several.map(lambda n: (n % 3, n)).as_table().combine_per_key(sum).map(lambda pair: pair).resources(**asked).collect(**options)
    assert sorted(map(tuple, totals)) == [(k, sum(n for n in range(1, 101) if n % 3 == k)) for k in range(3)]


def test_steps_that_ask_for_something_and_others_are_done_beside_each_other(options: Options) -> None:
    def slow(n: int) -> str:
        import time

        time.sleep(0.1)
        return "plain"

    p = Pipeline()
    plain, asking = numbers(p, 20, 20).map(slow), numbers(p, 20, 20).map(slow).map(lambda _: "asking").resources(memory="1MiB")
    several = asking.union(plain).union(numbers(p, 6, 6).map(lambda _: "cpus").resources(cpus=1))
    assert sorted(several.collect(**options)) == ["asking"] * 20 + ["cpus"] * 6 + ["plain"] * 20
