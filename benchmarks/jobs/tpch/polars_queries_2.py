"""TPC-H 12 to 22 in Polars; 1 to 11 are in `polars_queries`."""

from __future__ import annotations

from datetime import date

import polars as pl
from polars import col
from polars_queries import REVENUE, Frames


def q12(t: Frames) -> pl.LazyFrame:
    urgent = col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    late = t["lineitem"].filter(
        col("l_shipmode").is_in(["MAIL", "SHIP"]),
        col("l_commitdate") < col("l_receiptdate"),
        col("l_shipdate") < col("l_commitdate"),
        col("l_receiptdate").is_between(date(1994, 1, 1), date(1995, 1, 1), closed="left"),
    )
    return (
        t["orders"]
        .join(late, left_on="o_orderkey", right_on="l_orderkey")
        .group_by("l_shipmode")
        .agg(high_line_count=urgent.sum(), low_line_count=(~urgent).sum())
        .sort("l_shipmode")
    )


def q13(t: Frames) -> pl.LazyFrame:
    plain = t["orders"].filter(~col("o_comment").str.contains("special.*requests"))
    return (
        t["customer"]
        .join(plain, left_on="c_custkey", right_on="o_custkey", how="left")
        .group_by("c_custkey")
        .agg(c_count=col("o_orderkey").count())
        .group_by("c_count")
        .agg(custdist=pl.len())
        .sort("custdist", "c_count", descending=True)
    )


def q14(t: Frames) -> pl.LazyFrame:
    promoted = REVENUE.filter(col("p_type").str.starts_with("PROMO")).sum().cast(pl.Float64)
    return (
        t["lineitem"]
        .filter(col("l_shipdate").is_between(date(1995, 9, 1), date(1995, 10, 1), closed="left"))
        .join(t["part"], left_on="l_partkey", right_on="p_partkey")
        .select(promo_revenue=100 * promoted / REVENUE.sum().cast(pl.Float64))
    )


def q15(t: Frames) -> pl.LazyFrame:
    revenue = (
        t["lineitem"]
        .filter(col("l_shipdate").is_between(date(1996, 1, 1), date(1996, 4, 1), closed="left"))
        .group_by("l_suppkey")
        .agg(total_revenue=REVENUE.sum())
    )
    return (
        t["supplier"]
        .join(revenue.filter(col("total_revenue") == col("total_revenue").max()), left_on="s_suppkey", right_on="l_suppkey")
        .select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .sort("s_suppkey")
    )


