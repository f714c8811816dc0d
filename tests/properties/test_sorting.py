"""The vector sort puts any column in the order that Python's stable sort gives."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.kernels.sorting import sort_order

BYTES = st.one_of(st.sampled_from([0, 1]), st.integers(0, 255))


@st.composite
def of_one_length(draw: st.DrawFn) -> list[bytes]:
    """Strings of one length, of which often only some bytes differ, as in encoded sort keys."""
    width = draw(st.integers(0, 12))
    fixed = draw(st.lists(st.none() | BYTES, min_size=width, max_size=width))
    row = st.tuples(*(BYTES if byte is None else st.just(byte) for byte in fixed)).map(bytes)
    return draw(st.lists(row, max_size=40))


@settings(deadline=None)
@given(of_one_length() | st.lists(st.none() | st.binary(max_size=12), max_size=40), st.integers(0, 3))
def test_strings_of_bytes_sort_as_python_sorts_them(values: list[bytes | None], skipped: int) -> None:
    column = pa.array([b"before"] * skipped + values, pa.large_binary()).slice(skipped)  # within a longer buffer
    stable = sorted(range(len(values)), key=lambda at: (values[at] is not None, values[at] or b""))
    assert sort_order(column).tolist() == stable
