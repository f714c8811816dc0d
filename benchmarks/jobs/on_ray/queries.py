"""The queries of TPC-H that are run on clusters: an aggregation, joins of three to eight tables, groups that are large, and anti-joins."""

QUERIES = (1, 3, 5, 9, 18, 21)
