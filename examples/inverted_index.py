"""Inverted index: for each word, the files it is in, sorted. The web-search step of the MapReduce paper.

dataflow run examples/inverted_index.py -p input='docs/**/*.md' -p output=out/index
"""

import re
import sysconfig
from collections.abc import Iterable, Iterator

from dataflow import Pipeline, param

WORD = re.compile(r"[a-z]{3,}")


def words(file: tuple[str, bytes]) -> Iterator[tuple[str, str]]:
    """Each different word of a file, with the file."""
    path, data = file
    return ((word, path) for word in set(WORD.findall(data.decode(errors="replace").lower())))


def posting(entry: tuple[str, Iterable[str]]) -> dict[str, object]:
    """One line of the index."""
    word, paths = entry
    found = list(paths)
    return {"word": word, "files": len(found), "paths": found}


p = Pipeline("inverted-index")
files = p.read_binary(param("input", sysconfig.get_path("stdlib") + "/*.py"))
index = files.flat_map(words).as_table().group_by_key(sort_values=True)
index.map(posting).write_parquet(param("output", "out/index"), mode="overwrite")
p.run()
