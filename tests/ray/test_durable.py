"""Shuffles in storage that all machines see: nothing is lost with a machine."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import Pipeline
from dataflow.driving.folders import remove_dead
from dataflow.errors import DataflowError
from dataflow.shard.places import create_file, read_range, remove_file
from tests.ray.conftest import NODE, until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


def test_files_of_shared_storage_are_read_and_removed_wherever_one_is(tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/a.run", "memory://durable/a.run"):
        with create_file(url) as file:
            file.write(memoryview(b"0123456789"))
        assert bytes(read_range("grpc://nowhere:1", url, 2, 3)) == b"234"
        remove_file("grpc://nowhere:1", url)
        remove_file("", url)  # gone already
        with pytest.raises(FileNotFoundError):
            read_range("", url, 0, 1)


def test_a_shuffle_goes_through_a_common_folder(tmp_path: Path, options: dict[str, Any]) -> None:
    common = tmp_path / "common"
    seen = tmp_path / "seen"
    seen.mkdir()

    def look(n: int) -> int:
        for path in common.glob("*/*"):
            (seen / path.name).touch()
        return n

    counted = (
        Pipeline().create(range(3000)).redistribute(5).map(look).map(lambda n: n % 7).count().collect(**options, shuffle_folder=str(common))
    )
    assert sorted(counted) == [(k, len(range(k, 3000, 7))) for k in range(7)]
    assert len(list(seen.glob("shuffle-*.run"))) >= 5
    assert list(common.iterdir()) == []


def test_a_machine_may_vanish_without_what_it_wrote(
    machines: Any, folder_of_machines: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    spot = machines.add_node(**NODE, resources={"spot": 2})
    log = tmp_path / "log"
    log.mkdir()

    def slow(n: int) -> int:
        (log / f"first-{n}").touch(exist_ok=False)  # once: what it gives is not made again
        return n

    def last(n: int) -> int:
        until(lambda: (log / "gone").exists(), 60)
        return n

    p = Pipeline()
    first = p.create(range(40)).redistribute(4).map(slow).resources(custom={"spot": 1})
    rest = first.redistribute(3).map(last)
    rest.write_jsonl(str(tmp_path / "out"))

    def take_away() -> None:
        until(lambda: len(list(log.iterdir())) == 40 and len(list((tmp_path / "common").glob("*/shuffle-*"))) >= 5, 60)
        machines.remove_node(spot, allow_graceful=False)
        (log / "gone").touch()

    taker = threading.Thread(target=take_away)
    taker.start()
    result = p.run(**options, shuffle_folder=str(tmp_path / "common"))
    taker.join()
    assert result.outputs[0].rows == 40
    remove_dead(str(folder_of_machines))  # what was left on the machine that is no more


def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path: Path, options: dict[str, Any]) -> None:
    common = tmp_path / "common"

    def hide(n: int) -> int:
        shutil.rmtree(common, ignore_errors=True)
        return n

    with pytest.raises(DataflowError, match=f"does not see {common}"):
        Pipeline().create(range(10)).redistribute(2).map(hide).redistribute(2).collect(**options, shuffle_folder=str(common))


def test_a_folder_that_cannot_be_made_is_an_error_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataflowError, match="shuffle_folder cannot be used"):
        Pipeline().create([1]).collect(runner="ray", shuffle_folder=str(tmp_path / "file" / "below"))
    with pytest.raises(DataflowError, match="shuffle_folder cannot be used"):
        Pipeline().create([1]).collect(runner="ray", shuffle_folder="nosuch://bucket")


@pytest.mark.parametrize("url", ["memory://x/y", "simplecache::memory://x/y"])
def test_the_memory_of_one_process_is_no_shared_folder(url: str) -> None:
    with pytest.raises(DataflowError, match="shuffle_folder cannot be used: memory:// is this process's own"):
        Pipeline().create([1]).collect(runner="ray", shuffle_folder=url)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    import s3fs

    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("shuffles")
    yield "s3://shuffles/all"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_files_of_an_object_store(bucket: str) -> None:
    import s3fs

    url = f"{bucket}/run/a.run"
    with create_file(url) as file:
        file.write(memoryview(b"0123456789"))
    assert bytes(read_range("", url, 2, 3)) == b"234"
    assert s3fs.S3FileSystem().find("shuffles") == ["shuffles/all/run/a.run"]
    remove_file("", url)
    assert s3fs.S3FileSystem(use_listings_cache=False).find("shuffles") == []
