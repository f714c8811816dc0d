"""The three jobs in SQL, by their names. Needs nothing but the standard library."""

QUERIES = {
    "sort": "SELECT * FROM lineitem ORDER BY l_shipdate, l_orderkey",
    "group": """
        SELECT l_orderkey, l_partkey, sum(l_quantity) AS quantity, max(l_extendedprice) AS price
        FROM lineitem GROUP BY l_orderkey, l_partkey
    """,
    "join": """
        SELECT l_orderkey, l_partkey, l_quantity, o_custkey, o_comment
        FROM lineitem JOIN orders ON l_orderkey = o_orderkey
    """,
}
