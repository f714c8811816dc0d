"""Steps that ask for resources run in passes of their own."""

from __future__ import annotations

import pytest

from dataflow import Pipeline
from dataflow.errors import PlanError
from dataflow.optimizer.optimize import optimize
from dataflow.optimizer.rule import Remarks
from dataflow.physical.stages import plan_phases
from dataflow.plan.steps import Resources


def test_a_step_with_resources_holds_them_alone() -> None:
    words = Pipeline().create(["a", "bb", "ccc"]).map(str.upper).map(len).resources(gpus=1, memory="1GiB").map(lambda n: n + 1)
    assert sorted(words.collect()) == [2, 3, 4]
    from dataflow.plan.nodes import View

    view = View(label="seen", origin=words.node.origin, input=words.node, kind="list")
    phases = plan_phases(optimize((view,), Remarks())).phases
    asked = [phase.program.resources for phase in phases]
    assert asked == [None, Resources(gpus=1, memory=1 << 30), None]


def test_only_steps_with_functions_take_resources() -> None:
    with pytest.raises(PlanError, match="resources are for steps"):
        Pipeline().create([1]).resources(gpus=1)
    with pytest.raises(PlanError, match="some of a core"):
        Pipeline().create([1]).map(str).resources(cpus=0)
