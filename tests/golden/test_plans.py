"""Plans as text: after every rule that changed them, and as stages. ``UPDATE_GOLDEN=1`` rewrites the files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dataflow import Pipeline
from dataflow.optimizer.optimize import optimize
from dataflow.optimizer.rule import Remarks
from dataflow.physical.explain import stages_text
from dataflow.physical.stages import plan_phases, stages_of
from dataflow.plan.explain import as_mermaid, as_svg, as_text
from dataflow.plan.nodes import Read, Write
from dataflow.plan.traversal import topological

sys.path.insert(0, str(Path(__file__).parent))
from flume_pipelines import SHAPES

PLANS = Path(__file__).parent / "plans"


def compare(name: str, text: str) -> None:
    path = PLANS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")
    assert text + "\n" == path.read_text()


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_flume_pipeline_shrinks_as_in_the_paper(name: str) -> None:
    build, operations, stages = SHAPES[name]
    p = Pipeline(name)
    build(p)
    plan = tuple(p.outputs)
    assert sum(not isinstance(node, (Read, Write)) for node in topological(plan)) == operations
    lines = ["== logical", as_text(plan)]
    remarks = Remarks()
    better = optimize(plan, remarks, lambda rule, text: lines.extend(["", f"== {rule}", text]))
    physical = plan_phases(better)
    lines += ["", "== stages", stages_text(physical), "", "== why", *remarks.lines]
    assert len(stages_of(physical)) == stages
    compare(name, "\n".join(lines))


def test_a_side_input_from_the_same_pass_starts_another_pass() -> None:
    p = Pipeline()
    numbers = p.create([1, 2, 3]).map(abs)
    numbers.map(lambda x, total: x / total, numbers.combine(sum)).write_jsonl("out/shares")
    compare("side_input", p.explain())


def test_a_pass_does_not_wait_for_one_that_waits_for_it() -> None:
    p = Pipeline()
    t, u = p.read_text("t"), p.read_text("u")
    of_t, of_u = t.map(len), u.map(len)
    every_u, every_t = of_u.as_list(), of_t.as_list()
    t.map(lambda line, lengths: (line, lengths), every_u).write_jsonl("out/t")
    u.map(lambda line, lengths: (line, lengths), every_t).write_jsonl("out/u")
    compare("crossed_side_inputs", p.explain())


def test_equal_reads_and_steps_are_shared() -> None:
    p = Pipeline()
    for target in ("one", "two"):
        p.read_text("input/*.txt").map(str.lower).count().write_parquet(f"out/{target}")
    text = p.explain()
    assert text.split("== Stages")[1].count("read text") == 1
    compare("shared", text)


def test_branches_nobody_reads_are_not_in_the_plan() -> None:
    p = Pipeline()
    words = p.read_text("input").flat_map(str.split)
    words.map(len)
    words.distinct().write_text("out")
    assert "len" not in p.explain()


def test_a_plan_is_drawn() -> None:
    p = Pipeline()
    p.read_text("a <b>").map(str.lower).write_text("out")
    mermaid, svg = as_mermaid(tuple(p.outputs)), as_svg(tuple(p.outputs))
    assert mermaid.startswith("flowchart TD") and mermaid.count("-->") == 2 and "&lt;b&gt;" in mermaid
    assert svg.startswith("<svg") and svg.count("<rect") == 3 and "<b>" not in svg


def test_a_plan_deeper_than_the_stack_is_planned() -> None:
    p = Pipeline()
    c = p.create([0])
    for _ in range(3000):
        c = c.map(lambda x: x + 1)
    assert c.collect(mode="in_process", progress=False) == [3000]
