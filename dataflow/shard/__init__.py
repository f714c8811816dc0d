"""A piece of data: batches, the exact encoding of Python values in Arrow, run files with checksums, merging."""
