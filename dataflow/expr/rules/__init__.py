"""Typing rules by namespace; `dataflow.expr.operations` puts their tables together."""
