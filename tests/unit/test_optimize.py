"""What the optimizer checks of every rule that changed something."""

import pytest

from dataflow import Pipeline
from dataflow.optimizer import optimize as module
from dataflow.optimizer.optimize import optimize


def plan():
    pipeline = Pipeline()
    numbers = pipeline.create([1, 2])
    numbers.write_text("a")
    numbers.map(str).write_text("b")
    return tuple(pipeline.outputs)


def test_a_rule_that_loses_an_output_is_found(monkeypatch):
    def first_only(plan, remarks):
        return plan[:1]

    monkeypatch.setattr(module, "rules_for", lambda plan, cut: (first_only,))
    with pytest.raises(AssertionError, match="first_only changed the type of an output"):
        optimize(plan())


def test_a_rule_that_changes_nothing_ends_with_the_same_plan(monkeypatch):
    monkeypatch.setattr(module, "rules_for", lambda plan, cut: (lambda plan, remarks: tuple(plan),))
    given = plan()
    assert optimize(given) == given
