"""The ranges of buckets in which a task reads its part of a shuffle."""

from dataflow.execution.group import _ranges
from dataflow.physical.program import ShuffleInput
from dataflow.shard.runfile import Block, RunFile


def test_the_end_of_a_wide_block_is_read_though_it_is_less_than_a_byte() -> None:
    """The last of many tasks has perhaps one bucket of a block that is spread over all of them."""
    file = RunFile("a", "map/0", (Block(0, 1000, 0, 20, first=0, last=60_000, size=1000),))
    found = list(_ranges(ShuffleInput((file,), 59_990, 60_022, 0), 59_990, 60_022, 1 << 20))
    assert found and found[0][0] == 59_990 and found[-1][1] >= 60_001 and all(size > 0 for _, _, size in found)
