"""DoFn: a step with a life of its own, after FlumeJava's class of that name. Beam's DoFns fit by their shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from dataflow.record import record

__all__ = ["DoFn", "Tagged"]

T = TypeVar("T")
U = TypeVar("U")


@record(eq=True)
class Tagged(Generic[U]):
    """A result for the output of that tag instead of the main one."""

    tag: str
    value: U


class DoFn(Generic[T, U]):
    """A step for `PCollection.parallel_do`.

    `setup` runs once in each process, before its first element; a bundle is what one task reads.

    >>> from dataflow import DoFn, Pipeline, Tagged
    >>> class Parse(DoFn[str, int]):
    ...     def process(self, element):
    ...         if element.isdigit():
    ...             yield int(element)
    ...         else:
    ...             yield Tagged("bad", element)
    >>> outputs = Pipeline().create(["1", "x", "2"]).parallel_do(Parse(), tags=["bad"])
    >>> outputs.main.collect(), outputs["bad"].collect()
    ([1, 2], ['x'])
    """

    def setup(self) -> None:
        """Open what is expensive to open."""

    def start_bundle(self) -> Iterable[U] | None:
        """Before the first element of a task; may give results."""

    def process(self, element: T, *sides: Any) -> Iterable[U | Tagged[Any]] | None:
        """The results of one element, or None for none."""
        raise NotImplementedError

    def finish_bundle(self) -> Iterable[U] | None:
        """After the last element of a task; may give results."""

    def teardown(self) -> None:
        """Close what `setup` opened. Not called when a process is killed."""
