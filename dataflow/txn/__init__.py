"""Transactions over an ordered key-value store, and observers that run when data changes: Percolator, done for Python.

The life of a change:

1. `Database.transaction` takes a snapshot; what is read is as of then (`engine`: embedded, native or percolator).
2. What is written stands in a buffer, until `Transaction.commit` gives it to the engine as an `Intent`.
3. *prewrite* locks the cells, the primary first; *commit* replaces the primary's lock by a write record: from then on all of it is visible.
   The embedded engine does both in one write.
4. In the same change a notification is left for each cell whose column is observed (*notify*).
5. A `Worker` finds it, runs the observers in transactions of their own, and drops it. What they change is noted in turn.
6. Who meets a lock that somebody left looks at its primary, and finishes or undoes it (*resolve*).
7. Versions that no snapshot sees any more are removed (*collect*).

>>> db = Database.open("memory:")
>>> @db.observer("text")
... def index(t, document, text):
...     for word in (text or "").split():
...         t[("word", word), document] = True
>>> with db.transaction() as t:
...     t["d1", "text"], t["d2", "text"] = "hello world", "hello"
>>> db.run_observers()
2
>>> sorted(db.snapshot().row(("word", "hello")))
['d1', 'd2']
"""

from dataflow.txn.database import Database, Limits
from dataflow.txn.queues import CombineQueue, Export, ExportQueue
from dataflow.txn.transaction import Reader, Transaction

__all__ = ["CombineQueue", "Database", "Export", "ExportQueue", "Limits", "Reader", "Transaction"]
