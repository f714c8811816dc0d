"""Each planted bug is caught by a scenario that the unmodified protocol passes (`test_schedules.py` plays all of them)."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from dataflow.errors import ConflictError
from dataflow.txn import Database
from tests.txn.planted import PLANTED, Planted
from tests.txn.scenarios import SCENARIOS, run_scenario

MOST = 20_000  # schedules of each of these bounds, the simplest first, in which a planted bug must be found
DEEPER = ((1, 0), (0, 1), (2, 1))


@pytest.mark.parametrize("bug", PLANTED.values(), ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = bug.plant(monkeypatch)
    changed = {"engine": engine} if engine else {}
    for preemptions, deaths in DEEPER:
        for one in (SCENARIOS[name] for name in bug.scenarios):
            bounds = replace(one.small, preemptions=preemptions, deaths=min(deaths, one.small.deaths), share=1.0)
            found = run_scenario(one, bounds, MOST, **changed)
            if found.failure:
                again = run_scenario(one, bounds, found.schedules, **changed)
                assert (again.failure, again.choices) == (found.failure, found.choices), "the same schedule shows it again"
                return
    pytest.fail(f"{bug.name} was caught by none of {bug.scenarios}")


def interrupted(db: Database) -> int:
    """Two increments, of which the first is overtaken by the second before it commits, and runs again."""
    with db.transaction() as t:
        t["a", "x"] = 0
    overtaken: list[int] = []

    def add(t: object) -> None:
        t["a", "x"] += 1  # type: ignore[index]
        if not overtaken:
            overtaken.append(1)
            db.run(add)

    db.run(add)
    return db.snapshot()["a", "x"]


def test_a_retry_of_the_writes_instead_of_the_function_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert interrupted(Database.open("memory:")) == 2

    def wrong(self: Database, function: object, **options: object) -> None:
        t = self.transaction()
        function(t)  # type: ignore[operator]
        with contextlib.suppress(ConflictError):
            t.commit()
            return
        again = self.transaction()
        again._writes = t._writes
        again.commit()

    monkeypatch.setattr(Database, "run", wrong)
    assert interrupted(Database.open("memory:")) == 1
