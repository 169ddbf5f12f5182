"""A client of the bridge that outlives broken connections: a class to use, and a program to talk with.

    client = SRMUDPWebSocketClient("ws://127.0.0.1:8000/v0/ws/proxy", "203.0.113.5", 40000, "a shared secret")
    await client.connect()
    await client.send_text("hello")
    async for message in client:  # str or bytes
        print(message)

It speaks ``autoprox.v1`` with receipts. When the WebSocket breaks it comes back to its bridge, sends again what the bridge
had not taken, and knows by its number what it is given again: within the bridge's `grace` nothing is lost or doubled.
Later, or when the bridge's process was replaced, there is a new bridge, and what the former one had not acknowledged is
sent once more.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode

import click
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from autoprox.routes.protocol import CLOSE_CODES, SUBPROTOCOL, Close

OnStatus = Callable[[str, dict[str, Any]], Awaitable[None] | None]

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 10.0
"""Seconds between tries to come back: the first, doubling up to the longest."""
READ_AHEAD: Final = 16
"""Messages read before the application asks for them; the bridge, and so the peer, hold the rest back."""
UNSETTLED_BYTES: Final = 16 << 20
MESSAGE_COST: Final = 64
"""What may be on its way, each message costing so much beyond its bytes. It must stay below the bridge's send buffer: a
bridge whose buffer is full stops reading, and receipts that wait behind data would hold up the other direction."""
OPEN_TIMEOUT: Final = 10.0
CLOSE_TIMEOUT: Final = 10.0


class BridgeError(Exception):
    """The bridge refused or ended for good. `code`: WebSocket close code; `hint`: what to do about it."""

    def __init__(self, code: int, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({code}){f'; {hint}' if hint else ''}")
        self.code = code
        self.message = message
        self.hint = hint


class SRMUDPWebSocketClient:
    """One client of one bridge; methods belong to the loop `connect` ran on.

    `on_status(status, frame)`, a function or a coroutine, gets every status frame. `errors` and `notices` keep the last
    ones of their frames.

    Args:
        ws_url: the bridge, ``ws://HOST:PORT/v0/ws/proxy``.
        remote_host: the peer's address or name.
        remote_port: the peer's UDP port.
        encryption_key: the secret both sides share.
        client_id: what the bridge knows this client by when it comes back; None: a random one.
        token: the app's token, where it has one.
        local_port: a UDP port of the bridge's own; None: the app's shared one.
        label: public name that tells several bridges between the same two addresses apart.
    """

    def __init__(
        self,
        ws_url: str,
        remote_host: str,
        remote_port: int,
        encryption_key: str,
        *,
        client_id: str | None = None,
        token: str | None = None,
        local_port: int | None = None,
        label: str = "",
        on_status: OnStatus | None = None,
    ) -> None:
        query: dict[str, Any] = {"remote_host": remote_host, "remote_port": remote_port, "receipts": 1}
        query |= {"client_id": client_id or secrets.token_hex(8), "takeover": 1}
        if local_port is not None:
            query["local_port"] = local_port
        if label:
            query["label"] = label
        self.status = "DISCONNECTED"
        self.connection_id: str | None = None
        self.local_port: int | None = None
        self.on_status = on_status
        self.errors: deque[dict[str, Any]] = deque(maxlen=100)
        self.notices: deque[dict[str, Any]] = deque(maxlen=100)
        self._url = f"{ws_url}?{urlencode(query)}"
        self._key = encryption_key
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._runner: asyncio.Task[None] | None = None
        self._closing = self._ended = False
        self._failure: Exception | None = None
        self._session = 0  # counts the bridges, one after the other
        self._moved = asyncio.Condition()  # the status, what is unsettled, or the end
        # To the bridge: what waits for the writer, and what it wrote on this connection; both are unsettled.
        self._waiting: deque[str | bytes] = deque()
        self._written: deque[str | bytes] = deque()
        self._unsettled_cost = 0
        self._settled = 0  # frames of this connection
        self._dealt_with = 0  # frames of this bridge
        self._work = asyncio.Event()
        # From the bridge.
        self._messages: asyncio.Queue[tuple[int, int, str | bytes] | None] = asyncio.Queue()
        self._read_ahead = asyncio.Semaphore(READ_AHEAD)
        self._next_seq = 1
        self._highest_seq = 0
        self._receipt = 0

    # ---- Life --------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connects to the bridge; does not wait for the peer. Raises BridgeError, OSError, InvalidHandshake."""
        websocket = await self._open()
        self._runner = asyncio.create_task(self._run(websocket))

    async def wait_established(self, timeout: float | None = None) -> None:
        """Waits `timeout` seconds (None: for ever) for the peer. Raises TimeoutError, BridgeError."""
        async with asyncio.timeout(timeout), self._moved:
            await self._moved.wait_for(lambda: self.status == "UDP_ESTABLISHED" or self._ended)
        self._check()

    async def close(self) -> None:
        """Has the bridge deliver what was sent, say goodbye and end. Nothing is raised; `notices` tell what was lost."""
        if self._runner is None:
            return
        self._closing = True
        self._work.set()
        await asyncio.wait((self._runner,), timeout=CLOSE_TIMEOUT)
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)

    async def __aenter__(self) -> SRMUDPWebSocketClient:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- Messages ----------------------------------------------------------------------------------------------------

    async def send_text(self, text: str) -> None:
        """Sends text; waits while too much is on its way. Raises BridgeError after the end."""
        await self._send(json.dumps({"type": "data", "format": "text", "data": text}, ensure_ascii=False))

    async def send_binary(self, data: bytes) -> None:
        """Sends bytes; waits while too much is on its way. Raises BridgeError after the end."""
        await self._send(bytes(data))

    async def drain(self, timeout: float | None = None) -> None:
        """Waits until the far client was given everything sent so far. Raises TimeoutError, BridgeError.

        What a bridge had taken when the WebSocket broke counts as given: the bridge answers for it with a notice.
        """
        async with asyncio.timeout(timeout), self._moved:
            await self._moved.wait_for(lambda: not self._unsettled_cost or self._ended)
        if self._unsettled_cost:
            self._check()

    def __aiter__(self) -> SRMUDPWebSocketClient:
        return self

    async def __anext__(self) -> str | bytes:
        item = await self._messages.get()
        if item is None:
            self._messages.put_nowait(None)  # for whoever asks again
            if self._failure is not None:
                raise self._failure
            raise StopAsyncIteration
        self._read_ahead.release()
        session, seq, message = item
        if session == self._session:
            self._receipt = seq
            self._work.set()
        return message

    async def _send(self, frame: str | bytes) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._unsettled_cost < UNSETTLED_BYTES or self._ended)
        self._check()
        self._waiting.append(frame)
        self._unsettled_cost += len(frame) + MESSAGE_COST
        self._work.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._runner is None or self._ended or self._closing:
            raise BridgeError(
                Close.NORMAL, "not connected" if self._runner is None else "the bridge was closed"
            )

    # ---- One connection after the other ------------------------------------------------------------------------------

    async def _run(self, websocket: ClientConnection) -> None:
        try:
            while True:
                ending = await self._serve(websocket)
                if self._closing or ending.code == Close.NORMAL:
                    return
                if not _may_retry(ending.code):
                    raise ending
                websocket = await self._reopen()
        except Exception as error:  # noqa: BLE001  # raised for whoever calls next
            self._failure = error
        finally:
            self._ended = True
            self.status = "DISCONNECTED"
            self._messages.put_nowait(None)
            await self._tell()

    async def _open(self) -> ClientConnection:
        """Connects, gives the key, and finds its bridge again, or a new one."""
        websocket = await connect(
            self._url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=self._headers,
            compression=None,
            max_size=None,
        )
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                with suppress(
                    ConnectionClosed
                ):  # refused already; the frame that says why is still to be read
                    await websocket.send(json.dumps({"type": "open", "encryption_key": self._key}))
                first = json.loads(await websocket.recv())
            if first["type"] == "error":
                raise BridgeError(first["close_code"], first["message"], first["hint"])
            self._resume(first)
            await self._report(first)
        except BaseException as error:
            await websocket.close()
            if isinstance(error, ConnectionClosed):
                raise _ending(error) from None
            raise
        return websocket

    def _resume(self, first: dict[str, Any]) -> None:
        """CONNECTED tells how much the bridge has taken so far, and the number of the message it gives next."""
        self.connection_id, self.local_port = first["connection_id"], first["local_port"]
        self._waiting.extendleft(reversed(self._written))
        self._written.clear()
        self._settled = 0
        self._next_seq = first["next_seq"]
        if first.get("resumed"):
            self._forget(self._waiting, first["frames_taken"] - self._dealt_with)
        else:
            self._session += 1
            self._highest_seq = self._receipt = self._dealt_with = 0

    async def _reopen(self) -> ClientConnection:
        delay = FIRST_DELAY
        while True:
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311  # not a secret
            try:
                return await self._open()
            except BridgeError as error:
                if not _may_retry(error.code):
                    raise
            except (OSError, TimeoutError, InvalidHandshake):
                pass  # the server is away; it may come back
            delay = min(delay * 2, LONGEST_DELAY)

    async def _serve(self, websocket: ClientConnection) -> BridgeError:
        """Reads and writes one connection to its end; returns how it ended."""
        writer = asyncio.create_task(self._write(websocket))
        try:
            while True:
                await self._take(await websocket.recv())
        except ConnectionClosed as error:
            return _ending(error)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await websocket.close()

    # ---- Frames ------------------------------------------------------------------------------------------------------

    async def _write(self, websocket: ClientConnection) -> None:
        receipt = 0  # also what was confirmed before the connection broke: the bridge may not have heard it
        with suppress(ConnectionClosed):  # the reader finds that too
            while True:
                if self._receipt > receipt:
                    receipt = self._receipt
                    await websocket.send(json.dumps({"type": "received", "seq": receipt}))
                elif self._waiting:
                    frame = self._waiting.popleft()
                    self._written.append(frame)
                    await websocket.send(frame)
                elif self._closing:
                    await websocket.send(json.dumps({"type": "command", "command": "close"}))
                    return
                else:
                    self._work.clear()
                    await self._work.wait()

    async def _take(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            await self._take_message(frame, self._next_seq)
            return
        value = json.loads(frame)
        match value["type"]:
            case "data":
                await self._take_message(value["data"], value["seq"])
            case "ack" if "through" in value:
                self._forget(self._written, value["through"] - self._settled)
                self._settled = value["through"]
                await self._tell()
            case "status":
                await self._report(value)
            case "notice":
                self.notices.append(value)
            case "error":
                self.errors.append(value)

    async def _take_message(self, message: str | bytes, seq: int) -> None:
        self._next_seq = seq + 1
        if seq > self._highest_seq:  # else it was given before the connection broke
            await self._read_ahead.acquire()
            self._highest_seq = seq
            self._messages.put_nowait((self._session, seq, message))

    def _forget(self, frames: deque[str | bytes], count: int) -> None:
        """The bridge has dealt with the `count` oldest of these frames."""
        for _ in range(min(count, len(frames))):
            self._unsettled_cost -= len(frames.popleft()) + MESSAGE_COST
            self._dealt_with += 1

    async def _report(self, frame: dict[str, Any]) -> None:
        self.status = frame["status"]
        await self._tell()
        if self.on_status is not None:
            result = self.on_status(self.status, frame)
            if result is not None:
                await result

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()


def _ending(error: ConnectionClosed) -> BridgeError:
    if error.rcvd is None:
        return BridgeError(1006, "the connection to the bridge broke")
    return BridgeError(error.rcvd.code, error.rcvd.reason or "the bridge ended")


def _may_retry(code: int) -> bool:
    try:
        return CLOSE_CODES[Close(code)].retry
    except ValueError:
        return code == 1006


# ---- The program ---------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--ws-url", default="ws://127.0.0.1:8000/v0/ws/proxy", show_default=True, help="The bridge.")
@click.option("--remote-host", required=True, help="The peer's address or name.")
@click.option("--remote-port", required=True, type=click.IntRange(1, 65_535), help="The peer's UDP port.")
@click.option(
    "--encryption-key",
    required=True,
    envvar="AUTOPROX_KEY",
    help="The secret both sides share; better in AUTOPROX_KEY, for a command line can be seen by other users.",
)
@click.option("--token", envvar="AUTOPROX_TOKEN", help="The app's token, where it has one.")
def main(ws_url: str, remote_host: str, remote_port: int, encryption_key: str, token: str | None) -> None:
    """Sends the lines of its input to the peer and prints what the peer sends.

    Ends when its input does, once the peer was given all lines; without any input it prints until it is stopped.
    """
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(_talk(ws_url, remote_host, remote_port, encryption_key, token))
        except (BridgeError, OSError, TimeoutError, InvalidHandshake) as error:
            raise click.ClickException(str(error)) from error


async def _talk(ws_url: str, remote_host: str, remote_port: int, key: str, token: str | None) -> None:
    client = SRMUDPWebSocketClient(
        ws_url, remote_host, remote_port, key, token=token, on_status=_print_status
    )
    async with client:
        printing = asyncio.create_task(_print_messages(client))
        sending = asyncio.create_task(_send_lines(client))
        await asyncio.wait((printing, sending), return_when=asyncio.FIRST_COMPLETED)
        for task in (printing, sending):
            task.cancel()
        for result in await asyncio.gather(printing, sending, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


def _print_status(status: str, frame: dict[str, Any]) -> None:
    click.echo(f"-- {status}: {frame['message']}", err=True)


async def _print_messages(client: SRMUDPWebSocketClient) -> None:
    async for message in client:
        click.echo(message if isinstance(message, str) else f"<{len(message)} bytes>")


async def _send_lines(client: SRMUDPWebSocketClient) -> None:
    """Reads on a thread of its own, which a program that ends does not wait for; one line at a time."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    count = 0

    def read() -> None:
        nonlocal count
        with suppress(BridgeError, RuntimeError, asyncio.CancelledError):  # the client or the loop ended
            for line in sys.stdin:
                asyncio.run_coroutine_threadsafe(client.send_text(line.rstrip("\n")), loop).result()
                count += 1
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    await ended.wait()
    if not count:
        await asyncio.Event().wait()
    await client.drain()


if __name__ == "__main__":
    main()
