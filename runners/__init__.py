"""Places to run a plan. Each says where a task runs and how bytes reach it; what runs when is `dataflow.scheduling`'s."""
