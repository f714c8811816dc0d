"""TPC-H 12 to 22 with column expressions, a function a query; 1 to 11 are in `columns`."""

from __future__ import annotations

from datetime import date

from benchmarks.jobs.tpch.columns import REVENUE
from benchmarks.jobs.tpch.tables import Records, Tables
from dataflow import col, when
from dataflow.expr.expression import Expr
from dataflow.expr.functions import len_

__all__ = ["q12", "q13", "q14", "q15", "q16", "q17", "q18", "q19", "q20", "q21", "q22"]


def q12(t: Tables) -> Records:
    """Shipping modes and order priority: whether cheap modes made urgent orders late."""
    urgent = col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    late = t.lineitem.filter(
        col("l_shipmode").is_in(["MAIL", "SHIP"])
        & (col("l_commitdate") < col("l_receiptdate"))
        & (col("l_shipdate") < col("l_commitdate"))
        & (col("l_receiptdate") >= date(1994, 1, 1))
        & (col("l_receiptdate") < date(1995, 1, 1))
    )
    return (
        t.orders.join(late, left_on="o_orderkey", right_on="l_orderkey")
        .group_by("l_shipmode")
        .agg(high_line_count=when(urgent).then(1).otherwise(0).sum(), low_line_count=when(urgent).then(0).otherwise(1).sum())
        .sort("l_shipmode")
    )


def q13(t: Tables) -> Records:
    """Customer distribution: how many customers have how many orders, those with special requests not counted."""
    return (
        t.customer.join(
            t.orders.filter(~col("o_comment").str.like("%special%requests%")), left_on="c_custkey", right_on="o_custkey", how="left"
        )
        .group_by("c_custkey")
        .agg(c_count=col("o_orderkey").count())
        .group_by("c_count")
        .agg(custdist=len_())
        .sort([col("custdist").desc(), col("c_count").desc()])
    )


def q14(t: Tables) -> Records:
    """Promotion effect: the share of promoted parts in a month's revenue, in percent."""
    promoted = col("p_type").str.starts_with("PROMO")
    return (
        t.lineitem.filter((col("l_shipdate") >= date(1995, 9, 1)) & (col("l_shipdate") < date(1995, 10, 1)))
        .join(t.part, left_on="l_partkey", right_on="p_partkey")
        .group_by()
        .agg(promo_revenue=100 * when(promoted).then(REVENUE).otherwise(0).sum() / REVENUE.sum())
    )


def q15(t: Tables) -> Records:
    """Top supplier: who brought most revenue in a quarter."""
    revenue = (
        t.lineitem.filter((col("l_shipdate") >= date(1996, 1, 1)) & (col("l_shipdate") < date(1996, 4, 1)))
        .group_by(supplier_no=col("l_suppkey"))
        .agg(total_revenue=REVENUE.sum())
    )
    most = revenue.group_by().agg(total_revenue=col("total_revenue").max())
    return (
        t.supplier.join(revenue.join(most, "total_revenue", how="semi"), left_on="s_suppkey", right_on="supplier_no")
        .select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .sort("s_suppkey")
    )


