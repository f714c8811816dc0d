"""External sort: lines in order, however many more there are than memory holds.

dataflow run examples/external_sort.py -p input=big.txt -p output=out/sorted --memory 256MiB
"""

import sysconfig

from dataflow import Pipeline, param

p = Pipeline("external-sort")
lines = p.read_text(param("input", sysconfig.get_path("stdlib") + "/**/*.py"), errors="replace")
lines.sort().write_text(param("output", "out/sorted"), mode="overwrite")
p.run()
