"""What goes to a worker with an attempt is what it reads, wherever the attempt runs."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dataflow.driving.sending import narrowed
from dataflow.execution.pieces import read_piece
from dataflow.physical.program import Share, ShuffleInput, TaskInput
from dataflow.shard.codec import HASH
from dataflow.shard.runfile import RunFile, RunWriter

KEY = 7 << 48  # a hash of bucket 7


def file_of(folder: Path, number: int, rows: list[int], hash_: int) -> RunFile:
    writer = RunWriter(str(folder / str(number)), f"map/{number}", 0)
    batch = pa.record_batch({"n": pa.array(rows, pa.int64()), HASH: pa.array(np.full(len(rows), hash_, np.uint64))})
    bucket = hash_ >> 48
    writer.write(batch, first=bucket, last=bucket, hashes=(hash_, hash_))
    found = writer.close()
    assert found is not None
    return found


@pytest.mark.parametrize("here", [(), (0,), (1,), (0, 1)])
def test_shares_of_a_key_are_the_same_rows_here_and_in_a_worker(tmp_path: Path, here: tuple[int, ...]) -> None:
    """The first file has nothing of the key: files are told by their number, which must not change on the way."""
    files = (file_of(tmp_path, 0, [-1], 3 << 48), file_of(tmp_path, 1, [1, 2, 3], KEY), file_of(tmp_path, 2, [4, 5, 6], KEY))
    edges = [(0, 0), (2, 0), (3, 0)]
    found: list[int] = []
    for at in range(2):
        share = Share(0, edges[at], edges[at + 1])
        given = TaskInput(shuffle=ShuffleInput(files, 7, 8, hashes=(KEY, KEY), shares=(share,)))
        sent = given if at in here else narrowed(given)
        assert sent.shuffle is not None
        found += [n for _, batch in read_piece(sent.shuffle) for n in batch.column("n").to_pylist()]
    assert found == [1, 2, 3, 4, 5, 6]
