"""A systematic scheduler: several actors run the protocol itself, and every order of their calls is tried, one schedule after the other.

    actor A   ──o────o────o─┐              o────o──>            o  a switch point: before a call to the store or the oracle, in a pause
    actor B                 └─o────o────†                       ┐  a preemption: A could have gone on; at most two a schedule
    actor C                             └─o────o──┘             †  a death: B never goes on; at most one a schedule

Why it finds what threads under load do not: a mistake of a commit protocol needs one or two switches at just the wrong place and perhaps a
death at a third (most bugs of concurrent programs need no more than two preemptions: Musuvathi and Qadeer, 2007). These are few enough to
try all of them, and each is found again by its list of choices.

The life of a schedule:

1. `explore` has a world built anew, with its actors, which are greenlets: functions that know nothing of all this.
2. At each switch point (`Turns.point`) stands a *choice*: go on, hand over to one of the others, or die; how many ways there were is
   noted. An actor that ends or dies hands over freely; one that pauses (it waits for others) hands over in turn, without a choice.
3. A store that loses answers asks for its misfortunes in the same way (`Turns.random`): how many a schedule may have is another limit.
4. When all have ended, the world is checked (`histories.py`).
5. The last choice that has a way not yet tried takes it, and all before it are repeated: depth first, by replaying prefixes.

Nothing here depends on time or on memory addresses, so the n-th schedule is the same on every machine. Where the tree is too large,
`share` keeps of the choices below the first that differ only every so-manieth way, by a fixed rule: single deviations are all tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

__all__ = ["Bounds", "Endless", "Explored", "Turns", "explore"]

_MOST_POINTS = 3_000


class Endless(AssertionError):
    """The actors keep one another busy and never end."""


@dataclass(frozen=True)
class Bounds:
    """What a schedule may hold: preemptions, deaths, misfortunes of the store; the share of ways kept below the first that differs."""

    preemptions: int = 2
    deaths: int = 1
    faults: int = 0
    share: float = 1.0


@dataclass
class Explored:
    """What came of it. ``complete``: every schedule within the bounds was run."""

    schedules: int = 0
    deaths: int = 0
    complete: bool = False
    failure: str = ""
    choices: list[int] = field(default_factory=list)


class Actor:
    """A function with a place where it stands."""

    def __init__(self, turns: Turns, name: str, function: Callable[[], Any], mortal: bool) -> None:
        self.name, self.mortal = name, mortal
        self._turns, self._function = turns, function
        self.ended = self.dead = False
        self.error: BaseException | None = None
        self.stack = greenlet(self._run, parent=turns.hub)

    def _run(self) -> None:
        try:
            self._function()
        except GreenletExit:
            pass
        except BaseException as error:
            self.error = error
        self.ended = True


class Turns:
    """Whose turn it is: one schedule, from the choices of the beginning of another."""

    def __init__(self, bounds: Bounds, prefix: list[int]) -> None:
        self.hub = getcurrent()
        self.actors: list[Actor] = []
        self.choices: list[int] = list(prefix)
        self.ways: list[int] = []
        self.differing = 0  # choices so far that were not the first way
        self._prefix = len(prefix)
        self._left = [bounds.preemptions, bounds.deaths, bounds.faults]
        self._share = int(bounds.share * 1024)
        self._ticket = 0
        self._points = 0
        self._current: Actor | None = None
        self.over = False
        self.died = 0

    def add(self, name: str, function: Callable[[], Any], *, mortal: bool = True) -> None:
        """One more actor. One that is not ``mortal`` shares its process with others, and cannot die alone."""
        self.actors.append(Actor(self, name, function, mortal))

    def run(self) -> None:
        """Let the actors run to their ends."""
        while ready := [actor for actor in self.actors if not (actor.ended or actor.dead)]:
            self._current = ready[self._choose(len(ready))]
            self._current.stack.switch()
        self._current = None

    def point(self) -> None:
        """A switch point; outside of actors nothing."""
        me = self._current
        if me is None:
            if self.over:
                raise GreenletExit
            return
        self._points += 1
        if self._points > _MOST_POINTS:
            self._give_up(me)
        others = [actor for actor in self.actors if actor is not me and not (actor.ended or actor.dead)] if self._left[0] else []
        dying = me.mortal and self._left[1] > 0
        if not others and not dying:
            return
        way = self._choose(1 + len(others) + dying)
        if way == 0:
            return
        if way <= len(others):
            self._left[0] -= 1
            self._hand_to(others[way - 1])
        else:
            self._left[1] -= 1
            self.died += 1
            me.dead = True
            self._to_hub()

    def pause(self, seconds: float = 0.0) -> None:
        """Wait for others: the next in turn goes on."""
        me = self._current
        if me is None:
            self.point()
            return
        self._points += 1
        if self._points > _MOST_POINTS:
            self._give_up(me)
        at = self.actors.index(me)
        for actor in self.actors[at + 1 :] + self.actors[:at]:
            if not (actor.ended or actor.dead):
                self._hand_to(actor)
                return

    def random(self) -> float:
        """A number from 0 to 1 for a store that asks whether something goes wrong: by default nothing does."""
        if self._current is None:
            return 0.0  # at the end everything arrives
        if not self._left[2] or self._choose(2) == 0:
            return 0.99
        self._left[2] -= 1
        return 0.0

    def randrange(self, count: int) -> int:
        """One of several: the oldest."""
        return 0

    @contextmanager
    def cleared(self) -> Iterator[None]:
        """At the end the dead are buried: what they hold open is left by an exception, and every call they make then ends them."""
        try:
            yield
        finally:
            self._current, self.over = None, True
            for actor in self.actors:
                if not actor.ended:
                    actor.stack.throw(GreenletExit)

    def _choose(self, ways: int) -> int:
        at = len(self.ways)
        if at >= self._prefix:
            way = 0
            self.choices.append(0)
            if self.differing and ways > 1 and self._share < 1024:
                self._ticket += 1
                if (self._ticket * 2_654_435_761 + at * 40_503 >> 8) % 1024 >= self._share:
                    ways = 1
        else:
            way = self.choices[at]
            self.differing += way > 0
        self.ways.append(ways)
        return way

    def _hand_to(self, actor: Actor) -> None:
        me, self._current = self._current, actor
        actor.stack.switch()
        if self.over:
            raise GreenletExit
        self._current = me

    def _to_hub(self) -> None:
        self.hub.switch()
        raise GreenletExit

    def _give_up(self, me: Actor) -> None:
        me.error = Endless(f"{me.name} and the others went on for {_MOST_POINTS} calls")
        for actor in self.actors:
            actor.dead = True
        self._to_hub()


def explore(play: Callable[[Turns], None], bounds: Bounds, most: int | None = None) -> Explored:
    """Run every schedule within the bounds, up to ``most``, and stop at the first for which ``play`` raises an AssertionError.

    ``play`` builds a world, adds its actors, has them `run` within `cleared`, and checks what came of it.
    """
    found = Explored()
    prefix: list[int] = []
    ways: list[int] = []
    while most is None or found.schedules < most:
        turns = Turns(bounds, prefix)
        turns._ticket = found.schedules * 7
        found.schedules += 1
        try:
            play(turns)
        except AssertionError as failure:
            found.failure, found.choices = f"{type(failure).__name__}: {failure}", turns.choices
            return found
        found.deaths += turns.died
        # The ways noted when a choice was first met stay: what a share left out is left out for good.
        ways[len(prefix) :] = turns.ways[len(prefix) :]
        at = len(ways) - 1
        while at >= 0 and turns.choices[at] + 1 >= ways[at]:
            at -= 1
        if at < 0:
            found.complete = True
            return found
        prefix = [*turns.choices[:at], turns.choices[at] + 1]
        del ways[at + 1 :]
    return found
