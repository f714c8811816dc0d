"""Word count with Beam on its local runner: worker processes, combined before the shuffle, written by Beam's Parquet sink."""

import json
import sys
import time

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions


def main(source: str, target: str) -> None:
    options = PipelineOptions(runner="FnApiRunner", direct_num_workers=2, direct_running_mode="multi_processing")
    schema = pa.schema([("word", pa.string()), ("count", pa.int64())])
    begun = time.perf_counter()
    with beam.Pipeline(options=options) as p:
        (
            p
            | beam.io.ReadFromText(source)
            | beam.FlatMap(str.split)
            | beam.combiners.Count.PerElement()
            | beam.MapTuple(lambda word, count: {"word": word, "count": count})
            | beam.io.WriteToParquet(f"{target}/counts", schema, codec="zstd", file_name_suffix=".parquet")
        )
    print(json.dumps({"seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
