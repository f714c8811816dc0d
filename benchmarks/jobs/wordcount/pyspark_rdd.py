"""Word count with PySpark's RDDs: Python functions, combined before the shuffle, written by Spark's Parquet writer."""

import json
import sys
import time
from operator import add

from pyspark.sql import SparkSession


def main(source: str, target: str) -> None:
    spark = (
        SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g").config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4").config("spark.log.level", "ERROR").getOrCreate()
    )  # fmt: skip
    sc = spark.sparkContext
    sc.parallelize(range(2), 2).map(str).count()  # Python workers are up before the clock starts
    begun = time.perf_counter()
    lines = sc.textFile(source, 4)
    counts = lines.flatMap(lambda line: line.split()).map(lambda word: (word, 1)).reduceByKey(add, 4)
    spark.createDataFrame(counts, "word string, count long").write.option("compression", "zstd").parquet(target)
    print(json.dumps({"seconds": time.perf_counter() - begun}))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
