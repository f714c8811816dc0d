"""This process and this machine's processes: the default runner."""

from runners.local.runner import LocalRunner

__all__ = ["LocalRunner"]
