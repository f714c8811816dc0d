"""The one scheduler: what runs when, again, twice; and the job that drives a plan's phases through it."""
