"""Generated tests give the same verdict every time, unless a longer sweep is asked for: then they look for new cases."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same every time", derandomize=True)
settings.register_profile("searching", derandomize=False)
settings.load_profile("searching" if os.environ.get("DATAFLOW_TEST_SIZE") == "large" else "same every time")
