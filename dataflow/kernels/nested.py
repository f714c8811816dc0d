"""Operations on lists, structs, maps and bytes in Polars."""

from __future__ import annotations

from dataflow.kernels.lowered import Kernel, own

__all__ = ["KERNELS"]


KERNELS: dict[str, Kernel] = {
    # lists and structs
    "list.len": own("list.len", to=True), "list.get": lambda a, o, k: a[0].expr.list.get(o["index"], null_on_oob=True),
    "struct.field": lambda a, o, k: a[0].expr.struct.field(o["name"]),
}  # fmt: skip
