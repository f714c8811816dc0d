"""What a user types. Builds plan nodes, and nothing else; running is a runner's.

`Pipeline` reads and runs, `PCollection` and its kin hold the verbs, `DoFn` is for steps with set-up or several outputs.
"""
