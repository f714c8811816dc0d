"""What every contender of the first query prints. Needs nothing but the interpreter."""

__all__ = ["show", "told"]


def told(rows: list[tuple[int, int]]) -> str:
    """Rows, sum and checksum of sums by key, in any order."""
    return f"{len(rows)} keys, {sum(value for _, value in rows)} in all, checksum {sum((key + 1) * value for key, value in rows)}"


def show(rows: list[tuple[int, int]]) -> None:
    """Print the sums by key, after which the clock stops."""
    print('{"seconds": 0, "result": "%s"}' % told(rows), flush=True)  # noqa: UP031
