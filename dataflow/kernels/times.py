"""Operations on dates, times and durations in Polars."""

from __future__ import annotations

from dataflow.kernels.lowered import Kernel, own
from dataflow.kernels.types import to_polars

__all__ = ["KERNELS"]


def _date_part(method: str) -> Kernel:
    return lambda args, options, kind: getattr(args[0].expr.dt, method)().cast(to_polars(kind))


KERNELS: dict[str, Kernel] = {
    # time
    "dt.year": _date_part("year"), "dt.month": _date_part("month"), "dt.day": _date_part("day"), "dt.date": _date_part("date"),
    "dt.offset_by": own("dt.offset_by"),
}  # fmt: skip
