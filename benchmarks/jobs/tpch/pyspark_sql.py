"""TPC-H with PySpark, from the specification's SQL over views of the Parquet files, in one session on all cores."""

import sys
from typing import Any

import pyarrow.parquet as pq
import timing
from data import TABLES
from pyspark.sql import SparkSession
from spelling import doubles

# Loads what the queries need of Spark: the reader, generated code, both kinds of join, a window of results as Arrow.
WARM = """
    SELECT n_name, count(*) AS suppliers, sum(s_acctbal * 2) AS balance FROM supplier, nation, region
    WHERE s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name LIKE 'A%' GROUP BY n_name ORDER BY balance DESC LIMIT 5
"""


def main(source: str, target: str) -> None:
    spark = (
        SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").config("spark.log.level", "ERROR")
        .config("spark.driver.memory", "8g").config("spark.memory.offHeap.enabled", "true").config("spark.memory.offHeap.size", "4g")
        .config("spark.sql.shuffle.partitions", "16").config("spark.sql.autoBroadcastJoinThreshold", "64m")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true").config("spark.ui.showConsoleProgress", "false").getOrCreate()
    )  # fmt: skip
    for name in TABLES:
        spark.read.parquet(f"{source}/{name}.parquet").createOrReplaceTempView(name)

    def query(number: int) -> Any:
        return spark.sql(doubles(number)).toArrow()

    for _ in range(3):
        spark.sql(WARM).toArrow()
    timing.run(query, pq.write_table, target)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
