"""Sources, sinks, and the commit that makes all outputs of a run visible together. One connector a file."""
