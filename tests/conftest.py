"""Generated tests give the same verdict every time, unless a longer sweep is asked for: then they look for new cases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

SLOW = ("kv", "ray", "txn")  # folders whose tests start servers, clusters and processes that are killed

settings.register_profile("same every time", derandomize=True)
settings.register_profile("searching", derandomize=False)
if os.environ.get("DATAFLOW_TEST_SIZE") == "large":
    settings.load_profile("searching")
else:
    settings.load_profile("same every time")
    # Hypothesis takes values from the sources of the modules that are loaded: what it tries would depend on which tests ran before.
    if hasattr(providers, "_get_local_constants"):
        providers._get_local_constants = lambda: providers._local_constants


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if any(item.path.is_relative_to(here / folder) for folder in SLOW):
            item.add_marker(pytest.mark.slow)
