"""Word count with PySpark's RDDs, collected and printed."""

import sys
from operator import add

from pyspark import SparkConf, SparkContext


def main(source: str) -> None:
    conf = SparkConf().setMaster("local[2]").setAppName("startup").set("spark.ui.enabled", "false").set("spark.log.level", "ERROR")
    with SparkContext(conf=conf) as sc:
        counts = sc.textFile(source, 2).flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(add, 2).collect()
        print('{"seconds": 0, "words": %d, "total": %d}' % (len(counts), sum(count for _, count in counts)), flush=True)  # noqa: UP031


if __name__ == "__main__":
    main(sys.argv[1])
