"""One package a job: its description, and one script for each contender."""
