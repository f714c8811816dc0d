"""What a step is called in pandas, Polars, Spark and Beam, and here: for the error that names what is not there.

collection.withColumn ─ no such attribute ─> `said_here` ─> AttributeError: … ; here it is with_columns(name=…)
"""

from __future__ import annotations

from dataflow.errors import nearest

__all__ = ["said_here", "not_there_yet"]

_STEPS = {
    "group_by(…).agg(total=col(…).sum())": "groupby groupBy aggregate agg",
    "with_columns(name=…)": "assign withColumn withColumns with_column mutate eval",
    "with_columns(col(…).cast(…))": "astype",
    "with_columns(col(…).fill_null(…))": "fillna fill_null fill_nan",
    "filter(col(…) > …)": "query loc iloc Filter",
    "filter(col(…).is_not_null())": "dropna drop_nulls",
    "rename({'old': 'new'})": "withColumnRenamed withColumnsRenamed",
    "select(…)": "selectExpr select_expr",
    "join(other, on=…)": "merge",
    'join(other, how="cross")': "crossJoin cross_join",
    "join_asof(other, on=…)": "merge_asof",
    "sort(…)": "sort_values orderBy order_by sortBy sort_by sortByKey",
    "distinct(…)": "drop_duplicates dropDuplicates unique Distinct duplicated",
    "union(other)": "append vstack unionAll unionByName union_all Flatten extend",
    "unpivot(…)": "melt",
    "pivot(…)": "pivot_table",
    "map(fn)": "apply applymap Map foreach rdd mapValues transform",
    "flat_map(fn)": "flatMap FlatMap",
    "map_batches(fn)": "mapPartitions mapInPandas mapInArrow applyInPandas MapPartitions",
    "parallel_do(DoFn())": "ParDo",
    "key_by(fn) or as_table() first, which make a PTable": (
        "group_by_key groupByKey GroupByKey reduceByKey combineByKey aggregateByKey keys values"
    ),
    "intersect(other)": "intersection",
    "subtract(other)": "difference exceptAll except_all",
    "redistribute(…)": "repartition coalesce shuffle Reshuffle",
    "sample(…)": "random_sample",
    "head(n) for the elements now, limit(n) as a step": "take first tail fetch nlargest",
    "top(n)": "nlargest top_k",
    "collect() for a list, or to_polars(), to_pandas(), to_arrow()": (
        "to_dict to_dicts to_list tolist rows iter_rows iterrows itertuples toLocalIterator take_all"
    ),
    "to_pandas()": "toPandas",
    "to_arrow()": "toArrow",
    "schema": "columns dtypes printSchema print_schema info",
    "count() for the number of each, size() for that of all": "shape height value_counts",
    "explain()": "explain_plan",
    "describe()": "summary",
    "write_parquet(path), and p.run()": "to_parquet sink_parquet write to_table saveAsTable WriteToParquet",
    "write_csv(path), and p.run()": "to_csv sink_csv",
    "write_jsonl(path), and p.run()": "to_json sink_ndjson write_json write_ndjson",
    "write_text(path), and p.run()": "saveAsTextFile WriteToText",
    "p.sql('select … from orders', orders=orders)": "createOrReplaceTempView sql registerTempTable",
    "nothing: a run computes each step once, and a notebook's write is not run again": "cache persist lazy checkpoint unpersist",
}
_GROUPS = {
    "agg(col(…).sum()), one aggregate for each column": "sum mean avg min max median std var first last quantile n_unique all any",
    "agg(n=len_()), with len_ from dataflow": "count len size",
    "agg(…) first, which gives a collection": "collect show head to_polars to_pandas to_arrow write_parquet filter select sort",
    "agg(values=col(…).collect())": "agg_list collect_list implode",
    "key_by(fn).group_by_key().map_groups(fn) instead of group_by": "apply map map_groups applyInPandas transform",
}
_BY_NAME = {
    kind: {name: here for here, names in table.items() for name in names.split()} for kind, table in (("step", _STEPS), ("group", _GROUPS))
}


def said_here(of: object, name: str, kind: str = "step") -> AttributeError:
    """The error of an attribute that is not there, with what does the same here, or the name most like it.

    >>> from dataflow import Pipeline
    >>> print(said_here(Pipeline().create([1]), "withColumn"))
    'PCollection' has no attribute 'withColumn'; here that is with_columns(name=…)
    """
    text = f"{type(of).__name__!r} has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(text)
    if here := _BY_NAME[kind].get(name):
        return AttributeError(f"{text}; here that is {here}")
    close = nearest(name, [one for one in dir(of) if not one.startswith("_")])
    return AttributeError(f"{text}; did you mean {close!r}?" if close is not None else text)


def not_there_yet(of: object, verb: str, instead: str = "collect() or head(n) computes its elements") -> TypeError:
    """The error of who takes a collection for its elements.

    >>> from dataflow import Pipeline
    >>> print(not_there_yet(Pipeline().create([1]), "cannot be iterated over"))
    a PCollection is not computed, and cannot be iterated over: collect() or head(n) computes its elements
    """
    return TypeError(f"a {type(of).__name__} is not computed, and {verb}: {instead}")
