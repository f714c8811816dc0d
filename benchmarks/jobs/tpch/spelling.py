"""The specification's SQL where an engine needs another spelling for the same result. Standard library only."""

from __future__ import annotations

import re

from data import sql

__all__ = ["doubles", "for_daft"]


def doubles(query: int) -> str:
    """A query in which means and quotients of decimals are doubles, as DuckDB, Polars and we have them; others cut them to six places."""
    text = re.sub(r"\bavg\(([^()]*)\)", r"avg(cast(\1 as double))", sql(query))
    return re.sub(r"/ (sum\((?:[^()]|\([^()]*\))*\)|7\.0)", r"/ cast(\1 as double)", text)


# Daft 0.7 gives products of decimals all the places they might need, and refuses more than 38; it takes literals with a point for
# doubles, and neither casts a branch of a CASE to the other's type nor pushes `date '…'` into a scan.
DAFT = (
    (r"1 - l_discount", "cast(1 as decimal(3,2)) - cast(l_discount as decimal(3,2))"),
    (r"1 \+ l_tax", "cast(1 as decimal(3,2)) + cast(l_tax as decimal(3,2))"),
    (r"\.06 - 0\.01 and \.06 \+ 0\.01", "cast('0.05' as decimal(15,2)) and cast('0.07' as decimal(15,2))"),
    (r"else 0(?=\s+end\) /)", "else cast(0 as decimal(20,4))"),
    (r"substring\(c_phone from 1 for 2\)", "left(c_phone, 2)"),
    (r"date ('[0-9-]+')", r"cast(\1 as date)"),
)
# It has no EXISTS with an inequality: another supplier of an order is seen by the least and the greatest of its suppliers.
DAFT_Q21 = """
    select s_name, count(*) as numwait
    from supplier, lineitem l1, orders, nation
    where s_suppkey = l1.l_suppkey and o_orderkey = l1.l_orderkey and o_orderstatus = 'F' and l1.l_receiptdate > l1.l_commitdate
        and l1.l_orderkey in (select l_orderkey from lineitem group by l_orderkey having min(l_suppkey) < max(l_suppkey))
        and l1.l_orderkey in (
            select l_orderkey from lineitem where l_receiptdate > l_commitdate group by l_orderkey having min(l_suppkey) = max(l_suppkey)
        )
        and s_nationkey = n_nationkey and n_name = 'SAUDI ARABIA'
    group by s_name order by numwait desc, s_name limit 100
"""


def for_daft(query: int) -> str:
    """A query as Daft understands it."""
    text = DAFT_Q21 if query == 21 else doubles(query)
    for pattern, spelled in DAFT:
        text = re.sub(pattern, spelled, text)
    return text
