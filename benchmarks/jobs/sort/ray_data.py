"""Sort with Ray Data: Arrow reads each line as one column a file sink writes each sorted block as text."""

import json
import os
import shutil
import sys
import tempfile
import time
from typing import Any

import pyarrow.csv as csv
import ray
from ray.data.datasource import BlockBasedFileDatasink


class Lines(BlockBasedFileDatasink):
    """Text files: Arrow's own CSV writer refuses quotes in unquoted lines."""

    def write_block_to_file(self, block: Any, file: Any) -> None:
        for chunk in block.to_arrow()["line"].chunks:
            file.write("\n".join(chunk.to_pylist()).encode() + b"\n")


def main(source: str, target: str) -> None:
    temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")
    os.environ["RAY_worker_niceness"] = "0"  # Ray makes its workers give way to all else on the machine
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=4 << 30, _temp_dir=temporary
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    begun = time.perf_counter()
    lines = ray.data.read_csv(
        source,
        read_options=csv.ReadOptions(column_names=["line"], block_size=32 << 20),
        parse_options=csv.ParseOptions(delimiter="\x01", quote_char=False),
    )
    lines.sort("line").write_datasink(Lines(target, file_format="txt"))
    print(json.dumps({"seconds": time.perf_counter() - begun}))
    ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
