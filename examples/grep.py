"""Grep: the lines that match a pattern, with the file they are in.

dataflow run examples/grep.py -p pattern='def \\w+_key' -p input='src/**/*.py' -p output=out/grep
"""

import re
import sysconfig
from collections.abc import Iterator

from dataflow import DoFn, Pipeline, counter, param

pattern = param("pattern", r"def \w*merge\w*\(")


class Grep(DoFn[tuple[str, bytes], str]):
    """Finds the lines of a file that match."""

    def setup(self) -> None:
        self.find = re.compile(pattern).search

    def process(self, element: tuple[str, bytes]) -> Iterator[str]:
        path, data = element
        for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
            if self.find(line):
                counter("matches").inc()
                yield f"{path}:{number}: {line.strip()}"


p = Pipeline("grep")
files = p.read_binary(param("input", sysconfig.get_path("stdlib") + "/**/*.py"))
files.parallel_do(Grep()).write_text(param("output", "out/grep"), mode="overwrite")
p.run()
