"""The same random operations on a store and on one in memory: every answer must be the same."""

from __future__ import annotations

import random

from dataflow.kv import FAMILIES, Absent, Edit, Equals, MemoryStore, Mutation, Range, Store, pack, pack_element

__all__ = ["same_answers"]

ROWS = ["a", "a\x00b", "b", "", "zz", "é"]
COLUMNS = ["x", "y", 1, -2.5]


def same_answers(store: Store, seed: int, steps: int) -> None:
    """Operate on both, and compare."""
    chance = random.Random(seed)
    judge = MemoryStore()
    families = [family for family in FAMILIES if family != "meta"]

    def key(row: str | None = None) -> bytes:
        return pack((chance.choice(ROWS) if row is None else row, chance.choice(COLUMNS), chance.randrange(4)))

    def value() -> bytes:
        return chance.randbytes(chance.choice([0, 1, 5, 40]))

    def bound() -> bytes:
        one = key()
        return chance.choice([b"", one, one[: chance.randrange(len(one))], one + b"\x00", b"\xff"])

    def condition(row: str) -> Absent | Equals:
        family = chance.choice(families)
        if chance.random() < 0.5:
            low, high = sorted((key(row), key(row)))
            low, high = chance.choice([(low, high), (pack_element(row), high), (low, pack_element(row) + b"\xff"), (high, low)])
            return Absent(family, low, high)
        one = key(row)
        return Equals(family, one, chance.choice([None, judge.get(family, one), value()]))

    def edits(row: str) -> tuple[Edit, ...]:
        return tuple(
            Edit(chance.choice(families), key(row), None if chance.random() < 0.4 else value()) for _ in range(chance.randrange(4))
        )

    def mutation() -> Mutation:
        row = chance.choice(ROWS)
        return Mutation(pack_element(row), tuple(condition(row) for _ in range(chance.randrange(4))), edits(row))

    for step in range(steps):
        family = chance.choice(families)
        match chance.randrange(7):
            case 0:
                changes = edits(chance.choice(ROWS))
                answers = [one.write(changes, sync=False) for one in (judge, store)]
            case 1:
                change = mutation()
                answers = [one.mutate(change, sync=False) for one in (judge, store)]
            case 2:
                many = [mutation() for _ in range(chance.randrange(12))]
                answers = [one.mutate_many(many, sync=False) for one in (judge, store)]
            case 3:
                keys = [key() for _ in range(chance.randrange(6))]
                answers = [(one.get_many(family, keys), one.get(family, keys[0]) if keys else None) for one in (judge, store)]
            case 4:
                ranges = [Range(chance.choice(families), bound(), bound()) for _ in range(chance.randrange(6))]
                answers = [one.firsts(ranges) for one in (judge, store)]
            case _:
                low, high, reverse = bound(), bound(), chance.random() < 0.5
                limit = chance.choice([None, 0, 1, 3])
                answers = [list(one.scan(family, low, high, reverse=reverse, limit=limit)) for one in (judge, store)]
        assert answers[0] == answers[1], (seed, step)
    for family in families:
        assert list(store.scan(family, b"", b"\xff")) == list(judge.scan(family, b"", b"\xff"))
