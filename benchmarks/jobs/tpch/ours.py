"""TPC-H with dataflow, in its "columns" or from the specification's "sql"; "auto", "whole", or "partitioned" on two worker processes."""

import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks.jobs.tpch import columns, columns_2, timing
from benchmarks.jobs.tpch.data import TABLES, sql
from benchmarks.jobs.tpch.tables import Tables
from dataflow import Pipeline
from dataflow.expr.functions import len_


def main(source: str, target: str, language: str, placement: str) -> None:
    folder = Path(source)
    options: dict[str, Any] = {"placement": placement, "progress": False}
    if placement == "partitioned":
        options.update(mode="processes", workers=2)

    def by_columns(number: int) -> Any:
        query = getattr(columns if number <= 11 else columns_2, f"q{number}")
        return query(Tables.read(Pipeline(), folder)).to_arrow(**options)

    def by_sql(number: int) -> Any:
        pipeline = Pipeline()
        tables = Tables.read(pipeline, folder)
        return pipeline.sql(sql(number), **{name: getattr(tables, name) for name in TABLES}).to_arrow(**options)

    first = Pipeline()
    nation = Tables.read(first, folder).nation
    warm = first.sql("select count(*) from nation", nation=nation) if language == "sql" else nation.group_by().agg(len_())
    warm.to_arrow(progress=False)  # imports, as the peers' first query
    timing.run(by_sql if language == "sql" else by_columns, pq.write_table, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
