"""Sort with PySpark's data frames: text in, text out, all of it in the JVM."""

import json
import sys
import time

from pyspark.sql import SparkSession


def main(source: str, target: str) -> None:
    spark = (
        SparkSession.builder.master("local[2]").config("spark.driver.memory", "2g").config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "16").config("spark.log.level", "ERROR").getOrCreate()
    )  # fmt: skip
    spark.range(10).count()
    begun = time.perf_counter()
    spark.read.text(source).sort("value").write.text(target)
    print(json.dumps({"seconds": time.perf_counter() - begun}))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
