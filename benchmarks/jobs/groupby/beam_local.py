"""Group by key with Beam on its local runner."""

import json
import sys
import time
from functools import partial

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

BLOCK = 10_000


def pairs(keys: int, block: int) -> list[tuple[int, int]]:
    return [(i * 7919 % keys, i) for i in range(block * BLOCK, (block + 1) * BLOCK)]


def main(size: str, target: str) -> None:
    options = PipelineOptions(runner="FnApiRunner", direct_num_workers=2, direct_running_mode="multi_processing")
    schema = pa.schema([("key", pa.int64()), ("sum", pa.int64())])
    begun = time.perf_counter()
    with beam.Pipeline(options=options) as p:
        (
            p
            | beam.Create(range(int(size) // BLOCK))
            | beam.FlatMap(partial(pairs, int(size) // 10)).with_output_types(tuple[int, int])
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, values: {"key": key, "sum": sum(values)})
            | beam.io.WriteToParquet(f"{target}/sums", schema, codec="zstd", file_name_suffix=".parquet")
        )
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
