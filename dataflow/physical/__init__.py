"""Plan to phases: where the plan is cut, what each task is given, where it may run."""
