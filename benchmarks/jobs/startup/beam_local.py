"""Word count with Beam on its local runner, in this process, which starts fastest for so little."""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def show(counts: list[tuple[str, int]]) -> None:
    print('{"seconds": 0, "words": %d, "total": %d}' % (len(counts), sum(count for _, count in counts)), flush=True)  # noqa: UP031


def main(source: str) -> None:
    with beam.Pipeline(options=PipelineOptions(runner="FnApiRunner")) as p:
        counts = p | beam.io.ReadFromText(source) | beam.FlatMap(str.split) | beam.combiners.Count.PerElement()
        counts | beam.combiners.ToList() | beam.Map(show)


if __name__ == "__main__":
    main(sys.argv[1])
