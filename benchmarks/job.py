"""What a benchmark job is: an input, contenders that work on it, and a way to see that each is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Contender", "Input", "Job", "Unavailable"]


class Unavailable(Exception):
    """A job's input cannot be made here; the text says why."""


@dataclass(frozen=True)
class Contender:
    """A script beside its job's description, run as ``python script input target *arguments``.

    ``package``: what it needs in the peers' Python; "" runs it in ours, "-" needs the program ``needs``.
    ``baseline``: ratios are taken to it.
    ``goal``: how many times our seconds it should take at least. ``divisor``: at full size it gets this part of the
    input, and its seconds are multiplied. ``checked``: it has a result. Goals of our own: ``most_seconds`` and ``most_mb``;
    ``most_times``: the baseline's seconds this may take at most; ``margin``: seconds the baseline may take more than this.
    """

    name: str
    script: str
    package: str = ""
    arguments: tuple[str, ...] = ()
    baseline: bool = False
    goal: float | None = None
    divisor: int = 1
    most_seconds: float | None = None
    most_mb: int | None = None
    most_times: float | None = None
    margin: float | None = None
    checked: bool = True
    needs: str = ""
    note: str = ""


@dataclass(frozen=True)
class Input:
    """A script's first argument, and the fingerprint of a right result; "" if that is not known, then the first contender's is compared."""

    argument: str
    expected: str


@dataclass(frozen=True)
class Job:
    """A job. ``prepare(folder, size)`` makes the input of a size, a number in the job's own unit, or raises `Unavailable`;
    ``fingerprint(target, printed)`` tells what a contender made. A contender may print the seconds of ``parts`` by their names;
    these get a table of their own.

    ``from_start``: the seconds are those from process start to the printed result, not those the script reports.
    ``scripts``: the folder of the contenders' scripts, where it is not called like the job.
    """

    name: str
    title: str
    sizes: Mapping[str, float]
    prepare: Callable[[Path, Any], Input]
    fingerprint: Callable[[Path, Mapping[str, Any]], str]
    contenders: tuple[Contender, ...]
    from_start: bool = False
    scripts: str = ""
