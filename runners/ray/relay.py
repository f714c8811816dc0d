"""A TLS connection for those who can only use a plain socket.

    driver ─ socketpair ─ `secured` ══ TLS ══ `secured` ─ socketpair ─ worker

The state of a TLS connection cannot be handed to another process, as an agent hands a worker its connection, nor can a selector see
what it holds: so a thread of the driver's and of the agent's stand between, and who talks has a socket of its own machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import threading

from runners.ray.tls import certificates, unusable, uses_tls

__all__ = ["secured"]

PATIENCE = 10.0  # seconds for the handshake
PIECE = 1 << 18


def secured(connection: socket.socket, server: str | None = None) -> socket.socket:
    """A plain socket whose other end is what is at the other end of a connection, over TLS where that is used.

    ``server``: the name or address that its certificate must have, None for who listens here. Raises OSError if the handshake fails.
    """
    if not uses_tls():
        return connection
    ours, theirs = socket.socketpair()
    done = asyncio.run_coroutine_threadsafe(_join(connection, theirs, server), _loop())
    try:
        done.result(PATIENCE + 1)
    except BaseException as error:
        for one in (ours, theirs, connection):
            one.close()
        if isinstance(error, (OSError, TimeoutError)):
            raise OSError(f"no TLS connection to {server or 'who came'}: {error}") from error
        raise
    return ours


async def _join(connection: socket.socket, plain: socket.socket, server: str | None) -> None:
    """Have a TLS connection and a plain one give each other what they get; gives when the handshake is done."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    reader = asyncio.StreamReader(PIECE)
    protocol = asyncio.StreamReaderProtocol(reader)
    if server is None:
        made = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=_context(True), ssl_handshake_timeout=PATIENCE)
    else:
        context = _context(False)
        made = await loop.create_connection(
            lambda: protocol, sock=connection, ssl=context, server_hostname=server, ssl_handshake_timeout=PATIENCE
        )
    writer = asyncio.StreamWriter(made[0], protocol, reader, loop)
    inner, outer = await asyncio.open_connection(sock=plain, limit=PIECE)
    for task in (_pour(reader, outer), _pour(inner, writer)):
        kept = loop.create_task(task)
        _pouring.add(kept)  # the loop itself keeps no hold of it
        kept.add_done_callback(_pouring.discard)


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass on what comes until one side has ended, and end the other."""
    with contextlib.suppress(OSError):
        while data := await source.read(PIECE):
            sink.write(data)
            await sink.drain()
    sink.close()  # once it has sent what it holds
    with contextlib.suppress(OSError):
        await sink.wait_closed()


_pouring: set[asyncio.Task[None]] = set()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """The loop of a thread that never ends."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="TLS", daemon=True).start()
    return loop


def _context(listens: bool) -> ssl.SSLContext:
    """Both sides must have a certificate of the cluster's authority."""
    chain, key, authority = certificates()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if listens else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(chain, key)
        context.load_verify_locations(authority)
    except OSError as error:
        raise unusable(error) from error
    context.verify_mode = ssl.CERT_REQUIRED
    return context
