"""The scheduler with 1,000 slots, of whose tasks one in a hundred takes fifty times as long."""

import sys

from slots_64 import main

if __name__ == "__main__":
    main(sys.argv[1], slots=1_000, slow=0.01)
