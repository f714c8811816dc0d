"""Python's own start, and the imports a first query of ours cannot do without."""

import polars
import pyarrow

import dataflow

print('{"seconds": 0, "version": "%s"}' % (dataflow.__version__ + polars.__version__ + pyarrow.__version__), flush=True)
