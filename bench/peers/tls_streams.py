"""Messages over TLS and TCP with nothing but the standard library: asyncio's streams, a length before each message."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bench.peers.scenarios import Handler

LIMIT = 1 << 20
"""Bytes that a stream reads ahead."""


class Streams:
    """A reader and a writer; also what the QUIC peer builds on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: bytes) -> None:
        self._writer.write(len(message).to_bytes(4, "big") + message)
        await self._writer.drain()

    async def receive(self) -> bytes:
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        return await self._reader.readexactly(size)

    async def close(self) -> None:
        self._writer.close()

    async def closed(self) -> None:
        with suppress(OSError):  # an end without TLS's goodbye is an end, too
            await self._reader.read()


class Transport:
    """TLS 1.3 over TCP."""

    def __init__(self, host: str, port: int, client_host: str, certificate: str) -> None:
        self._address = (host, port)
        self._client = (client_host, 0)
        self._certificate = certificate

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[object]:
        """Calls the handler for each connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_3

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(EOFError, OSError):
                await handler(Streams(reader, writer))

        server = await asyncio.start_server(handle, *self._address, ssl=context, limit=LIMIT)
        try:
            yield server
        finally:
            server.close()

    async def dial(self) -> Streams:
        """One more connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        streams = await asyncio.open_connection(
            *self._address, ssl=context, limit=LIMIT, local_addr=self._client
        )
        return Streams(*streams)
