"""The judge by lists: it needs no times of the engine, and believes none.

`by_lists` is told no times. Values are lists to which unique elements are appended, and a list that was read tells in which order, and by
whom, it was made. From that follow the dependencies of Adya's thesis between transactions:

    ww   the element of the one stands right before the element of the other
    wr   the last element that the one read is of the other
    rw   the one did not see yet the element of the other, which comes next

and a cycle of them is an anomaly with a name: G0 (ww alone), G1c (ww and wr), G-single (one rw), G-nonadjacent (several, no two of them
side by side); the last two are what snapshot isolation excludes besides. Cycles with two rw side by side (write skew) it allows.
With ``real`` a transaction that was answered before another began comes before it, too. Besides: G1a (read of an aborted
transaction's element), G1b (read of one that its transaction had not finished), lost updates, lists that contradict each other.

Adya: Weak Consistency, PhD thesis, MIT 1999. Cerone & Gotsman: Analysing Snapshot Isolation, PODC 2016 (a history is of snapshot
isolation if and only if dependencies, each followed by at most one rw, have no cycle). Kingsbury & Alvaro: Elle, VLDB 2020.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.txn.checking import Anomaly
from tests.txn.histories import Done

__all__ = ["by_lists"]

_Edges = dict[int, dict[int, str]]  # from, to: the kind of the strongest dependency: ww, wr, real, rw
_STRENGTH = {"ww": 0, "wr": 1, "real": 2, "rw": 3}


def by_lists(history: Iterable[Done], *, real: bool = True) -> list[Anomaly]:
    """What contradicts (strong, if ``real``) snapshot isolation in a history of appends to lists and reads of them.

    Of transactions with an unknown outcome, those whose elements were read are taken as committed, the rest as never made.
    """
    every = [done for done in history if done.ops]
    wrong: list[Anomaly] = []
    made: dict[tuple[str, Any], Done] = {}
    for done in every:
        for op, key, what in done.ops:
            if op == "a" and made.setdefault((key, what), done) is not done:
                wrong.append(Anomaly("duplicate", (done.name, made[key, what].name), f"{what!r} was appended twice to {key}"))
    seen = {
        made[key, element].name
        for done in every
        if done.outcome == "committed"
        for op, key, what in done.ops
        if op == "r"
        for element in what
        if (key, element) in made
    }
    happened = [done for done in every if done.outcome == "committed" or (done.outcome == "unknown" and done.name in seen)]
    externals: list[list[tuple[str, list[Any]]]] = []
    for done in happened:
        found, more = _external(done)
        externals.append(found if done.outcome == "committed" else [])
        wrong += more
    for done, reads in zip(happened, externals, strict=True):
        for key, what in reads:
            wrong += _elements(done, key, what, made)
    orders, more = _orders(happened, externals)
    wrong += more
    wrong += _lost_updates(happened, externals)
    edges = _dependencies(happened, externals, orders, made)
    names = [done.name for done in happened]
    if real:
        names += _in_real_time(happened, edges)
    return wrong + _cycles(edges, names)


def _external(done: Done) -> tuple[list[tuple[str, list[Any]]], list[Anomaly]]:
    """What a transaction read of others, of each key the first; and whether it saw its own appends, and the same list again."""
    known: dict[str, list[Any] | None] = {}
    own: dict[str, list[Any]] = defaultdict(list)
    reads: list[tuple[str, list[Any]]] = []
    wrong: list[Anomaly] = []
    for op, key, what in done.ops:
        if op == "a":
            own[key].append(what)
            continue
        mine = own[key]
        others = list(what[: len(what) - len(mine)] if mine else what)
        expected = known.get(key)
        if (mine and what[len(what) - len(mine) :] != mine) or (expected is not None and others != expected):
            text = f"{done.name} read {what!r} at {key}, having read {expected!r} and appended {mine!r}"
            wrong.append(Anomaly("internal", (done.name,), text))
        if key not in known:
            known[key] = others
            reads.append((key, others))
    return reads, wrong


def _elements(done: Done, key: str, what: Sequence[Any], made: Mapping[tuple[str, Any], Done]) -> list[Anomaly]:
    wrong = []
    if len(set(what)) != len(what):
        wrong.append(Anomaly("duplicate", (done.name,), f"{done.name} read {what!r} at {key}"))
    for element in what:
        writer = made.get((key, element))
        if writer is None:
            wrong.append(Anomaly("garbage", (done.name,), f"{done.name} read {element!r} at {key}, which nobody appended"))
        elif writer.outcome == "aborted":
            text = f"{done.name} read {element!r} at {key}, which {writer.name} appended, and {writer.name} aborted"
            wrong.append(Anomaly("G1a", (done.name, writer.name), text))
    if what and (writer := made.get((key, what[-1]))) is not None and writer is not done:
        appended = [element for op, where, element in writer.ops if op == "a" and where == key]
        if appended[-1] != what[-1]:
            text = f"{done.name} read {what[-1]!r} at the end of {key}, after which {writer.name} appended {appended[-1]!r}"
            wrong.append(Anomaly("G1b", (done.name, writer.name), text))
    return wrong


def _orders(happened: Sequence[Done], externals: Sequence[Sequence[tuple[str, list[Any]]]]) -> tuple[dict[str, list[Any]], list[Anomaly]]:
    """Of each key the longest list read; the others must begin it."""
    longest: dict[str, tuple[list[Any], Done]] = {}
    for done, reads in zip(happened, externals, strict=True):
        for key, what in reads:
            if key not in longest or len(what) > len(longest[key][0]):
                longest[key] = (what, done)
    wrong = []
    for done, reads in zip(happened, externals, strict=True):
        for key, what in reads:
            most, reader = longest[key]
            if most[: len(what)] != what:
                text = f"{done.name} read {what!r} at {key}, and {reader.name} read {most!r}"
                wrong.append(Anomaly("incompatible order", (done.name, reader.name), text))
    return {key: most for key, (most, _) in longest.items()}, wrong


def _lost_updates(happened: Sequence[Done], externals: Sequence[Sequence[tuple[str, list[Any]]]]) -> list[Anomaly]:
    """Two that read the same version of a list, and both appended to it."""
    wrong = []
    changed: dict[tuple[str, int, Any], Done] = {}
    for done, reads in zip(happened, externals, strict=True):
        appended = {key for op, key, _ in done.ops if op == "a"}
        for key, what in reads:
            if key in appended:
                other = changed.setdefault((key, len(what), what[-1] if what else None), done)
                if other is not done:
                    text = f"{done.name} and {other.name} both read {what!r} at {key}, and appended to it"
                    wrong.append(Anomaly("lost update", (done.name, other.name), text))
    return wrong


def _dependencies(
    happened: Sequence[Done],
    externals: Sequence[Sequence[tuple[str, list[Any]]]],
    orders: Mapping[str, Sequence[Any]],
    made: Mapping[tuple[str, Any], Done],
) -> _Edges:
    number = {done.name: place for place, done in enumerate(happened)}
    edges: _Edges = defaultdict(dict)

    def depends(kind: str, first: Done | None, second: Done | None) -> None:
        if first is None or second is None or first is second or first.name not in number or second.name not in number:
            return
        one, other = number[first.name], number[second.name]
        if _STRENGTH[kind] < _STRENGTH.get(edges[one].get(other, ""), 4):
            edges[one][other] = kind

    for key, order in orders.items():
        for earlier, later in pairwise(order):
            depends("ww", made.get((key, earlier)), made.get((key, later)))
    for done, reads in zip(happened, externals, strict=True):
        for key, what in reads:
            order = orders[key]
            if what:
                depends("wr", made.get((key, what[-1])), done)
            if len(order) > len(what) and order[: len(what)] == what:
                depends("rw", done, made.get((key, order[len(what)])))
    return edges


def _in_real_time(happened: Sequence[Done], edges: _Edges) -> list[str]:
    """A chain of moments, one an answer: a transaction comes before the moment of its answer, and after the last one before it began.

    So the order of n transactions in time is 3n edges. The moments are nodes of their own; their names are returned.
    """
    count = len(happened)
    answers = sorted((done.ended, place) for place, done in enumerate(happened) if done.ended != float("inf"))
    moments = [ended for ended, _ in answers]
    for moment, (_, place) in enumerate(answers):
        edges[place][count + moment] = "real"
        if moment:
            edges[count + moment - 1][count + moment] = "real"
    for place, done in enumerate(happened):
        before = bisect_right(moments, done.began)
        if before:
            edges[count + before - 1][place] = "real"
    return ["" for _ in answers]


def _cycles(edges: _Edges, names: Sequence[str]) -> list[Anomaly]:
    """One cycle of each knot of the graph, by the worst name it has.

    The graph is doubled: a transaction that is reached by rw may not be left by rw. What is a cycle there has no two of them side by side.
    """
    count = len(names)
    doubled: dict[int, list[int]] = {}
    for one, others in edges.items():
        plain = [other for other, kind in others.items() if kind != "rw"]
        doubled[one] = plain + [other + count for other, kind in others.items() if kind == "rw"]
        doubled[one + count] = plain
    found = []
    for knot in _knots(doubled, 2 * count):
        members = {node % count for node in knot}
        kind, cycle = _worst(edges, doubled, members, knot, count)
        shown = [names[node] for node in cycle if names[node]]
        steps = [f"{names[one] or '·'} -{edges[one][other]}->" for one, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True)]
        found.append(Anomaly(kind, tuple(shown), " ".join(steps) + f" {names[cycle[0]] or '·'}"))
    return found


def _worst(edges: _Edges, doubled: Mapping[int, Sequence[int]], members: set[int], knot: set[int], count: int) -> tuple[str, list[int]]:
    def within(*kinds: str) -> dict[int, list[int]]:
        return {one: [other for other, kind in edges.get(one, {}).items() if other in members and kind in kinds] for one in members}

    for name, kinds in (("G0", ("ww",)), ("G1c", ("ww", "wr")), ("G1c-realtime", ("ww", "wr", "real"))):
        graph = within(*kinds)
        for loop in _knots(graph, max(members) + 1):
            start = min(loop)
            return name, _way(graph, start, start)
    for name, kinds in (("G-single", ("ww", "wr")), ("G-single-realtime", ("ww", "wr", "real"))):
        graph = within(*kinds)
        for one in sorted(members):
            for other, kind in edges.get(one, {}).items():
                if kind == "rw" and other in members and (way := _way(graph, other, one)):
                    return name, [one, *way[:-1]] if way[-1] == one else [one, *way]
    start = min(knot)
    inside = {node: [other for other in doubled.get(node, ()) if other in knot] for node in knot}
    return "G-nonadjacent", [node % count for node in _way(inside, start, start)]


def _way(graph: Mapping[int, Sequence[int]], start: int, stop: int) -> list[int]:
    """The nodes of a shortest way, the last one left out if it is the first again; none if there is none."""
    came: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for other in graph.get(node, ()):
            if other == stop:
                way = [node]
                while way[-1] != start:
                    way.append(came[way[-1]])
                way.reverse()
                return way if stop == start else [*way, stop]
            if other not in came and other != start:
                came[other] = node
                waiting.append(other)
    return []


def _knots(graph: Mapping[int, Sequence[int]], count: int) -> list[set[int]]:
    """The strongly connected parts with a cycle (Tarjan's algorithm, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on: set[int] = set()
    stack: list[int] = []
    parts = []
    for root in range(count):
        if root in index or root not in graph:
            continue
        work = [(root, iter(graph.get(root, ())))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on.add(root)
        while work:
            node, others = work[-1]
            for other in others:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on.add(other)
                    work.append((other, iter(graph.get(other, ()))))
                    break
                if other in on:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    part = set()
                    while True:
                        member = stack.pop()
                        on.discard(member)
                        part.add(member)
                        if member == node:
                            break
                    if len(part) > 1 or node in graph.get(node, ()):
                        parts.append(part)
    return parts
