"""TPC-H with dataflow's SQL."""

import sys

from ours import main

if __name__ == "__main__":
    main(*sys.argv[1:3], "sql")
