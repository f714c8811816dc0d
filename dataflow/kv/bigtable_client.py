"""Calls to Bigtable: where it is, what a lost answer means, and rows put together from the pieces that they arrive in.

    read    lost or refused by chance ──► sent again, from the row behind the last one that came whole
    change  lost                      ──► `OutcomeUnknownError`: never sent again here
    either  refused for a reason      ──► `StoreError`

It stands on the generated client of Google's package and not on the one above it: that one repeats changes by itself, cannot read
backwards, and sends figures about the calls to Google.
"""

from __future__ import annotations

import base64
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
from google.api_core import exceptions as refusals
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigtable_v2
from google.cloud.bigtable_admin_v2 import BigtableTableAdminClient
from google.cloud.bigtable_admin_v2.services.bigtable_table_admin.transports import BigtableTableAdminGrpcTransport
from google.cloud.bigtable_v2.services.bigtable.transports import BigtableGrpcTransport
from google.cloud.bigtable_v2.types import FeatureFlags

from dataflow.errors import OutcomeUnknownError, Report, StoreError, redact

__all__ = ["BigtableCalls", "Cell"]

T = TypeVar("T")
Cell = tuple[str, bytes, bytes]  # family, qualifier, value

_DEFINITE = (
    refusals.InvalidArgument, refusals.NotFound, refusals.PermissionDenied, refusals.Unauthenticated, refusals.FailedPrecondition,
    refusals.OutOfRange, refusals.MethodNotImplemented, refusals.AlreadyExists,
)  # fmt: skip
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.keepalive_time_ms", 30_000))
# What this client understands, as the server wants to be told; else it refuses to read backwards.
_FEATURES = (("bigtable-features", base64.urlsafe_b64encode(FeatureFlags.serialize(FeatureFlags(reverse_scans=True))).decode()),)


class BigtableCalls:
    """The calls that a store makes on one table."""

    def __init__(self, table: str, *, name: str, timeout: float, patience: float, credentials: Any) -> None:
        self.table, self.name = table, name
        self._timeout, self._patience = timeout, patience
        self._emulator = os.environ.get("BIGTABLE_EMULATOR_HOST")
        self._credentials = credentials
        self._closed = False
        if self._emulator:
            transport = BigtableGrpcTransport(channel=grpc.insecure_channel(self._emulator, options=_OPTIONS))
            self._client = bigtable_v2.BigtableClient(transport=transport)
        else:
            try:
                self._client = bigtable_v2.BigtableClient(credentials=credentials)
            except GoogleAuthError as reason:
                hint = "gcloud auth application-default login, or credentials=; for an emulator set BIGTABLE_EMULATOR_HOST"
                raise StoreError(Report(f"{name} cannot be reached: {_said(reason)}", hint=hint)) from reason

    def admin(self) -> BigtableTableAdminClient:
        """A client that makes tables."""
        if self._emulator:
            channel = grpc.insecure_channel(self._emulator, options=_OPTIONS)
            return BigtableTableAdminClient(transport=BigtableTableAdminGrpcTransport(channel=channel))
        return BigtableTableAdminClient(credentials=self._credentials)

    def change(self, method: str, request: dict[str, Any]) -> Any:
        """The answer to a call that changes a row, sent once."""
        self.still_open()
        try:
            return getattr(self._client, method)(request={"table_name": self.table} | request, timeout=self._timeout, retry=None)
        except _DEFINITE as reason:
            raise self.refused(reason) from reason
        except (refusals.GoogleAPIError, grpc.RpcError, ValueError) as reason:
            self.still_open()
            raise OutcomeUnknownError(Report(f"{self.name} gave no answer to a change", hint=_said(reason))) from reason

    def again(self, act: Callable[[], T]) -> T:
        """What an act gives that may be repeated, repeated while the answer gets lost."""
        deadline = time.monotonic() + self._patience
        attempt = 0
        while True:
            try:
                return act()
            except OutcomeUnknownError as reason:
                attempt += 1
                if time.monotonic() > deadline:
                    raise StoreError(Report(f"{self.name} cannot be reached", hint=reason.report.hint)) from reason
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))

    def rows(self, request: dict[str, Any]) -> Iterator[tuple[bytes, list[Cell]]]:
        """The rows that a read gives, each whole; the request says how many at most."""
        self.still_open()
        try:
            stream = self._client.read_rows(
                request={"table_name": self.table} | request, timeout=self._timeout, retry=None, metadata=_FEATURES
            )
            yield from _whole(stream)
        except _DEFINITE as reason:
            raise self.refused(reason) from reason
        except (refusals.GoogleAPIError, grpc.RpcError, ValueError) as reason:
            self.still_open()
            raise OutcomeUnknownError(Report(f"{self.name} gave no answer to a read", hint=_said(reason))) from reason

    def read(self, request: dict[str, Any]) -> list[tuple[bytes, list[Cell]]]:
        """All rows that a read gives."""
        return self.again(lambda: list(self.rows(request)))

    def refused(self, reason: BaseException) -> StoreError:
        return StoreError(Report(f"{self.name} refused a call", hint=_said(reason)))

    def still_open(self) -> None:
        if self._closed:
            raise StoreError(Report(f"{self.name} is closed"))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._client.transport.close()


def _whole(stream: Any) -> Iterator[tuple[bytes, list[Cell]]]:
    """Rows from the chunks of a stream: a chunk names only what differs from the one before, and a large value comes in several."""
    row, family, qualifier = b"", "", b""
    cells: list[Cell] = []
    pieces: list[bytes] = []
    for answer in stream:
        for chunk in type(answer).pb(answer).chunks:
            if chunk.reset_row:
                cells, pieces = [], []
                continue
            row = chunk.row_key or row
            if chunk.HasField("family_name"):
                family = chunk.family_name.value
            if chunk.HasField("qualifier"):
                qualifier = chunk.qualifier.value
            pieces.append(chunk.value)
            if chunk.value_size == 0:
                cells.append((family, qualifier, b"".join(pieces)))
                pieces = []
            if chunk.commit_row:
                yield row, cells
                cells = []


def _said(reason: BaseException) -> str:
    return redact(" ".join(str(reason).split()))[:300]
