"""Library report: Python functions and column expressions in one pipeline. Which packages hold the most code?

dataflow run examples/library_report.py -p input='src/**/*.py' -p output=out/report
"""

import os
import sysconfig
from typing import TypedDict

from dataflow import Pipeline, col, param, when


class Source(TypedDict):
    package: str
    lines: int
    comments: int
    bytes: int


def measure(file: tuple[str, bytes]) -> Source:
    path, data = file
    lines = data.splitlines()
    return {
        "package": os.path.basename(os.path.dirname(path)),
        "lines": len(lines),
        "comments": sum(line.lstrip().startswith(b"#") for line in lines),
        "bytes": len(data),
    }


p = Pipeline("library-report")
sources = p.read_binary(param("input", sysconfig.get_path("stdlib") + "/**/*.py")).map(measure)
report = (
    sources.filter(col("lines") > 0)
    .group_by("package")
    .agg(col("lines").sum(), col("comments").sum(), col("bytes").mean().alias("bytes_per_file"), files=col("lines").count())
    .with_columns(commented=when(col("comments") * 10 >= col("lines")).then("well").otherwise("hardly"))
    .sort("lines", descending=True)
)
report.limit(20).write_csv(param("output", "out/report"), mode="overwrite")
p.run()
