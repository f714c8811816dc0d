"""Whether this process has loaded code that is not the engine's own: a function, a class or a module of the user's.

    program, attempt ─ `loads` ─> each global that a pickle names: the engine's, Arrow's, a built-in type's? ─no─> seen
    values that travel as pickles ──────────────────────────────────────────────────────────────────────────> seen

What a function of the user's did to its process nobody knows: the precision of its decimals, a seed, a module that is edited meanwhile.
So a process in which there was one serves no other run (`worker`, `runners.local.kept`).
"""

from __future__ import annotations

import io
import pickle
from typing import Any

__all__ = ["loads", "nothing_seen", "saw"]

# modules whose classes and functions leave nothing behind in the process that calls them
_OWN = frozenset(
    ("_codecs", "builtins", "collections", "copyreg", "dataflow", "datetime", "decimal", "fsspec", "functools", "numpy", "pathlib")
    + ("polars", "pyarrow", "typing", "uuid", "zoneinfo")
)
_NOT = frozenset(("__import__", "delattr", "eval", "exec", "setattr"))  # of the built-in ones

_seen = [False]


def saw() -> None:
    """Something that may be the user's was loaded."""
    _seen[0] = True


def nothing_seen() -> bool:
    """Whether all that was loaded so far is the engine's own.

    >>> from decimal import Decimal
    >>> loads(pickle.dumps([Decimal("1.5"), str.split]))
    [Decimal('1.5'), <method 'split' of 'str' objects>]
    """
    return not _seen[0]


class _Loader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not _own(module, name):
            saw()
        return super().find_class(module, name)


def _own(module: str, name: str) -> bool:
    if module == "cloudpickle.cloudpickle":
        return name == "_builtin_type"  # all else makes a function or a class out of its parts
    return module.partition(".")[0] in _OWN and not (module == "builtins" and name in _NOT)


def loads(data: bytes) -> Any:
    """What `pickle.loads` gives, with a look at what it names."""
    return _Loader(io.BytesIO(data)).load()
