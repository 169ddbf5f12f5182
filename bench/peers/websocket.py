"""Messages over a WebSocket: the library `websockets`, in the clear, without compression."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.peers.scenarios import Handler


class Socket:
    """One WebSocket, of either side."""

    def __init__(self, connection: ClientConnection | ServerConnection) -> None:
        self._connection = connection
        self.send = connection.send

    async def receive(self) -> bytes:
        message = await self._connection.recv(decode=False)
        assert isinstance(message, bytes)
        return message

    async def close(self) -> None:
        await self._connection.close()

    async def closed(self) -> None:
        await self._connection.wait_closed()


class Transport:
    """WebSockets over TCP."""

    def __init__(self, host: str, port: int, client_host: str, certificate: str) -> None:
        self._address = (host, port)
        self._client = (client_host, 0)

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[object]:
        """Calls the handler for each connection."""

        async def handle(connection: ServerConnection) -> None:
            with suppress(ConnectionClosed):
                await handler(Socket(connection))

        async with serve(handle, *self._address, compression=None, max_size=None) as server:
            yield server

    async def dial(self) -> Socket:
        """One more connection."""
        host, port = self._address
        connection = await connect(
            f"ws://{host}:{port}", compression=None, max_size=None, proxy=None, local_addr=self._client
        )
        return Socket(connection)
