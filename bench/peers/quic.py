"""Messages over aioquic, QUIC in Python: one stream of a connection, a length before each message."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from bench.peers.scenarios import Handler
from bench.peers.tls_streams import Streams

BACKLOG = 1 << 20
"""Bytes that may wait in the sender. aioquic itself takes without limit, and its ``drain()`` doesn't wait."""


class QuicStreams(Streams):
    """A stream of a connection."""

    def __init__(
        self,
        protocol: QuicConnectionProtocol,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stack: AsyncExitStack | None = None,
    ) -> None:
        super().__init__(reader, writer)
        self._protocol = protocol
        self._stack = stack
        self._number = writer.get_extra_info("stream_id")

    def _waiting(self) -> int:
        stream = self._protocol._quic._streams.get(self._number)
        return len(stream.sender._buffer) if stream else 0

    async def send(self, message: bytes) -> None:
        await super().send(message)
        while self._waiting() > BACKLOG:  # noqa: ASYNC110 - nothing tells when it has become less
            await asyncio.sleep(0.0005)

    async def close(self) -> None:
        self._protocol.close()
        if self._stack is not None:
            await self._stack.aclose()

    async def closed(self) -> None:
        await self._protocol.wait_closed()


Accept = Callable[[QuicStreams], None]


class ServerProtocol(QuicConnectionProtocol):
    """A connection that came; it knows of which connection a stream is, which aioquic's own callback isn't told."""

    def __init__(self, quic: QuicConnection, stream_handler: object, *, accept: Accept) -> None:
        super().__init__(quic, self._begin)
        self._accept = accept

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accept(QuicStreams(self, reader, writer))


class Transport:
    """QUIC; each connection has a socket of its own, as aioquic's client does it."""

    def __init__(self, host: str, port: int, client_host: str, certificate: str) -> None:
        self._address = (host, port)
        self._certificate = certificate

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[object]:
        """Calls the handler for each connection."""
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["bench"], idle_timeout=120)
        configuration.load_cert_chain(self._certificate, self._certificate)
        running: set[asyncio.Task[None]] = set()

        async def handle(wire: QuicStreams) -> None:
            with suppress(EOFError, OSError):
                await handler(wire)

        def accept(wire: QuicStreams) -> None:
            task = asyncio.ensure_future(handle(wire))
            running.add(task)
            task.add_done_callback(running.discard)

        create = partial(ServerProtocol, accept=accept)
        server = await serve(*self._address, configuration=configuration, create_protocol=create)
        try:
            yield server
        finally:
            server.close()

    async def dial(self) -> QuicStreams:
        """One more connection."""
        configuration = QuicConfiguration(is_client=True, alpn_protocols=["bench"], idle_timeout=120)
        configuration.verify_mode = ssl.CERT_NONE
        stack = AsyncExitStack()
        protocol = await stack.enter_async_context(connect(*self._address, configuration=configuration))
        reader, writer = await protocol.create_stream()
        return QuicStreams(protocol, reader, writer, stack)
