"""A living index: which documents hold a word, kept current while documents come, change and go. Percolator's own use.

dataflow run examples/living_index.py -p input='docs/*.md' -p database=out/index -p word=merge

Run it again after a document changed, and only that document is read into the index. Kill it at any moment, and run it again: it goes on
where it was; nothing is lost, nothing is counted twice. A reader sees all words of a document, or none of them yet.
"""

import glob
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from dataflow import param
from dataflow.txn import CombineQueue, Database, Transaction

WORD = re.compile(r"[a-z]{3,}")
paths = sorted(glob.glob(param("input", sysconfig.get_path("stdlib") + "/*.py"), recursive=True))
db = Database.open(param("database", "out/living-index"))
# A common word is in almost every document: were its count a cell that every document changes, they would all conflict.
documents = CombineQueue(db, "documents", lambda old, changes: (old or 0) + sum(changes) or None)


@db.observer("text")
def index(t: Transaction, path: str, text: str | None) -> None:
    """A document changed: add it to the rows of its new words, remove it from those of its old ones."""
    new = set(WORD.findall((text or "").lower()))
    old = set(t.get(path, "words", []))
    for word in new - old:
        t[("word", word), path] = True
        documents.add(t, word, 1)
    for word in old - new:
        t.delete(("word", word), path)
        documents.add(t, word, -1)
    if new:
        t[path, "words"] = sorted(new)
    else:
        t.delete(path, "words")


def changes(current: Iterable[str]) -> Iterable[tuple[str, str | None, str]]:
    """The documents that are not as the database has them: path, text (None: it is gone), and a hash."""
    with db.snapshot() as before:
        known = {row: value for (row, _), value in before.scan(column="hash")}
    for path in current:
        data = Path(path).read_bytes()
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        if known.pop(path, None) != digest:
            yield path, data.decode(errors="replace"), digest
    for path in known:
        yield path, None, ""


def load(t: Transaction, change: tuple[str, str | None, str]) -> None:
    """Write what changed; the observers do the rest."""
    path, text, digest = change
    if text is None:
        t.delete(path, "text")
        t.delete(path, "hash")
    else:
        t[path, "text"], t[path, "hash"] = text, digest


loaded = db.each(load, changes(paths), group=20)
runs = db.run_observers()  # those of a run that was killed, too
print(f"{loaded} documents changed, {runs} observers ran, the index is of time {db.frontier()}", file=sys.stderr)
with db.snapshot() as now:
    word = param("word", "import")
    print(f"{word}: {documents.get(now, word, 0)} documents")
    for path in list(now.row(("word", word)))[:10]:
        print(f"  {path}")
db.close()
