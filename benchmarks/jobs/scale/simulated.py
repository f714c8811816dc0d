"""One scenario: ``simulated.py share target scenario``. Prints the driver's seconds, and as parts the simulated ones."""

import json
import resource
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from dataflow.scheduling.events import Policy
from dataflow.scheduling.simulated_job import Outcome, Scenario, simulate
from dataflow.scheduling.simulated_machines import Fleet

POINTS = 60


def scenario(name: str, share: float) -> Scenario:
    """The paper's job (Dean and Ghemawat, 2004): 200,000 pieces of 64 MB, 5,000 partitions, 2,000 machines; here with two cores each."""
    machines = max(20, round(2_000 * share))
    usual = Scenario(maps=100 * machines, reduces=round(2.5 * machines), fleet=Fleet(machines=machines))
    fleet, tenth = usual.fleet, machines // 10
    maps_end = usual.maps * usual.map_seconds / (machines * fleet.cores)
    slow = replace(fleet, straggling=0.01, slow=0.02)
    match name:
        case "calm":
            return usual
        case "stragglers":
            return replace(usual, fleet=slow)
        case "no_backups":
            return replace(usual, fleet=slow, policy=Policy(backup_after_done=float("inf")))
        case "deaths_in_maps":
            return replace(usual, fleet=replace(slow, deaths=((maps_end / 2, tenth),)))
        case "deaths_after_maps":
            return replace(usual, fleet=replace(slow, deaths=((1.05 * maps_end, tenth),)))
        case "deaths_in_reduces":
            return replace(usual, fleet=replace(slow, deaths=((1.12 * maps_end, tenth),)))
        case "blocks":
            return replace(usual, blocks=16)
        case "ten_times":
            return replace(usual, maps=10 * usual.maps, reduces=10 * usual.reduces, fleet=replace(fleet, machines=10 * machines))
    raise ValueError(f"there is no scenario {name!r}")


def account(outcome: Outcome) -> str:
    """Whether each task's result was taken once, and once more for each time that its files were lost."""
    expected = Counter(outcome.taken.keys()) + outcome.lost_outputs
    right = outcome.taken == expected and len(outcome.taken) == outcome.tasks
    return "every result taken once, and once more where it was lost" if right else "results lost, or taken twice"


def curve(outcome: Outcome) -> dict[str, list[int]]:
    """For each phase, how many tasks were done at each of so many moments of the run."""
    found = {}
    for phase, ends in outcome.ends.items():
        ends = sorted(ends)
        moments = [outcome.seconds * number / POINTS for number in range(POINTS + 1)]
        done, at = [], 0
        for moment in moments:
            while at < len(ends) and ends[at] <= moment:
                at += 1
            done.append(at)
        found[phase] = done
    return found


def main(share: str, target: str, name: str) -> None:
    outcome = simulate(scenario(name, float(share)))
    print(
        json.dumps(
            {
                "seconds": outcome.driver_seconds,
                "parts": {"simulated": outcome.seconds, "ideal": outcome.ideal},
                "account": account(outcome),
                "tasks": outcome.tasks,
                "attempts": outcome.attempts,
                "attempts a second": round(outcome.rate),
                "backups": outcome.backups,
                "lost": outcome.lost,
                "made again": outcome.lost_outputs.total(),
                "unreadable": outcome.unreadable,
                "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "curve": curve(outcome),
            }
        )
    )
    Path(target).touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