def q16(t: Tables) -> Records:
    """Parts and suppliers: how many suppliers without complaints can deliver parts of some kinds."""
    parts = t.part.filter(
        (col("p_brand") != "Brand#45")
        & ~col("p_type").str.starts_with("MEDIUM POLISHED")
        & col("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9])
    )
    complaints = t.supplier.filter(col("s_comment").str.like("%Customer%Complaints%"))
    return (
        parts.join(t.partsupp, left_on="p_partkey", right_on="ps_partkey")
        .join(complaints, left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .group_by("p_brand", "p_type", "p_size")
        .agg(supplier_cnt=col("ps_suppkey").n_unique())
        .sort([col("supplier_cnt").desc(), "p_brand", "p_type", "p_size"])
    )


def q17(t: Tables) -> Records:
    """Small-quantity-order revenue: what orders of less than a fifth of a part's mean quantity bring in a year."""
    lines = t.part.filter((col("p_brand") == "Brand#23") & (col("p_container") == "MED BOX")).join(
        t.lineitem, left_on="p_partkey", right_on="l_partkey"
    )
    small = lines.group_by("p_partkey").agg(small=0.2 * col("l_quantity").mean())
    return (
        lines.join(small, "p_partkey").filter(col("l_quantity") < col("small")).group_by().agg(avg_yearly=col("l_extendedprice").sum() / 7)
    )


def q18(t: Tables) -> Records:
    """Large volume customers: the hundred dearest orders of more than 300 pieces."""
    large = t.lineitem.group_by("l_orderkey").agg(quantity=col("l_quantity").sum()).filter(col("quantity") > 300)
    return (
        t.orders.join(large, left_on="o_orderkey", right_on="l_orderkey")
        .join(t.customer, left_on="o_custkey", right_on="c_custkey")
        .select("c_name", c_custkey=col("o_custkey"), o_orderkey=col("o_orderkey"), o_orderdate=col("o_orderdate"),
                o_totalprice=col("o_totalprice"), sum=col("quantity"))
        .sort([col("o_totalprice").desc(), "o_orderdate"])
        .limit(100)
    )  # fmt: skip


def q19(t: Tables) -> Records:
    """Discounted revenue: of parts in some containers, delivered by air and in person."""

    def fits(brand: str, containers: list[str], quantity: int, size: int) -> Expr:
        return (
            (col("p_brand") == brand)
            & col("p_container").is_in(containers)
            & col("l_quantity").is_between(quantity, quantity + 10)
            & col("p_size").is_between(1, size)
        )

    return (
        t.lineitem.filter(col("l_shipmode").is_in(["AIR", "AIR REG"]) & (col("l_shipinstruct") == "DELIVER IN PERSON"))
        .join(t.part, left_on="l_partkey", right_on="p_partkey")
        .filter(
            fits("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 1, 5)
            | fits("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10, 10)
            | fits("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 20, 15)
        )
        .group_by()
        .agg(revenue=REVENUE.sum())
    )


def q20(t: Tables) -> Records:
    """Potential part promotion: Canada's suppliers with more forest parts than they sell in half a year."""
    forest = t.part.filter(col("p_name").str.starts_with("forest"))
    offered = t.partsupp.join(forest, left_on="ps_partkey", right_on="p_partkey", how="semi")
    sold = (
        t.lineitem.filter((col("l_shipdate") >= date(1994, 1, 1)) & (col("l_shipdate") < date(1995, 1, 1)))
        .join(offered, left_on=["l_partkey", "l_suppkey"], right_on=["ps_partkey", "ps_suppkey"], how="semi")
        .group_by("l_partkey", "l_suppkey")
        .agg(half=0.5 * col("l_quantity").sum())
    )
    plenty = offered.join(sold, left_on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"]).filter(
        col("ps_availqty") > col("half")
    )
    return (
        t.supplier.join(t.nation.filter(col("n_name") == "CANADA"), left_on="s_nationkey", right_on="n_nationkey", how="semi")
        .join(plenty, left_on="s_suppkey", right_on="ps_suppkey", how="semi")
        .select("s_name", "s_address")
        .sort("s_name")
    )


def q21(t: Tables) -> Records:
    """Suppliers who kept orders waiting: the only ones late among several."""
    late = t.lineitem.filter(col("l_receiptdate") > col("l_commitdate"))
    arabian = t.supplier.join(t.nation.filter(col("n_name") == "SAUDI ARABIA"), left_on="s_nationkey", right_on="n_nationkey", how="semi")
    suspect = late.join(arabian, left_on="l_suppkey", right_on="s_suppkey").join(
        t.orders.filter(col("o_orderstatus") == "F"), left_on="l_orderkey", right_on="o_orderkey", how="semi"
    )
    other = col("l_suppkey") != col("other")
    return (
        suspect.join(t.lineitem.select("l_orderkey", other=col("l_suppkey")), "l_orderkey", how="semi", where=other)
        .join(late.select("l_orderkey", other=col("l_suppkey")), "l_orderkey", how="anti", where=other)
        .group_by("s_name")
        .agg(numwait=len_())
        .sort([col("numwait").desc(), "s_name"])
        .limit(100)
    )


def q22(t: Tables) -> Records:
    """Global sales opportunity: rich customers of some countries who ordered nothing yet."""
    customers = t.customer.with_columns(cntrycode=col("c_phone").str.slice(0, 2)).filter(
        col("cntrycode").is_in(["13", "31", "23", "29", "30", "18", "17"])
    )
    mean = customers.filter(col("c_acctbal") > 0).group_by().agg(mean=col("c_acctbal").mean())
    return (
        customers.join(mean, how="cross")
        .filter(col("c_acctbal") > col("mean"))
        .join(t.orders, left_on="c_custkey", right_on="o_custkey", how="anti")
        .group_by("cntrycode")
        .agg(numcust=len_(), totacctbal=col("c_acctbal").sum())
        .sort("cntrycode")
    )
