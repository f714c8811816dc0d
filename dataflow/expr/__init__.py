"""Column expressions: what a user writes about the columns of records.

    col("price") * 2 > 10      Expr        the methods a user types      (expression, strings, times, lists, …)
             │
             ▼
    Call(greater, …)           ExprNode    an immutable tree, compared by value       (nodes)
             │   type_of(node, schema)     a DType, or an ExprError that says why     (typing, operations, types)
             ▼
    kernels/expressions  ·  runners/reference/expressions      two meanings, held equal by property tests

An operation is a name (`"str.contains"`) with a typing rule in `operations`; both meanings have a table of the same names,
and a test compares the three. Nothing here imports Arrow or the kernel library.
"""
