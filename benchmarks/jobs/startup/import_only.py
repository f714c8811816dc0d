"""Only the import."""

import dataflow

print('{"seconds": 0, "version": "%s"}' % dataflow.__version__, flush=True)  # noqa: UP031
