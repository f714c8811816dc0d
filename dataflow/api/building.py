"""What building a node needs: unique labels, the user's line, and the checks that can be made there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dataflow.errors import PlanError, Report
from dataflow.plan.origin import Origin, caller
from dataflow.plan.types import argument_of, clashes, show

__all__ = ["Labels", "check_argument", "check_callable", "name_of", "plan_error"]


class Labels:
    """Labels made unique by a number."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}

    def unique(self, wanted: str) -> str:
        """The label, or the label with the next free number."""
        count = self.used[wanted] = self.used.get(wanted, 0) + 1
        if count == 1:
            return wanted
        return self.unique(f"{wanted}-{count}")


def name_of(verb: str, function: Any) -> str:
    """A default label: the verb, and the function's name if it has one."""
    name = getattr(function, "__name__", "") or type(function).__name__
    return verb if name in ("<lambda>", "partial") or name.startswith("_") else f"{verb} {name}"


def plan_error(sentence: str, origin: Origin | None = None, hint: str = "") -> PlanError:
    """The error of a wrong call, at the user's line."""
    origin = origin or caller()
    return PlanError(Report(sentence, declared=str(origin), declared_text=origin.text(), hint=hint))


def check_callable(verb: str, function: Any, origin: Origin, sides: int = 0) -> None:
    """The function can be called with one element, and the side inputs if there are any."""
    if not callable(function):
        raise plan_error(f"{verb} needs a function, not {show(type(function))}", origin)
    if any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None)))):  # noqa: B004 - not whether, but of what kind
        name = getattr(function, "__qualname__", type(function).__name__)
        hint = "await in an ordinary function: asyncio.run(many(batch)) in one that map_batches calls waits for a batch at once"
        raise plan_error(f"{verb} needs a function that gives its result, and {name} is async", origin, hint)
    if sides:
        try:
            inspect.signature(function).bind(None, *[None] * sides)
        except TypeError as error:
            raise plan_error(f"{verb} gives its function the element and {sides} side input(s): {error}", origin) from None
        except ValueError:  # a builtin without a signature
            return


def check_argument(verb: str, function: Callable[..., Any], element: Any, origin: Origin) -> None:
    """The function takes what the collection holds, where both are known."""
    wanted = argument_of(function)
    if wanted is not None and element is not None and clashes(element, wanted):
        name = getattr(function, "__qualname__", "the function")
        raise plan_error(f"{verb}: {name} takes {show(wanted)}, and the elements are {show(element)}", origin)
