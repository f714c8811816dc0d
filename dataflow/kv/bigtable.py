"""A store in Bigtable, the ground that Percolator was built on; whatever speaks its protocol serves, as Google's emulator does.

    key     row key + qualifier, as `keys.row_of` parts it        family   a column family, one version of each cell
    mutate  CheckAndMutateRow: one call, one row, at one moment     many     one call a row, many at once, those of a row in turn
    scan    ReadRows: the end of a row, whole rows, the beginning of another; page by page

How conditions become filters is told in `bigtable_filters`, what a lost answer means in `bigtable_client`. A row lies in one server, and
its mutations there happen one after the other; nothing else is atomic. Set ``BIGTABLE_EMULATOR_HOST`` to use an emulator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from typing import Any, Literal
from urllib.parse import urlsplit

from google.api_core import exceptions as refusals

from dataflow.errors import OutcomeUnknownError, Report, StoreError
from dataflow.kv.bigtable_client import BigtableCalls
from dataflow.kv.bigtable_filters import Segment, cells, changes, check, exactly, interleaved, segments, within
from dataflow.kv.rows import row_if_seen, row_or_key
from dataflow.kv.store import FAMILIES, Edit, Entry, Equals, Mutation, Outcome, Range, unknown

__all__ = ["BigtableStore"]

_FORMAT = 1
_FORMAT_KEY = b"format"
_TIMESTAMPS = "timestamps"  # a family of its own, so that no scan sees the counter
_PAGE = (64, 1024)  # rows, or cells of one row, of the first page of a scan, and of the largest
_FILTER_BYTES = 12_000  # Bigtable takes filters of up to 20 kB
_MOST_KEYS = 500


class BigtableStore:
    """An ordered key-value store in a table of Bigtable.

    .. code:: python

        store = BigtableStore.open("bigtable://project/instance/table")
        store.mutate(Mutation(row, (Absent("write", row, end_of_row(row)),), (Edit("data", key, b"text"),)))

    ``create``: make the table and its families where they are missing. ``threads``: calls under way at once in `mutate_many`.
    ``timeout``: seconds for a call. ``patience``: seconds in which reads are repeated. ``app_profile``: must route to a single
    cluster and allow single-row transactions; without these Bigtable refuses conditional changes.
    """

    atomic: Literal["row", "store"] = "row"
    shared = True

    def __init__(
        self,
        project: str,
        instance: str,
        table: str,
        *,
        create: bool = True,
        threads: int = 16,
        timeout: float = 60.0,
        patience: float = 15.0,
        app_profile: str = "",
        credentials: Any = None,
    ) -> None:
        self.name = f"bigtable://{project}/{instance}/{table}"
        self._parent, self._id, self._profile = f"projects/{project}/instances/{instance}", table, app_profile
        place = f"{self._parent}/tables/{table}"
        self._calls = BigtableCalls(place, name=self.name, timeout=timeout, patience=patience, credentials=credentials)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dataflow bigtable")
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, address: str, **options: Any) -> BigtableStore:
        """The store at ``bigtable://project/instance/table``; options as of the class."""
        parts = urlsplit(address)
        path = parts.path.strip("/").split("/")
        if parts.scheme != "bigtable" or not parts.netloc or len(path) != 2 or not all(path):
            raise StoreError(Report(f"no address of a Bigtable table: {address!r}", hint="write bigtable://project/instance/table"))
        return cls(parts.netloc, *path, **options)

    def _prepare(self, create: bool) -> None:
        try:
            found = self.get("meta", _FORMAT_KEY)
        except StoreError:
            if not create:
                raise
            found = None
        if found is None and create:
            self._lay_down()
            row = row_or_key(_FORMAT_KEY)
            mark = Mutation(row, (Equals("meta", _FORMAT_KEY, None),), (Edit("meta", _FORMAT_KEY, str(_FORMAT).encode()),))
            self._calls.again(lambda: self.mutate(mark))
            found = self.get("meta", _FORMAT_KEY)
        if found != str(_FORMAT).encode():
            has = (found or b"none").decode(errors="replace")
            raise StoreError(
                Report(
                    f"{self.name} has format {has!r}; this version writes {_FORMAT}",
                    hint="a newer version of dataflow wrote it, or another program: use that one, or another table",
                )
            )

    def _lay_down(self) -> None:
        """Make the table and its families where they are missing."""
        admin = self._calls.admin()
        family = {"gc_rule": {"max_num_versions": 1}}
        wanted = (*FAMILIES, _TIMESTAMPS)
        try:
            try:
                table = {"column_families": dict.fromkeys(wanted, family)}
                admin.create_table(request={"parent": self._parent, "table_id": self._id, "table": table})
            except refusals.AlreadyExists:
                for _ in wanted:  # at most so often does another make one of them meanwhile
                    there = admin.get_table(request={"name": self._calls.table}).column_families
                    missing = [{"id": each, "create": family} for each in wanted if each not in there]
                    if not missing:
                        break
                    with suppress(refusals.AlreadyExists):
                        admin.modify_column_families(request={"name": self._calls.table, "modifications": missing})
        except refusals.GoogleAPIError as reason:
            raise self._calls.refused(reason) from reason
        finally:
            admin.transport.close()

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value at a key, None if there is none."""
        return self.get_many(family, [key])[0]

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at keys, in their order."""
        _known(family)
        found: dict[bytes, bytes] = {}
        at = 0
        while at < len(keys):
            rows: dict[bytes, None] = {}
            qualifiers: dict[bytes, None] = {}
            room = _FILTER_BYTES
            while at < len(keys) and len(rows) < _MOST_KEYS and (room > 0 or not rows):
                row = row_or_key(keys[at])
                qualifier = keys[at][len(row) :]
                if qualifier not in qualifiers:
                    room -= 2 * len(qualifier) + 40
                rows[row] = qualifiers[qualifier] = None
                at += 1
            wanted = interleaved([exactly(family, qualifier) for qualifier in qualifiers])
            for row, listed in self._read({"rows": {"row_keys": list(rows)}, "filter": wanted}):
                found.update((row + qualifier, value) for _, qualifier, value in listed)
        return [*map(found.get, keys)]

    def scan(self, family: str, start: bytes, stop: bytes, *, reverse: bool = False, limit: int | None = None) -> Iterator[Entry]:
        """The entries from ``start`` up to ``stop``, page by page; backwards, a row is read as a whole."""
        _known(family)
        left = limit if limit is not None else 1 << 62
        parts = segments(start, stop)
        for part in reversed(parts) if reverse else parts:
            for entry in self._part(family, part, reverse, left):
                if left <= 0:
                    return
                left -= 1
                yield entry

    def _part(self, family: str, part: Segment, reverse: bool, left: int) -> Iterator[Entry]:
        size = _PAGE[0]
        one = part.row is not None
        while left > 0:
            wanted = cells(family, part.low, part.high)
            most = min(left, size if one else 1 << 30)
            if not reverse and most < 1 << 30:
                wanted = {"chain": {"filters": [wanted, {"cells_per_row_limit_filter": most}]}}
            asked = min(left, size)
            bounds: dict[str, bytes] = {}
            if part.start or not part.closed:
                bounds["start_key_closed" if part.closed else "start_key_open"] = part.start
            if part.stop is not None:
                bounds["end_key_open"] = part.stop
            page = self._read({"rows": {"row_ranges": [bounds]}, "filter": wanted, "rows_limit": asked, "reversed": reverse})
            for row, listed in page:
                left -= len(listed)
                for _, qualifier, value in reversed(listed) if reverse else listed:
                    yield row + qualifier, value
            if one:
                if reverse or not page or len(page[0][1]) < most:
                    return
                part = part._replace(low=page[0][1][-1][1] + b"\x00")
            else:
                if len(page) < asked:
                    return
                last = page[-1][0]
                part = part._replace(stop=last) if reverse else part._replace(start=last, closed=False)
                if part.stop is not None and (part.start > part.stop or (part.start + b"\x00" == part.stop and not part.closed)):
                    return
            size = min(2 * size, _PAGE[1])

    def firsts(self, ranges: Sequence[Range]) -> list[Entry | None]:
        """The first entry of each range. Ranges that begin in one row and stand together look at it at one moment; else in order."""
        answers: list[Entry | None] = []
        for row, run in groupby(ranges, lambda each: row_if_seen(each.start)):
            part = list(run)
            if row is None:
                answers += [next(self.scan(*each, limit=1), None) for each in part]
                continue
            while part:
                size, most = 0, 0
                while most < len(part) and (size < _FILTER_BYTES or not most):
                    size += len(part[most].start) + len(part[most].stop) + 60
                    most += 1
                answers += self._firsts(row, part[:most])
                part = part[most:]
        return answers

    def _firsts(self, row: bytes, ranges: Sequence[Range]) -> list[Entry | None]:
        bounds = [within(row, start, stop) for _, start, stop in ranges]
        wanted = [
            {"chain": {"filters": [cells(_known(each.family), *bound), {"cells_per_row_limit_filter": 1}]}}
            for each, bound in zip(ranges, bounds)
            if bound
        ]
        found = self._read({"rows": {"row_keys": [row]}, "filter": interleaved(wanted)}) if wanted else []
        listed = found[0][1] if found else []
        answers: list[Entry | None] = []
        for family, start, stop in ranges:
            here = [(row + name, value) for kept, name, value in listed if kept == family and start <= row + name < stop]
            behind = row + b"\xff"  # rows that begin with the bytes of this one
            answers.append(min(here, default=None) or next(self.scan(family, max(start, behind), stop, limit=1), None))
        return answers

    def _read(self, request: dict[str, Any]) -> list[tuple[bytes, list[tuple[str, bytes, bytes]]]]:
        return self._calls.read({"app_profile_id": self._profile} | request)

    def _change(self, method: str, row: bytes, request: dict[str, Any]) -> Any:
        return self._calls.change(method, {"row_key": row, "app_profile_id": self._profile} | request)

    def write(self, edits: Sequence[Edit], *, sync: bool = True) -> None:
        """Make all edits, which must be of one row."""
        if edits:
            row = row_or_key(edits[0].key)
            self._change("mutate_row", row, {"mutations": changes(row, edits)})

    def mutate(self, mutation: Mutation, *, sync: bool = True) -> bool:
        """Make the edits if the conditions hold, and say whether they did."""
        row, require, edits = mutation
        made = changes(row, edits)
        filter_, found = check(row, require)
        if filter_ is None:
            if made:
                self._change("mutate_row", row, {"mutations": made})
            return True
        if not made:  # which Bigtable takes for a mistake
            return bool(self._read({"rows": {"row_keys": [row]}, "filter": filter_})) is found
        branch = "true_mutations" if found else "false_mutations"
        return self._change("check_and_mutate_row", row, {"predicate_filter": filter_, branch: made}).predicate_matched is found

    def mutate_many(self, mutations: Sequence[Mutation], *, sync: bool = True) -> list[Outcome]:
        """Make each mutation: those of one row one after the other, rows at once. One refused while others are made is unknown."""
        self._calls.still_open()
        places: dict[bytes, list[int]] = {}
        for place, mutation in enumerate(mutations):
            places.setdefault(mutation.row, []).append(place)
        answers: list[Outcome] = [False] * len(mutations)
        refused: list[StoreError] = []

        def in_turn(listed: list[int]) -> None:
            for place in listed:
                try:
                    answers[place] = self.mutate(mutations[place], sync=sync)
                except OutcomeUnknownError as reason:
                    answers[place] = reason  # and the next one of the row is sent: it asks for what it needs
                except StoreError as reason:
                    answers[place] = unknown(reason)
                    refused.append(reason)

        list(self._threads.map(in_turn, places.values()))
        if refused and len(refused) == len(mutations):
            raise refused[0]
        return answers

    def next_timestamps(self, n: int = 1) -> int:
        """The first of ``n`` numbers in a row that nobody was given before, or will be again."""
        if n < 1:
            raise ValueError(f"at least one timestamp can be asked for, not {n}")
        rule = {"family_name": _TIMESTAMPS, "column_qualifier": b"next", "increment_amount": n}
        answer = self._calls.again(lambda: self._change("read_modify_write_row", b"next", {"rules": [rule]}))
        return int.from_bytes(answer.row.families[0].columns[0].cells[0].value, "big") - n + 1

    def close(self) -> None:
        """Close the connection."""
        self._calls.close()
        self._threads.shutdown(wait=False)


def _known(family: str) -> str:
    if family not in FAMILIES:
        raise KeyError(family)
    return family
