"""Pipelines of the shapes in FlumeJava's evaluation (PLDI 2010, table 1): operations before, stages after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dataflow import Pipeline
from dataflow.aggregators import Count, Max, Sum

__all__ = ["SHAPES"]


def parse(line: str) -> dict[str, Any]:
    name, _, number = line.partition(" ")
    return {"name": name, "n": int(number or 0)}


def is_valid(record: dict[str, Any]) -> bool:
    return bool(record["name"])


def name_of(record: dict[str, Any]) -> str:
    return str(record["name"])


def number_of(record: dict[str, Any]) -> int:
    return int(record["n"])


def as_line(pair: Any) -> str:
    return f"{pair[0]}\t{pair[1]}"


def is_frequent(pair: Any) -> bool:
    return bool(pair[1] > 1)


def terms(record: dict[str, Any]) -> Iterator[str]:
    return iter(str(record["name"]).split("_"))


def value_of(pair: Any) -> Any:
    return pair[1]


def length(record: dict[str, Any]) -> int:
    return len(str(record["name"]))


def domain(pair: Any) -> str:
    return str(pair[0])[:3]


def ads_logs(p: Pipeline) -> None:
    """Three logs, cleaned alike, aggregated together: 14 operations, one stage."""
    logs = [
        p.read_text(f"logs/{kind}", label=kind).map(parse).filter(is_valid).key_by(name_of).map_values(number_of)
        for kind in ("clicks", "views")
    ]
    other = p.read_text("logs/other", label="other").map(parse)
    together = logs[0].flatten(*logs[1:], other.key_by(name_of).map_values(number_of)).as_table()
    together.combine_per_key(Sum()).write_parquet("out/ads")


def index_stats(p: Pipeline) -> None:
    """Statistics of terms, of their frequencies, and of lengths, in one reading: 16 operations, two stages."""
    documents = p.read_text("docs", label="docs").map(parse).filter(is_valid)
    counted = documents.flat_map(terms).map(lambda term: (term, 1)).as_table().combine_per_key(Sum())
    counted.map(as_line).write_text("out/terms")
    counted.key_by(value_of).group_by_key().combine_values(Count()).map(as_line).write_text("out/frequencies")
    documents.filter(is_valid).key_by(length).group_by_key().combine_values(Count()).map(as_line).write_text("out/lengths")


def build_logs(p: Pipeline) -> None:
    """One log, one aggregate: 7 operations, one stage."""
    table = p.read_text("builds", label="builds").map(parse).filter(is_valid).key_by(name_of).map_values(number_of)
    table.combine_per_key(Max()).map(as_line).write_text("out/builds")


def site_data(p: Pipeline) -> None:
    """A join and an aggregate of its result: 12 operations, two stages."""
    sites = p.read_text("sites", label="sites").map(parse).key_by(name_of)
    pages = p.read_text("pages", label="pages").key_by(lambda line: line.partition(" ")[0])
    joined = sites.join(pages)
    joined.key_by(domain).combine_per_key(Count()).write_parquet("out/site")


SHAPES: dict[str, tuple[Callable[[Pipeline], None], int, int]] = {
    "ads_logs": (ads_logs, 14, 1),
    "index_stats": (index_stats, 16, 2),
    "build_logs": (build_logs, 7, 1),
    "site_data": (site_data, 12, 2),
}
