"""What each part of a job took: a row a part, a column a contender, and how many times our seconds that is."""

from __future__ import annotations

from statistics import geometric_mean, median

from benchmarks.job import Contender, Job
from benchmarks.measure import Measured

__all__ = ["parts_table"]


def parts_table(job: Job, runs: dict[str, list[Measured]]) -> str:
    """Medians of the rounds, with the geometric mean of the ratios at the end; nothing for a job without parts."""
    medians = {contender.name: _medians(runs.get(contender.name, ())) for contender in job.contenders}
    shown = [contender for contender in job.contenders if medians[contender.name]]
    base = next((contender for contender in shown if contender.baseline), None)
    if base is None:
        return ""
    lines = [["part", *(f"{contender.name} s" for contender in shown), *(f"{peer.name} x {base.name}" for peer in _others(shown, base))]]
    ratios: dict[str, list[float]] = {}
    for part, ours in medians[base.name].items():
        for peer in _others(shown, base):
            ratios.setdefault(peer.name, []).append(medians[peer.name][part] / ours)
        seconds = [f"{medians[contender.name][part]:.3f}" for contender in shown]
        lines.append([part, *seconds, *(f"{found[-1]:.2f}" for found in ratios.values())])
    totals = [f"{sum(medians[contender.name].values()):.2f}" for contender in shown]
    means = [f"{geometric_mean(found):.2f}" for found in ratios.values()]
    lines += [["total", *totals, *[""] * len(means)], ["geometric mean", *[""] * len(totals), *means]]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join([*("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines), ""])


def _others(shown: list[Contender], base: Contender) -> list[Contender]:
    return [contender for contender in shown if contender is not base]


def _medians(runs: list[Measured] | tuple[()]) -> dict[str, float]:
    good = [run.printed["parts"] for run in runs if not run.error and "parts" in run.printed]
    return {part: median(one[part] for one in good) for part in good[0]} if good else {}
