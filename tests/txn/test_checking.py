"""The judges are judged: each anomaly, made by hand, is found under its name, and histories that are allowed are let pass."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.txn.checking import by_times
from tests.txn.histories import Done, Recorder, decide, read_histories
from tests.txn.lists import by_lists


def lists(name: str, *ops: Any, outcome: str = "committed", began: float = 0.0, ended: float = float("inf")) -> Done:
    return Done(name, ops=ops, outcome=outcome, began=began, ended=ended)  # type: ignore[arg-type]


def r(key: str, *found: int) -> Any:
    return ["r", key, list(found)]


def a(key: str, element: int) -> Any:
    return ["a", key, element]


def kinds(history: list[Done], **options: Any) -> set[str]:
    return {anomaly.kind for anomaly in by_lists(history, **options)}


LISTS = {
    # two transactions append to x and y in turns: each is before the other
    "G0": [lists("one", a("x", 1), a("y", 1)), lists("two", a("x", 2), a("y", 2)), lists("see", r("x", 1, 2), r("y", 2, 1))],
    "G1a": [lists("gone", a("x", 1), outcome="aborted"), lists("see", r("x", 1))],
    "G1b": [lists("one", a("x", 1), a("x", 2)), lists("see", r("x", 1)), lists("end", r("x", 1, 2))],
    # each reads what the other appended
    "G1c": [lists("one", a("x", 1), r("y", 2)), lists("two", a("y", 2), r("x", 1))],
    # sees x of the other, and not y
    "G-single": [lists("both", a("x", 1), a("y", 1)), lists("half", r("x", 1), r("y")), lists("end", r("y", 1))],
    # long fork: two readers see two independent appends in different orders
    "G-nonadjacent": [
        lists("x", a("x", 1)),
        lists("y", a("y", 1)),
        lists("x first", r("x", 1), r("y")),
        lists("y first", r("y", 1), r("x")),
    ],
    "lost update": [lists("one", r("x"), a("x", 1)), lists("two", r("x"), a("x", 2)), lists("end", r("x", 1, 2))],
    "incompatible order": [lists("one", a("x", 1)), lists("two", a("x", 2)), lists("r", r("x", 1, 2)), lists("s", r("x", 2, 1))],
    "duplicate": [lists("one", a("x", 1)), lists("see", r("x", 1, 1))],
    "garbage": [lists("one", a("x", 1)), lists("see", r("x", 7))],
    "internal": [lists("one", r("x"), a("x", 1), r("x"))],
    # acknowledged, and then not seen by who began later
    "G-single-realtime": [lists("one", a("x", 1), ended=1.0), lists("stale", r("x"), began=2.0, ended=3.0), lists("end", r("x", 1))],
    # read before its transaction began
    "G1c-realtime": [lists("early", r("x", 1), ended=1.0), lists("late", a("x", 1), began=2.0, ended=3.0)],
}


@pytest.mark.parametrize("kind", LISTS)
def test_an_anomaly_in_lists_is_found_under_its_name(kind: str) -> None:
    found = by_lists(LISTS[kind])
    assert kind in {anomaly.kind for anomaly in found}
    assert all(anomaly.text for anomaly in found)


def test_without_clocks_a_stale_read_is_no_anomaly() -> None:
    assert kinds(LISTS["G-single-realtime"], real=False) == set()


def test_what_snapshot_isolation_allows_passes() -> None:
    skew = [
        lists("one", r("x"), r("y"), a("x", 1)),
        lists("two", r("x"), r("y"), a("y", 1)),
        lists("end", r("x", 1), r("y", 1)),
    ]
    assert kinds(skew) == set()
    own = [lists("one", a("x", 1), a("x", 2), r("x", 1, 2)), lists("two", r("x", 1, 2), a("x", 3), r("x", 1, 2, 3))]
    assert kinds(own) == set()
    assert kinds([lists("lost", a("x", 1), outcome="unknown"), lists("see", r("x", 1))]) == set()
    assert kinds([lists("never", a("x", 1), outcome="unknown"), lists("see", r("x"))]) == set()
    assert by_lists([]) == []


# -- engines in miniature, of which one is right


def play(rng: random.Random, isolation: str, steps: int = 400) -> tuple[list[Done], dict[str, Any]]:
    """A history of transactions that overlap, on lists (and the same as cells), from an engine of a few lines.

    ``isolation``: "snapshot"; "no conflicts": writes are not checked; "committed": reads are of now; "dirty": of what is not committed;
    "stale": now and then a snapshot is older than it should be.
    """
    versions: dict[str, list[tuple[int, list[int]]]] = {key: [(0, [])] for key in "wxyz"}
    pending: dict[str, list[int]] = {}
    open_ones: list[tuple[Done, list[Any], dict[str, list[int]]]] = []
    history, clock, element = list[Done](), 1, 0

    def at(key: str, start: int) -> list[int]:
        return next(value for time, value in reversed(versions[key]) if time <= start)

    for step in range(steps):
        if len(open_ones) < 4 and rng.random() < 0.5:
            clock += 1
            start = clock - (rng.randrange(12) if isolation == "stale" and rng.random() < 0.1 else 0)
            open_ones.append((Done(f"t{step}", start=max(start, 1), began=float(step)), [], {}))
            continue
        if not open_ones:
            continue
        done, ops, writes = rng.choice(open_ones)
        if len(ops) < 5 and rng.random() < 0.8:
            key = rng.choice("wxyz")
            if isolation == "dirty" and key in pending:
                found = pending[key]
            else:
                found = writes.get(key, at(key, clock if isolation == "committed" else done.start))
            ops.append(["r", key, found])
            if key not in writes:
                done.reads = {**done.reads, key: found} if key not in done.reads else done.reads
            if rng.random() < 0.6:
                element += 1
                writes[key] = [*found, element]
                if isolation == "dirty":
                    pending[key] = writes[key]
                ops.append(["a", key, element])
            continue
        open_ones.remove((done, ops, writes))
        done.ops, done.writes = tuple(ops), dict(writes)
        conflict = any(versions[key][-1][0] > done.start for key in writes)
        if (conflict and isolation not in ("no conflicts", "dirty")) or rng.random() < 0.05:
            done.outcome = "aborted"
        else:
            clock += 1
            done.outcome, done.commit, done.ended = "committed", clock, float(step)
            for key, value in writes.items():
                versions[key].append((clock, value))
        history.append(done)
    clock += 1
    final = {key: ones[-1][1] for key, ones in versions.items()}
    history.append(Done("end", ops=tuple(["r", key, value] for key, value in final.items()), outcome="committed", start=clock))
    return history, {key: value for key, value in final.items() if value or len(versions[key]) > 1}


@pytest.mark.parametrize("seed", range(20))
def test_random_histories_of_an_engine_that_is_right_pass_both_judges(seed: int) -> None:
    history, final = play(random.Random(seed), "snapshot")
    assert sum(done.outcome == "committed" and bool(done.writes) for done in history) > 20
    assert by_lists(history, real=True) == []
    cells = [done for done in history if done.name != "end"]
    for done in cells:
        done.reads = {key: value or None for key, value in done.reads.items()}
    assert by_times(cells, {key: value for key, value in final.items() if value}) == []


@pytest.mark.parametrize(
    "isolation, by_lists_kinds",
    [
        ("no conflicts", {"lost update", "incompatible order"}),
        ("committed", {"G-single", "G1c", "lost update", "internal", "incompatible order"}),
        ("dirty", {"G1a", "G1b", "G0", "G1c", "lost update"}),
        ("stale", {"G-single-realtime"}),
    ],
)
def test_random_histories_of_an_engine_that_is_wrong_fail_both_judges(isolation: str, by_lists_kinds: set[str]) -> None:
    seen: set[str] = set()
    told = 0
    for seed in range(20):
        history, _ = play(random.Random(seed), isolation)
        seen |= kinds(history)
        for done in history:
            done.reads = {key: value or None for key, value in done.reads.items()}
        told += bool(by_times(history[:-1]))
    assert seen & by_lists_kinds, f"found only {seen}"
    assert told > 10


# -- by times


def cells(name: str, start: int, commit: int | None, reads: Any = None, writes: Any = None, **more: Any) -> Done:
    return Done(name, start=start, commit=commit, reads=reads or {}, writes=writes or {}, outcome="committed", **more)


TIMES = {
    "read": [cells("w", 0, 1, writes={"a": 1}), cells("v", 1, 3, writes={"a": 2}), cells("r", 3, 3, {"a": 1})],
    "scan": [cells("w", 0, 1, writes={"t/a": 1, "t/b": 1}), cells("r", 2, 2, scans={"t": {"t/a": 1}})],
    "first committer wins": [cells("w", 0, 2, writes={"a": 1}), cells("v", 1, 3, writes={"a": 2})],
    "hold": [
        cells("w", 0, 1, writes={"a": 1}),
        cells("h", 1, 5, {"a": 1}, {"b": 1}, holds=("a",)),
        cells("v", 2, 4, {"a": 1}, {"a": 2}),
    ],
    "time": [cells("w", 5, 5, writes={"a": 1})],
    "real time": [cells("w", 0, 9, writes={"a": 1}, ended=1.0), cells("v", 8, 12, writes={"b": 1}, began=2.0)],
    "final state": [cells("w", 0, 1, writes={"b": 1})],
}


@pytest.mark.parametrize("kind", TIMES)
def test_an_anomaly_by_times_is_found_under_its_name(kind: str) -> None:
    assert {anomaly.kind for anomaly in by_times(TIMES[kind], {"a": 3} if kind == "final state" else None)} == {kind}


def test_a_snapshot_that_may_see_later_commits_must_not_miss_earlier_ones() -> None:
    later = [cells("w", 0, 5, writes={"a": 1}), cells("r", 3, None, {"a": 1})]
    assert [anomaly.kind for anomaly in by_times(later)] == ["read"]
    assert by_times(later, exact=False) == []
    missed = [cells("w", 0, 2, writes={"a": 1}), cells("r", 3, None, {"a": None})]
    assert [anomaly.kind for anomaly in by_times(missed, exact=False)] == ["read"]


def test_unknown_outcomes_are_decided_by_the_store() -> None:
    def done(name: str, outcome: str, commit: int | None = None) -> Done:
        return Done(name, writes={f"log/{name}": name}, marker=f"log/{name}", outcome=outcome, commit=commit)  # type: ignore[arg-type]

    there, gone = done("there", "unknown"), done("gone", "unknown")
    assert decide([there, gone], {"log/there": ("there", 7)}) == []
    assert (there.outcome, there.commit, gone.outcome) == ("committed", 7, "aborted")
    wrong = decide(
        [done("lost", "committed", 3), done("back", "aborted"), done("moved", "committed", 4)],
        {"log/back": ("back", 9), "log/moved": ("moved", 5)},
    )
    assert [text.split(":")[0] for text in wrong] == ["lost commit", "aborted, yet there", "moved commit"]


def test_a_history_survives_its_process_up_to_a_torn_line(tmp_path: Any) -> None:
    recorder = Recorder(tmp_path, "p")
    first, second = Done("p.1", began=1.0, start=2, reads={"a": None}, writes={"a": 1}, marker="a"), Done("p.2")
    with recorder.outcome_of(first) as committed:
        committed.append(5)
    recorder.begun(second)
    with open(tmp_path / "p.history", "ab") as file:
        file.write(b'["o","p.2","commi')
    history, notes = read_histories(tmp_path)
    assert [(done.name, done.outcome, done.commit) for done in history] == [("p.1", "committed", 5), ("p.2", "unknown", None)]
    assert history[0].reads == {"a": None} and notes == []
