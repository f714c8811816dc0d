"""Group by key with PySpark's RDDs: groupByKey and mapValues."""

import json
import sys
import time
from functools import partial

from pyspark.sql import SparkSession

BLOCK = 10_000


def pairs(keys: int, block: int) -> list[tuple[int, int]]:
    return [(i * 7919 % keys, i) for i in range(block * BLOCK, (block + 1) * BLOCK)]


def main(size: str, target: str) -> None:
    spark = (
        SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g").config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR").getOrCreate()
    )  # fmt: skip
    sc = spark.sparkContext
    sc.parallelize(range(2), 2).map(str).count()  # Python workers are up before the clock starts
    begun = time.perf_counter()
    sums = sc.parallelize(range(int(size) // BLOCK), 8).flatMap(partial(pairs, int(size) // 10)).groupByKey(8).mapValues(sum)
    spark.createDataFrame(sums, "key long, sum long").write.option("compression", "zstd").parquet(target)
    print(json.dumps({"seconds": time.perf_counter() - begun}))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
