"""Logical plans: immutable nodes that say what, never how. No kernels, no threads, no files."""
