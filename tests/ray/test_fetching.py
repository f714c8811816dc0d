"""What is read from other machines is fetched ahead, in few calls, and never more than a bound."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

from runners.ray.fetching import Fetcher, Range
from runners.ray.files import FileServer
from runners.ray.transport import FlightTransport
from tests.ray.conftest import until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(60)]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Any]]:
    """Two machines."""
    found = [FileServer("127.0.0.1", "token", [str(tmp_path)]) for _ in range(2)]
    yield found
    for one in found:
        one.shutdown()


def files(servers: list[Any], folder: Path, count: int = 20, blocks: int = 10) -> dict[Range, bytes]:
    """Files with blocks, on the machines in turn: what is in every range."""
    found: dict[Range, bytes] = {}
    draw = random.Random(0)
    for number in range(count):
        path, offset = folder / f"file-{number}", 0
        with open(path, "wb") as file:
            for _ in range(blocks):
                data = draw.randbytes(draw.randrange(1, 2000))
                file.write(data)
                found[servers[number % 2].place, str(path), offset, len(data)] = data
                offset += len(data)
    return found


def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of the transport."""
    made: list[str] = []
    answers = FlightTransport._answers
    monkeypatch.setattr(FlightTransport, "_answers", lambda self, *given, **asked: made.append(given[1]) or answers(self, *given, **asked))
    return made


@pytest.mark.parametrize("most", [5_000, 1 << 20])
def test_many_small_ranges_come_in_few_calls_and_within_the_bound(
    monkeypatch: pytest.MonkeyPatch, servers: list[Any], tmp_path: Path, most: int
) -> None:
    there, made = files(servers, tmp_path), calls(monkeypatch)
    transport = FlightTransport((), "token")
    transport.expect(list(there), most)
    fetcher: Any = transport._fetcher
    for (place, path, offset, length), data in there.items():
        assert bytes(transport.read(place, path, offset, length)) == data
        assert fetcher.in_flight <= most
    assert 0 < fetcher.highest <= most and fetcher.in_flight == 0
    assert made.count("read") == 0 and len(made) <= (2 if most > 1_000_000 else 4 * sum(map(len, there.values())) / most + 4)


def test_a_reader_in_another_order_reads_what_is_not_there_yet_itself(servers: list[Any], tmp_path: Path) -> None:
    there = files(servers, tmp_path)
    transport = FlightTransport((), "token")
    transport.expect(list(there), 5_000)
    order = list(there)
    random.Random(1).shuffle(order)
    for one in order + order[:10]:  # some twice
        assert bytes(transport.read(*one)) == there[one]
    assert transport._fetcher is not None and transport._fetcher.highest <= 5_000


def test_nothing_more_is_fetched_than_a_reader_takes(servers: list[Any], tmp_path: Path) -> None:
    there = files(servers, tmp_path)
    transport = FlightTransport((), "token")
    transport.expect(list(there), 20_000)
    fetcher: Any = transport._fetcher
    until(lambda: fetcher.in_flight > 10_000 and not fetcher.coming, 10)
    assert sum(map(len, fetcher.held.values())) == fetcher.in_flight <= 20_000
    transport.expect([], 0)
    assert transport._fetcher is None and not fetcher.held


def test_what_is_gone_is_missed_by_its_reader_and_by_no_other(servers: list[Any], tmp_path: Path) -> None:
    there = files(servers, tmp_path)
    gone = next(iter(there))[1]
    Path(gone).unlink()
    transport = FlightTransport((), "token")
    transport.expect(list(there), 1 << 20)
    for one, data in there.items():
        if one[1] == gone:
            with pytest.raises(FileNotFoundError):
                transport.read(*one)
        else:
            assert bytes(transport.read(*one)) == data


def test_an_answer_that_ends_early_leaves_the_rest_to_the_reader() -> None:
    ranges: list[Range] = [("there", "a", at, 10) for at in range(0, 100, 10)]

    def ask(place: str, wanted: list[Range]) -> Iterator[memoryview]:
        yield memoryview(b"0123456789")
        raise OSError("the connection ended")

    fetcher = Fetcher(ask, ranges, 1000)
    found = [fetcher.take(one) for one in ranges]
    assert found[0] == b"0123456789" and found[1:] == [None] * 9 and fetcher.in_flight == 0


@pytest.mark.parametrize("said", ["internal", "no number"])
def test_what_went_wrong_on_the_other_machine_may_pass(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """No file handle was free there, or its disk did not answer: the reader is tried again, as it would be here."""
    import pyarrow.flight as flight

    error = flight.FlightInternalError("Too many open files") if said == "internal" else OSError("IOError: [Errno 24] Too many open files")

    def failing(*given: Any, **asked: Any) -> Any:
        raise error

    monkeypatch.setattr(FlightTransport, "_answers", failing)
    with pytest.raises(ConnectionError, match="Too many open files"):
        FlightTransport((), "token").read("grpc://127.0.0.1:1", "/tmp/file", 0, 1)
