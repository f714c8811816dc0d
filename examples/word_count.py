"""Word count: how often does each word occur? Reads any text, writes Parquet.

    dataflow run examples/word_count.py -p input='books/*.txt.gz' -p output=out/counts

Without parameters it counts the words of Python's own library, which every machine with Python has.
"""

import sysconfig

from dataflow import Pipeline, param

p = Pipeline("word-count")
lines = p.read_text(param("input", sysconfig.get_path("stdlib") + "/**/*.py"), errors="replace")
counts = lines.flat_map(str.split).count()
counts.write_parquet(param("output", "out/word-count"), mode="overwrite")
p.run()
