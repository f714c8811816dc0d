"""What a runner does around a job, whichever runner it is: `Driver`, and what it must know of this process and machine."""
