"""Which row any key is of, also one that is no packed tuple: the marks in "meta", and what others wrote.

Where a row can be seen in the key it is its row; else the whole key is. So keys stay in order by (row, rest): of two rows of different
keys, the one that begins the other would have been seen in it.

>>> row_or_key(b"`a\\x00`b\\x00\\x00"), row_or_key(b"`a")
(b'`a\\x00', b'`a')
"""

from __future__ import annotations

from dataflow.kv.keys import row_of

__all__ = ["in_row", "row_if_seen", "row_or_key"]


def row_if_seen(key: bytes) -> bytes | None:
    """The row of a key, or of a bound of a range; None if none can be seen."""
    try:
        return row_of(key)
    except (ValueError, IndexError):
        return None


def row_or_key(key: bytes) -> bytes:
    """A key's row; of a key in which none can be seen, all of it."""
    try:
        return row_of(key)
    except (ValueError, IndexError):
        return key


def in_row(key: bytes, row: bytes) -> bool:
    """Whether a key is of a row. The bytes of a row may begin another's, where that goes on with an escaped zero.

    >>> from dataflow.kv.keys import pack, pack_element
    >>> in_row(pack(("a", 1)), pack_element("a")), in_row(pack(("a\\0b", 1)), pack_element("a"))
    (True, False)
    """
    return key.startswith(row) and key[len(row) : len(row) + 1] != b"\xff"
