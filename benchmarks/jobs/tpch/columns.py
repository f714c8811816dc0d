"""TPC-H 1 to 11 with column expressions, a function a query; 12 to 22 are in `columns_2`.

Joins stand in the order in which a person would do them who knows the tables: what is filtered hardest comes first, and large
tables are joined to small results. Parameters are those of the specification's validation runs.
"""

from __future__ import annotations

from datetime import date

from benchmarks.jobs.tpch.tables import Records, Tables
from dataflow import col, when
from dataflow.expr.functions import len_

__all__ = ["REVENUE", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11"]

REVENUE = col("l_extendedprice") * (1 - col("l_discount"))


def q1(t: Tables) -> Records:
    """Pricing summary: sums and means of what was shipped up to a day."""
    return (
        t.lineitem.filter(col("l_shipdate") <= date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            sum_qty=col("l_quantity").sum(),
            sum_base_price=col("l_extendedprice").sum(),
            sum_disc_price=REVENUE.sum(),
            sum_charge=(REVENUE * (1 + col("l_tax"))).sum(),
            avg_qty=col("l_quantity").mean(),
            avg_price=col("l_extendedprice").mean(),
            avg_disc=col("l_discount").mean(),
            count_order=len_(),
        )
        .sort(["l_returnflag", "l_linestatus"])
    )


def q2(t: Tables) -> Records:
    """Minimum cost supplier: who in Europe offers a brass part of size 15 at the least cost."""
    offers = (
        t.part.filter((col("p_size") == 15) & col("p_type").str.ends_with("BRASS"))
        .join(t.partsupp, left_on="p_partkey", right_on="ps_partkey")
        .join(t.supplier, left_on="ps_suppkey", right_on="s_suppkey")
        .join(t.nation, left_on="s_nationkey", right_on="n_nationkey")
        .join(t.region.filter(col("r_name") == "EUROPE"), left_on="n_regionkey", right_on="r_regionkey", how="semi")
    )
    least = offers.group_by("p_partkey").agg(ps_supplycost=col("ps_supplycost").min())
    return (
        offers.join(least, ["p_partkey", "ps_supplycost"], how="semi")
        .select("s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment")
        .sort([col("s_acctbal").desc(), "n_name", "s_name", "p_partkey"])
        .limit(100)
    )


def q3(t: Tables) -> Records:
    """Shipping priority: the ten unshipped orders of most revenue."""
    day = date(1995, 3, 15)
    return (
        t.orders.filter(col("o_orderdate") < day)
        .join(t.customer.filter(col("c_mktsegment") == "BUILDING"), left_on="o_custkey", right_on="c_custkey", how="semi")
        .join(t.lineitem.filter(col("l_shipdate") > day), left_on="o_orderkey", right_on="l_orderkey")
        .group_by("l_orderkey", "o_orderdate", "o_shippriority")
        .agg(revenue=REVENUE.sum())
        .select("l_orderkey", "revenue", "o_orderdate", "o_shippriority")
        .sort([col("revenue").desc(), "o_orderdate"])
        .limit(10)
    )


def q4(t: Tables) -> Records:
    """Order priority checking: orders of a quarter with a line that came late."""
    return (
        t.orders.filter((col("o_orderdate") >= date(1993, 7, 1)) & (col("o_orderdate") < date(1993, 10, 1)))
        .join(t.lineitem.filter(col("l_commitdate") < col("l_receiptdate")), left_on="o_orderkey", right_on="l_orderkey", how="semi")
        .group_by("o_orderpriority")
        .agg(order_count=len_())
        .sort("o_orderpriority")
    )


def q5(t: Tables) -> Records:
    """Local supplier volume: revenue in Asia where customer and supplier are of one nation."""
    return (
        t.region.filter(col("r_name") == "ASIA")
        .join(t.nation, left_on="r_regionkey", right_on="n_regionkey")
        .join(t.customer, left_on="n_nationkey", right_on="c_nationkey")
        .join(
            t.orders.filter((col("o_orderdate") >= date(1994, 1, 1)) & (col("o_orderdate") < date(1995, 1, 1))),
            left_on="c_custkey",
            right_on="o_custkey",
        )
        .join(t.lineitem, left_on="o_orderkey", right_on="l_orderkey")
        .join(t.supplier, left_on=["l_suppkey", "n_nationkey"], right_on=["s_suppkey", "s_nationkey"], how="semi")
        .group_by("n_name")
        .agg(revenue=REVENUE.sum())
        .sort(col("revenue").desc())
    )


def q6(t: Tables) -> Records:
    """Forecasting revenue change: what small orders would have given without their discounts."""
    return t.lineitem.filter(
        (col("l_shipdate") >= date(1994, 1, 1)) & (col("l_shipdate") < date(1995, 1, 1))
        & col("l_discount").is_between(0.05, 0.07) & (col("l_quantity") < 24)
    ).group_by().agg(revenue=(col("l_extendedprice") * col("l_discount")).sum())  # fmt: skip


def q7(t: Tables) -> Records:
    """Volume shipping: between France and Germany, by year and direction."""
    both = t.nation.filter(col("n_name").is_in(["FRANCE", "GERMANY"]))
    customers = t.customer.join(both.select("n_nationkey", cust_nation=col("n_name")), left_on="c_nationkey", right_on="n_nationkey")
    suppliers = t.supplier.join(both.select("n_nationkey", supp_nation=col("n_name")), left_on="s_nationkey", right_on="n_nationkey")
    return (
        t.lineitem.filter(col("l_shipdate").is_between(date(1995, 1, 1), date(1996, 12, 31)))
        .join(suppliers, left_on="l_suppkey", right_on="s_suppkey")
        .join(t.orders.join(customers, left_on="o_custkey", right_on="c_custkey"), left_on="l_orderkey", right_on="o_orderkey")
        .filter(col("supp_nation") != col("cust_nation"))
        .group_by("supp_nation", "cust_nation", l_year=col("l_shipdate").dt.year())
        .agg(revenue=REVENUE.sum())
        .sort(["supp_nation", "cust_nation", "l_year"])
    )


def q8(t: Tables) -> Records:
    """National market share: Brazil's share of a kind of steel in America, by year."""
    american = t.nation.join(t.region.filter(col("r_name") == "AMERICA"), left_on="n_regionkey", right_on="r_regionkey", how="semi")
    in_years = col("o_orderdate").is_between(date(1995, 1, 1), date(1996, 12, 31))
    volume, of_brazil = col("volume"), col("n_name") == "BRAZIL"
    return (
        t.part.filter(col("p_type") == "ECONOMY ANODIZED STEEL")
        .join(t.lineitem, left_on="p_partkey", right_on="l_partkey")
        .join(t.orders.filter(in_years), left_on="l_orderkey", right_on="o_orderkey")
        .join(t.customer, left_on="o_custkey", right_on="c_custkey")
        .join(american, left_on="c_nationkey", right_on="n_nationkey", how="semi")
        .join(t.supplier, left_on="l_suppkey", right_on="s_suppkey")
        .join(t.nation, left_on="s_nationkey", right_on="n_nationkey")
        .select("n_name", o_year=col("o_orderdate").dt.year(), volume=REVENUE)
        .group_by("o_year")
        .agg(mkt_share=when(of_brazil).then(volume).otherwise(0).sum() / volume.sum())
        .sort("o_year")
    )


def q9(t: Tables) -> Records:
    """Product type profit measure: profit on green parts, by nation and year."""
    return (
        t.part.filter(col("p_name").str.contains("green", literal=True))
        .join(t.partsupp, left_on="p_partkey", right_on="ps_partkey")
        .join(t.supplier, left_on="ps_suppkey", right_on="s_suppkey")
        .join(t.nation, left_on="s_nationkey", right_on="n_nationkey")
        .join(t.lineitem, left_on=["p_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .join(t.orders, left_on="l_orderkey", right_on="o_orderkey")
        .group_by(nation=col("n_name"), o_year=col("o_orderdate").dt.year())
        .agg(sum_profit=(REVENUE - col("ps_supplycost") * col("l_quantity")).sum())
        .sort(["nation", col("o_year").desc()])
    )


def q10(t: Tables) -> Records:
    """Returned item reporting: the twenty customers who lost most revenue by returns in a quarter."""
    return (
        t.orders.filter((col("o_orderdate") >= date(1993, 10, 1)) & (col("o_orderdate") < date(1994, 1, 1)))
        .join(t.lineitem.filter(col("l_returnflag") == "R"), left_on="o_orderkey", right_on="l_orderkey")
        .join(t.customer, left_on="o_custkey", right_on="c_custkey")
        .join(t.nation, left_on="c_nationkey", right_on="n_nationkey")
        .group_by("c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment")
        .agg(revenue=REVENUE.sum())
        .select("c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment")
        .sort(col("revenue").desc())
        .limit(20)
    )


def q11(t: Tables) -> Records:
    """Important stock: parts that make a notable part of the value of Germany's stock."""
    stock = t.partsupp.join(
        t.supplier.join(t.nation.filter(col("n_name") == "GERMANY"), left_on="s_nationkey", right_on="n_nationkey", how="semi"),
        left_on="ps_suppkey",
        right_on="s_suppkey",
        how="semi",
    ).select("ps_partkey", value=col("ps_supplycost") * col("ps_availqty"))
    least = stock.group_by().agg(least=col("value").sum() * 0.0001)
    return (
        stock.group_by("ps_partkey")
        .agg(value=col("value").sum())
        .join(least, how="cross")
        .filter(col("value") > col("least"))
        .select("ps_partkey", "value")
        .sort(col("value").desc())
    )
