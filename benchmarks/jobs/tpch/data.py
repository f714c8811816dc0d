"""The tables of TPC-H as Parquet files, made once by ``tpchgen-cli``; and the queries' texts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["QUERIES", "TABLES", "generator", "made", "sql"]

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
QUERIES = range(1, 23)


def generator() -> str | None:
    """The program of the package ``tpchgen-cli``, beside this Python or on the path."""
    beside = Path(sys.executable).parent / "tpchgen-cli"
    return str(beside) if beside.exists() else shutil.which("tpchgen-cli")


def made(folder: Path, scale: float, program: str) -> Path:
    """The folder below ``folder`` that holds the tables at this scale; 1 is 6 million lines of orders, 350 MB of Parquet."""
    target = folder / f"tpch-{scale:g}"
    if not target.exists():
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        subprocess.run([program, "parquet", "-s", f"{scale:g}", "--output-dir", str(part)], check=True, stdout=subprocess.DEVNULL)
        part.rename(target)
    return target


def sql(query: int) -> str:
    """A query as the specification has it, with the parameters of its validation run."""
    return (Path(__file__).parent / "sql" / f"q{query:02}.sql").read_text(encoding="utf-8")
