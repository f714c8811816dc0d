"""Processes that transfer, append, scan and observe are killed with -9 and paused beyond their locks' life, at any moment; servers too.

What must hold then, whoever died (`checking.py`, `lists.py`, `histories.py`):

- every commit that was acknowledged is there, at the time that was said; none that was refused
- the reads of every committed transaction are the state at its start; of two that overlap and write one cell, one committed
- from the lists alone, without the engine's times, no anomaly that strong snapshot isolation excludes is seen
- no money is lost; no lock is left after `resolve`; every change has had one run of each observer, and one only

300 kills in all; 20,000 with DATAFLOW_TEST_SIZE=large.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dataflow.txn import Database, members
from tests.kv.servers import PostgresServer
from tests.txn.checking import by_times
from tests.txn.histories import Done, Recorder, decide, read_histories
from tests.txn.lists import by_lists
from tests.txn.nursery import Nursery
from tests.txn.workload import ACCOUNTS, MONEY, everything, load, observe

LARGE = os.environ.get("DATAFLOW_TEST_SIZE") == "large"
ROUNDS = 67 if LARGE else 1  # each with a database and a history of its own
LIFE = 0.25  # seconds of a lock; a pause is longer
COMMITS = 150  # acknowledged in a round, at least


@dataclass
class Setting:
    """``kills``: in the small size. ``crew``: of each process how many threads write, and whether it observes.

    ``rest``: seconds between two kills at most. ``exact``: whether a snapshot is just the commits up to its time.
    """

    kills: int
    crew: tuple[tuple[int, bool], ...]
    rest: float
    pauses: int = 0
    server_kills: int = 0
    exact: bool = True
    collects: float = 0.01
    open: dict[str, Any] = field(default_factory=dict)


WRITERS = ((1, False), (1, False), (1, True))
SETTINGS = {
    "embedded on LMDB": Setting(90, WRITERS, 0.1, pauses=8),
    "Percolator on LMDB": Setting(
        90, WRITERS, 0.1, pauses=8, open={"engine": "percolator", "sync": False, "durable": False, "lock_life": LIFE}
    ),
    "Percolator over two PostgreSQL servers": Setting(45, WRITERS, 0.3, pauses=8, server_kills=3, open={"lock_life": LIFE}),
    "native on PostgreSQL": Setting(40, WRITERS, 0.15, pauses=5, server_kills=3, exact=False),
    "embedded on RocksDB": Setting(35, ((3, True),), 0.3, open={"sync": False, "cache": "8MiB"}),
}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery("tests.txn.workload:work")
    yield made
    made.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[list[PostgresServer]]:
    pytest.importorskip("psycopg", reason="needs psycopg")
    made = [PostgresServer(), PostgresServer()]
    yield made
    for server in made:
        server.kill()  # to stop it in peace would be to write everything that nobody will read
        server.stop()


@dataclass
class Place:
    """Where a setting's database is."""

    address: Any
    open: dict[str, Any]
    servers: list[PostgresServer]


