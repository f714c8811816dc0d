"""The meaning of a plan, as short as it can be said: rows in lists, no optimizer, no shards, one loop. The judge.

Every operation is defined here first; property tests hold all other runners to it.
"""

from runners.reference.runner import ReferenceRunner

__all__ = ["ReferenceRunner"]
