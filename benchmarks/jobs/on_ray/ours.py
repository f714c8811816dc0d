"""One of the jobs with dataflow, on Ray or, for comparison, on this machine's own processes: ``ours.py input target job runner``."""

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks.jobs.groupby.ours import BLOCK, pairs, total
from benchmarks.jobs.on_ray.queries import QUERIES
from benchmarks.jobs.tpch.data import TABLES, sql
from dataflow import Pipeline


def wordcount(source: str, target: str, options: dict[str, Any]) -> None:
    p = Pipeline()
    p.read_text(source).flat_map(lambda line: line.split()).count().write_parquet(target)
    p.run(**options)


def groupby(size: str, target: str, options: dict[str, Any]) -> None:
    keys = int(size) // 10
    p = Pipeline()
    blocks = p.create(range(int(size) // BLOCK)).redistribute(8)
    blocks.flat_map(lambda block: pairs(keys, block)).as_table().group_by_key().map_groups(total).write_parquet(target)
    p.run(**options)


def sort(source: str, target: str, options: dict[str, Any]) -> None:
    p = Pipeline()
    p.read_text(source).sort().write_text(target)
    p.run(**options)


def tpch(source: str, target: str, options: dict[str, Any]) -> dict[str, float]:
    import pyarrow.parquet as pq

    Path(target).mkdir()
    parts = {}
    for number in QUERIES:
        begun = time.perf_counter()
        p = Pipeline()
        tables = {name: p.read_parquet(f"{source}/{name}.parquet", label=name) for name in TABLES}
        found = p.sql(sql(number), **tables).to_arrow(**options)
        parts[f"q{number}"] = time.perf_counter() - begun
        pq.write_table(found, f"{target}/q{number:02}.parquet")
    return parts


def main(source: str, target: str, job: str, runner: str, *more: str) -> None:
    options: dict[str, Any] = {"progress": False, "runner": runner}
    with ExitStack() as stack:
        if runner == "ray":
            from benchmarks.jobs.on_ray.up import cluster

            options["address"] = stack.enter_context(cluster())
            if "pieces" in more:
                options.update(mode="cluster", placement="partitioned")
            Pipeline().create(range(4)).map(str).collect(**{**options, "mode": "cluster"})
        elif job == "groupby":
            options["mode"] = "processes"
        begun = time.perf_counter()
        parts = globals()[job](source, target, options)
        seconds = sum(parts.values()) if parts else time.perf_counter() - begun
        print(json.dumps({"seconds": seconds, **({"parts": parts} if parts else {})}))


if __name__ == "__main__":
    main(*sys.argv[1:])