@pytest.fixture(params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(setting: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Place]:
    """A new place for each round."""
    options = dict(SETTINGS[setting].open)
    if "PostgreSQL" in setting:
        servers = request.getfixturevalue("servers")[: 2 if "two" in setting else 1]
        address = [server.address for server in servers]

        def on_servers(number: int) -> Place:
            schema = f"killed_{len(servers)}_{number}"
            return Place(address if len(address) > 1 else address[0], {**options, "schema": schema, "patience": 0.2}, servers)

        return on_servers
    package, scheme = ("lmdb", "lmdb") if "LMDB" in setting else ("rocksdict", "rocksdb")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    return lambda number: Place(f"{scheme}:{tmp_path}/store{number}", options, [])


class Crew:
    """The processes at work on a database: always as many, whatever happens to them."""

    def __init__(self, nursery: Nursery, setting: Setting, place: Place, folder: Path, rng: random.Random) -> None:
        self._nursery, self._setting, self._place, self._folder, self._rng = nursery, setting, place, folder, rng
        self._started = 0
        self.alive: list[tuple[int, tuple[int, bool]]] = []
        self.paused: dict[int, float] = {}
        self.ended: Counter[int] = Counter()
        for role in setting.crew:
            self._start(role)

    def _start(self, role: tuple[int, bool]) -> None:
        self._started += 1
        spec = {
            "name": f"w{self._started}", "seed": self._rng.random(), "folder": str(self._folder), "address": self._place.address,
            "open": self._place.open, "writers": role[0], "observing": role[1], "collects": self._setting.collects,
            "away": self._setting.server_kills > 0,
        }  # fmt: skip
        self.alive.append((self._nursery.start(spec), role))

    def kill(self) -> None:
        """One of them, be it paused or not, and another is started in its place."""
        pid, role = self.alive.pop(self._rng.randrange(len(self.alive)))
        self.paused.pop(pid, None)
        self.ended[self._nursery.kill(pid)] += 1
        self._start(role)

    def pause(self, life: float) -> None:
        """One of them, until longer than a lock's life has passed."""
        pid, _ = self._rng.choice(self.alive)
        if pid not in self.paused:
            os.kill(pid, signal.SIGSTOP)
            self.paused[pid] = time.monotonic() + life * self._rng.uniform(1.1, 2.0)

    def wake(self, all_of_them: bool = False) -> None:
        for pid, until in list(self.paused.items()):
            if all_of_them or time.monotonic() > until:
                os.kill(pid, signal.SIGCONT)
                del self.paused[pid]

    def get_on(self, committed: float) -> None:
        """Wait until the processes have acknowledged so many commits; on a slow machine they would be killed before they have begun."""
        deadline = time.monotonic() + 60
        while sum(path.read_bytes().count(b'"committed"') for path in self._folder.glob("*.history")) < committed:
            if time.monotonic() > deadline:
                return  # the counts at the end will tell
            self.wake()
            time.sleep(0.01)

    def end(self) -> None:
        for pid, _ in self.alive:
            self.ended[self._nursery.kill(pid)] += 1
        self.alive = []


def torment(crew: Crew, setting: Setting, servers: list[PostgresServer], rng: random.Random) -> None:
    """Kills, pauses, and kills of servers, each at a moment nobody knows, and no faster than the processes get on."""
    acts: list[Callable[[], None]] = [crew.kill] * (setting.kills - len(setting.crew))
    acts += [lambda: crew.pause(LIFE)] * setting.pauses
    acts += [lambda: _kill_server(rng.choice(servers))] * setting.server_kills
    rng.shuffle(acts)
    for number, act in enumerate(acts, 1):
        time.sleep(rng.uniform(0.01, setting.rest))
        act()
        crew.wake()
        crew.get_on(COMMITS * number / len(acts))
    crew.wake(all_of_them=True)
    time.sleep(0.3)
    crew.end()


def _kill_server(server: PostgresServer) -> None:
    server.kill()
    time.sleep(0.02)
    server.start()


@pytest.mark.timeout(36_000 if LARGE else 900)
def test_nothing_is_lost_torn_or_seen_out_of_order(
    setting: str,
    place: Callable[[int], Place],
    nursery: Nursery,
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members, "LEASE", 0.4)
    total: Counter[str] = Counter()
    for number in range(ROUNDS):
        total += one_round(SETTINGS[setting], place(number), nursery, tmp_path / f"histories{number}", random.Random(f"{setting} {number}"))
    record_property("report", str(dict(total)))
    print(f"{setting}: {dict(total)}")
    assert total["committed"] > 100 and total["lists"] and total["runs of observers"] > 50  # at the end every commit has had its runs
    assert total["unknown"] > 0, "nobody was killed while it committed"


def one_round(setting: Setting, place: Place, nursery: Nursery, folder: Path, rng: random.Random) -> Counter[str]:
    folder.mkdir()
    with Database.open(place.address, **place.open) as database:
        recorder = Recorder(folder, "load")
        observe(database, recorder, "load")  # so that what is loaded is noted, too
        load(database, recorder)
    crew = Crew(nursery, setting, place, folder, rng)
    try:
        torment(crew, setting, place.servers, rng)
    finally:
        crew.end()
    assert set(crew.ended) == {-signal.SIGKILL}, f"processes ended by themselves: {crew.ended}; {_failures(folder)}"
    with Database.open(place.address, **place.open) as database:
        database.resolve_locks()
        assert database.locks() == []
        observe(database, Recorder(folder, "end"), "end")
        database.run_observers()
        assert list(database.engine.dirty(b"\x01", b"\xff")) == []
        found = everything(database)
    return judge(folder, found, setting.exact) + Counter({"kills": sum(crew.ended.values())})


def judge(folder: Path, found: dict[str, tuple[Any, int]], exact: bool) -> Counter[str]:
    """Whether a history and what the store holds at the end are right; and how much there was of everything."""
    history, notes = read_histories(folder)
    assert notes == []
    unknown = sum(done.outcome == "unknown" and done.kind in ("transfer", "append") for done in history)
    assert decide(history, found) == []
    final = {row: value for row, (value, _) in found.items()}
    tables: dict[str, dict[str, Any]] = defaultdict(dict)
    for row, value in final.items():
        table, _, name = row.partition("/")
        tables[table][name] = value
    assert by_times(history, final, exact=exact)[:10] == []
    end = Done("end", outcome="committed", ops=tuple(["r", f"list/{name}", found] for name, found in tables["list"].items()))
    assert by_lists([*history, end])[:10] == []
    committed = [done for done in history if done.outcome == "committed"]
    assert not [done.name for done in committed if done.kind == "count again"], "an observer ran twice for one change"
    for accounts in (tables["account"], *(done.scans["account"] for done in committed if "account" in done.scans)):
        assert sum(balance for balance, _ in accounts.values()) == ACCOUNTS * MONEY
    assert tables["log"].keys() == tables["seen"].keys()
    assert sum(number for number, _ in tables["count"].values()) == len(tables["log"])
    assert {name: len(elements) for name, elements in tables["list"].items()} == {name: size for name, (size, _) in tables["size"].items()}
    counted = Counter(
        "runs of observers" if done.kind in ("count", "measure") else done.kind for done in history if done.commit is not None
    )
    refused = sum(done.outcome == "aborted" for done in history)
    return counted + Counter({"committed": counted.total(), "refused or lost": refused, "unknown": unknown, "lists": len(tables["list"])})


@pytest.mark.timeout(36_000 if LARGE else 300)
def test_a_database_whose_making_was_cut_short_is_made_by_the_next(
    setting: str, place: Callable[[int], Place], nursery: Nursery, tmp_path: Path
) -> None:
    """Processes that find no database begin to make it, at the same time, and are killed at that."""
    rng = random.Random(setting)
    together = len(SETTINGS[setting].crew)
    for number in range(1_000 if LARGE else 6 if "PostgreSQL" in setting else 12):
        where, folder = place(10_000 + number), tmp_path / f"made{number}"
        folder.mkdir()
        spec = {"seed": 1, "folder": str(folder), "address": where.address, "open": where.open, "writers": 0, "observing": False}
        pids = [nursery.start({**spec, "name": f"w{n}", "collects": 0.0}) for n in range(together)]
        time.sleep(rng.uniform(0.0, 0.2 if where.servers else 0.06) ** 1.5)
        for pid in pids:
            assert nursery.kill(pid) == -signal.SIGKILL, _failures(folder)
        with Database.open(where.address, **where.open) as database:
            with database.transaction() as t:
                assert t.get("a", "x") is None
                t["a", "x"] = number
            assert database.engine.name == ("percolator" if "Percolator" in setting else setting.split()[0])
        with Database.open(where.address, **where.open) as database:
            assert database.snapshot()["a", "x"] == number


def _failures(folder: Path) -> str:
    return "\n".join(str(what[1]) for what in read_histories(folder)[1] if what[0] == "failed")[:3000]