def q16(t: Frames) -> pl.LazyFrame:
    complaints = t["supplier"].filter(col("s_comment").str.contains("Customer.*Complaints"))
    return (
        t["part"]
        .filter(
            col("p_brand") != "Brand#45",
            ~col("p_type").str.starts_with("MEDIUM POLISHED"),
            col("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9]),
        )
        .join(t["partsupp"], left_on="p_partkey", right_on="ps_partkey")
        .join(complaints, left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .group_by("p_brand", "p_type", "p_size")
        .agg(supplier_cnt=col("ps_suppkey").n_unique())
        .sort("supplier_cnt", "p_brand", "p_type", "p_size", descending=[True, False, False, False])
    )


def q17(t: Frames) -> pl.LazyFrame:
    lines = (
        t["part"]
        .filter(col("p_brand") == "Brand#23", col("p_container") == "MED BOX")
        .join(t["lineitem"], left_on="p_partkey", right_on="l_partkey")
    )
    small = lines.group_by("p_partkey").agg(small=0.2 * col("l_quantity").mean())
    return (
        lines.join(small, on="p_partkey")
        .filter(col("l_quantity").cast(pl.Float64) < col("small"))
        .select(avg_yearly=col("l_extendedprice").sum().cast(pl.Float64) / 7.0)
    )


def q18(t: Frames) -> pl.LazyFrame:
    large = t["lineitem"].group_by("l_orderkey").agg(sum=col("l_quantity").sum()).filter(col("sum") > 300)
    return (
        t["orders"]
        .join(large, left_on="o_orderkey", right_on="l_orderkey")
        .join(t["customer"], left_on="o_custkey", right_on="c_custkey")
        .select("c_name", col("o_custkey").alias("c_custkey"), "o_orderkey", "o_orderdate", "o_totalprice", "sum")
        .sort("o_totalprice", "o_orderdate", descending=[True, False])
        .head(100)
    )


def q19(t: Frames) -> pl.LazyFrame:
    def fits(brand: str, containers: list[str], quantity: int, size: int) -> pl.Expr:
        return (
            (col("p_brand") == brand)
            & col("p_container").is_in(containers)
            & col("l_quantity").is_between(quantity, quantity + 10)
            & col("p_size").is_between(1, size)
        )

    return (
        t["lineitem"]
        .filter(col("l_shipmode").is_in(["AIR", "AIR REG"]), col("l_shipinstruct") == "DELIVER IN PERSON")
        .join(t["part"], left_on="l_partkey", right_on="p_partkey")
        .filter(
            fits("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 1, 5)
            | fits("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10, 10)
            | fits("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 20, 15)
        )
        .select(revenue=REVENUE.sum())
    )


def q20(t: Frames) -> pl.LazyFrame:
    forest = t["part"].filter(col("p_name").str.starts_with("forest"))
    offered = t["partsupp"].join(forest, left_on="ps_partkey", right_on="p_partkey", how="semi")
    keys = {"left_on": ["l_partkey", "l_suppkey"], "right_on": ["ps_partkey", "ps_suppkey"]}
    sold = (
        t["lineitem"]
        .filter(col("l_shipdate").is_between(date(1994, 1, 1), date(1995, 1, 1), closed="left"))
        .join(offered, how="semi", **keys)
        .group_by("l_partkey", "l_suppkey")
        .agg(sold=col("l_quantity").sum())
    )
    plenty = sold.join(offered, **keys).filter(2 * col("ps_availqty") > col("sold"))
    canadian = t["supplier"].join(t["nation"].filter(col("n_name") == "CANADA"), left_on="s_nationkey", right_on="n_nationkey", how="semi")
    return canadian.join(plenty, left_on="s_suppkey", right_on="l_suppkey", how="semi").select("s_name", "s_address").sort("s_name")


def q21(t: Frames) -> pl.LazyFrame:
    late = t["lineitem"].filter(col("l_receiptdate") > col("l_commitdate"))
    low, high = col("l_suppkey").min().alias("low"), col("l_suppkey").max().alias("high")
    several = t["lineitem"].group_by("l_orderkey").agg(low, high).filter(col("low") < col("high"))
    alone = late.group_by("l_orderkey").agg(low, high).filter(col("low") == col("high"))
    arabian = t["supplier"].join(
        t["nation"].filter(col("n_name") == "SAUDI ARABIA"), left_on="s_nationkey", right_on="n_nationkey", how="semi"
    )
    return (
        late.join(arabian, left_on="l_suppkey", right_on="s_suppkey")
        .join(t["orders"].filter(col("o_orderstatus") == "F"), left_on="l_orderkey", right_on="o_orderkey", how="semi")
        .join(alone, on="l_orderkey", how="semi")
        .join(several, on="l_orderkey", how="semi")
        .group_by("s_name")
        .agg(numwait=pl.len())
        .sort("numwait", "s_name", descending=[True, False])
        .head(100)
    )


def q22(t: Frames) -> pl.LazyFrame:
    customers = (
        t["customer"]
        .with_columns(cntrycode=col("c_phone").str.slice(0, 2))
        .filter(col("cntrycode").is_in(["13", "31", "23", "29", "30", "18", "17"]))
    )
    mean = customers.filter(col("c_acctbal") > 0).select(mean=col("c_acctbal").mean())
    return (
        customers.join(mean, how="cross")
        .filter(col("c_acctbal").cast(pl.Float64) > col("mean"))
        .join(t["orders"], left_on="c_custkey", right_on="o_custkey", how="anti")
        .group_by("cntrycode")
        .agg(numcust=pl.len(), totacctbal=col("c_acctbal").sum())
        .sort("cntrycode")
    )
