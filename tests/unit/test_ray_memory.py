"""What a run on a cluster may take in the driver's process."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow import Pipeline, col
from dataflow.driving.memory import machine_memory


@pytest.mark.parametrize("memory, size, said", [("100TiB", 0.3, "partitioned"), ("100TiB", 0.1, "whole"), ("1GiB", 0.1, "partitioned")])
def test_a_query_is_whole_only_if_it_fits_the_drivers_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str, size: float, said: str
) -> None:
    pytest.importorskip("ray")
    from dataflow.optimizer.rules import partition_queries

    monkeypatch.setattr(partition_queries, "estimated_bytes", lambda *given: int(machine_memory() * size))
    pq.write_table(pa.table({"k": [1, 2], "v": [1, 2]}), tmp_path / "t.parquet")
    grouped = Pipeline().read_parquet(str(tmp_path / "t.parquet")).group_by("k").agg(s=col("v").sum())
    remark = next(line for line in grouped.explain(runner="ray", memory=memory).splitlines() if "whole: " in line or "partitioned" in line)
    assert said in remark
