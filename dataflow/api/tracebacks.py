"""What Python prints above an error of a run: the user's frames, and the few of ours they called.

A run fails some twenty calls deep in the engine, often with the exception it came from as deep as that: printed whole these are eighty
lines above the ten that matter. The whole of them is in the run's ``trace.txt``, which the error names.
"""

from __future__ import annotations

from dataflow.errors import DataflowError
from dataflow.frames import of_users

__all__ = ["in_short"]


def in_short(error: DataflowError) -> DataflowError:
    """The same error without the frames it was raised through, and its causes with the user's."""
    cause = error.__cause__ or error.__context__
    seen: set[int] = {id(error)}
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause.__traceback__ = of_users(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    return error.with_traceback(None)
