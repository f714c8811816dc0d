"""``python -m dataflow``: the command line, where its script is not on the path."""

from dataflow.cli import main

main()
