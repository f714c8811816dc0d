"""Opening a database: what was opened is closed again when the rest cannot be."""

from __future__ import annotations

import pytest

from dataflow.errors import StoreError
from dataflow.kv import Edit, MemoryStore, Store, opening, pack
from dataflow.txn import Database


class _Closed(MemoryStore):
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("last", ["refused", "foreign"])
def test_shards_are_closed_when_one_cannot_be_opened_or_is_not_of_them(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[_Closed] = []

    def opened(address: str) -> Store:
        if address == "refused":
            raise StoreError("no such server")
        made.append(_Closed())
        if address == "foreign":
            made[-1].write([Edit("data", pack(("a",)), b"")])
        return made[-1]

    monkeypatch.setattr(opening, "open_store", opened)
    with pytest.raises(StoreError):
        Database.open(["first", "second", last])
    assert len(made) >= 2
    assert all(store.closed for store in made)
