"""Operations per second, as contenders print them: a row an operation, beside the raw store's in the same process, and the goal."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.job import Job
from benchmarks.measure import Measured

__all__ = ["rates_table"]

_HEAD = ("contender", "operation", "a second", "x raw", "goal", "calls into the store, each")


def rates_table(job: Job, runs: dict[str, list[Measured]], size: str) -> str:
    """Medians of the runs; nothing for a job that prints no rates. Goals are judged at full size."""
    lines = [list(_HEAD)]
    for contender in job.contenders:
        good = [run.printed["rates"] for run in runs.get(contender.name, []) if not run.error and "rates" in run.printed]
        for place, first in enumerate(good[0] if good else []):
            lines.append([contender.name, *_cells([run[place] for run in good], first, size)])
    if len(lines) == 1:
        return ""
    widths = [max(len(line[at]) for line in lines) for at in range(len(_HEAD))]
    aligned = (str.ljust, str.ljust, str.rjust, str.rjust, str.ljust, str.ljust)
    return "\n".join([*("  ".join(map(lambda to, cell, width: to(cell, width), aligned, line, widths)).rstrip() for line in lines), ""])


def _cells(found: list[dict[str, Any]], first: dict[str, Any], size: str) -> list[str]:
    rate = median(each["rate"] for each in found)
    ratio = median(each["ratio"] for each in found) if first["ratio"] is not None else None
    goal = ""
    for wanted, reached, text in (("goal", ratio, ""), ("rate_goal", rate, " a second")):
        if first.get(wanted) is not None and reached is not None:
            goal = f">= {first[wanted]:,}{text}"
            if size == "full":
                goal += " met" if reached >= first[wanted] else " MISSED"
    return [first["name"], f"{rate:,.0f}", "" if ratio is None else f"{ratio:.2f}", goal, first.get("calls", "")]
