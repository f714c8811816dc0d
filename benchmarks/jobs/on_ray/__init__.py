"""Scripts that run on a Ray cluster of two cores on this machine, which is up, with workers started, before the clock starts."""
