"""Labels of what the engine makes of a user's step: the user's label, and behind a mark what it is and a number.

>>> inner_label("join", "exchange", 3)
'join › exchange 3'
>>> users_label(inner_label("join", "exchange", 3))
'join'
"""

from __future__ import annotations

__all__ = ["inner_label", "users_label"]

_MARK = " › "


def inner_label(label: str, what: str, number: int = 0) -> str:
    """The label of a part of a step, or of a part of a part."""
    return f"{label}{_MARK}{what} {number}" if number else f"{label}{_MARK}{what}"


def users_label(label: str) -> str:
    """The label as the user knows it."""
    return label.partition(_MARK)[0]
