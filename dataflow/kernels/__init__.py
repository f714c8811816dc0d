"""Arrow columns to Arrow columns, pure functions: sorting, grouping, and Python functions known to have a kernel."""
