"""Sources, sinks, and the commit that makes all outputs of a run visible together. One connector a file."""

from dataflow.collector import patient_collector

with patient_collector():  # the first import of Arrow, and of NumPy with it
    import pyarrow as pyarrow
