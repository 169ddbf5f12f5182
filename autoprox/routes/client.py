"""One WebSocket attached to a bridge: reads it, writes it, notices when it stalls, and ends it for good."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from autoprox.routes.outbox import Ack, Control, Ending, Finish, Notice, Outgoing, Through
from autoprox.routes.protocol import (
    BadFrame,
    Close,
    Command,
    Data,
    Open,
    Received,
    check_size,
    decode,
    encode,
    encode_binary,
    encode_error,
    encode_extra,
    encode_text,
    encode_through,
    is_id,
    parse,
    reason,
)
from autoprox.routes.tcp import TcpConnection

if TYPE_CHECKING:
    from autoprox.routes.bridge import Bridge

BURST_MESSAGES: Final = 16
BURST_BYTES: Final = 1 << 20
"""After so much without a pause the other tasks of the loop get their turn. Not later, also because the writer is told
only then that its connection broke, and asyncio logs a line for each write in between."""
THROUGH_INTERVAL: Final = 0.002
THROUGH_DELAY: Final = 0.005
THROUGH_FRAMES: Final = 16
"""Frames are acknowledged together with later ones while the last acknowledgement is newer than `THROUGH_INTERVAL` seconds,
but for `THROUGH_DELAY` at most, and no more than so many: each acknowledgement costs a client as much as a message."""
WATCH_INTERVAL: Final = 1.0
SHUTDOWN_WAIT: Final = 0.5
DISCONNECT_WAIT: Final = 1.0
"""After a write failed, how long the reader may take to find the close code the client sent."""
ABNORMAL: Final = 1006

logger = logging.getLogger("autoprox.bridge")


class Tag:
    """What a message sent is known by when its acknowledgement comes: the client, its frame, the id it gave."""

    __slots__ = ("client", "frame", "id")

    def __init__(self, client: Client, frame: int, ident: str | int | None) -> None:
        self.client = client
        self.frame = frame
        self.id = ident


class Client:
    """The client's side of a bridge, for the life of one WebSocket.

    1. `run` owns two tasks, a reader and a writer; both have ended when it returns or is cancelled.
    2. `leave` may be called at any time and from anywhere on the loop; the first ending counts.
    3. The message being written stays in `in_flight` until it was written: the bridge takes it back when the client
       leaves.
    """

    def __init__(self, websocket: WebSocket, bridge: Bridge, *, v1: bool, receipts: bool) -> None:
        self.bridge = bridge
        self.v1 = v1
        self.receipts = receipts
        self.in_flight: Outgoing | None = None
        self.frames = 0
        """Data frames the client sent on this WebSocket."""
        self.through = 0
        """All of them up to this one are dealt with."""
        self.tcp = TcpConnection(websocket.scope)
        self.closed = asyncio.Event()
        """`close` is through."""
        self._websocket = websocket
        self._settings = bridge.hub.settings
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[Ending] = self._loop.create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._settled: list[int] = []
        self._told = 0
        self._told_at = 0.0
        self._telling: asyncio.TimerHandle | None = None
        self._writing = False
        self._sending_since: float | None = None
        self._progress = self._loop.time()
        self._acknowledged: int | None = None
        self._watch: asyncio.TimerHandle | None = None

    # ---- Life --------------------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Serves until the client or the bridge ends it; returns how. The WebSocket is not closed yet: see `close`."""
        self._tasks = [self._loop.create_task(self._read()), self._loop.create_task(self._write())]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)
        self._schedule_watch()
        try:
            return await self._over
        finally:
            for timer in (self._watch, self._telling):
                if timer is not None:
                    timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def leave(self, ending: Ending) -> None:
        """Ends the client, at once where the writer stands in a full buffer."""
        if not self._over.done():
            self._over.set_result(ending)
            for task in self._tasks:
                task.cancel()

    async def close(self, ending: Ending) -> None:
        """Tells the client why and closes the WebSocket; hangs up where that does not get through in `close_timeout`.

        A server that ends does not wait so long for clients that read nothing.
        """
        try:
            await self._close(ending)
        finally:
            self.closed.set()

    async def see_off(self, ending: Ending) -> None:
        """The bridge has ended: waits a moment until the client was told, and ends it if it does not read."""
        try:
            async with asyncio.timeout(SHUTDOWN_WAIT):
                await self.closed.wait()
        except TimeoutError:
            self.leave(ending)

    async def _close(self, ending: Ending) -> None:
        hurry = ending.code == Close.SERVICE_RESTART
        if ending.by_client:
            if hurry:
                self.bridge.hub.reap(self.tcp, SHUTDOWN_WAIT)
            return
        patience = SHUTDOWN_WAIT if hurry else max(self._settings.close_timeout, DISCONNECT_WAIT)
        try:
            async with asyncio.timeout(patience):
                if self.through > self._told:
                    await self._websocket.send_text(encode_through(self.through))
                if ending.code != Close.NORMAL:
                    await self._websocket.send_text(self._error_of(ending))
                await self._websocket.close(ending.code, reason(ending.message))
        except TimeoutError:
            self.tcp.hang_up()
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # it ended meanwhile
        else:
            self.bridge.hub.reap(self.tcp)

    def _error_of(self, ending: Ending) -> str:
        code = Close(ending.code)
        return encode_error(
            code.text, ending.message, ending.hint, self.bridge.connection_id, close_code=int(code)
        )

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("bridge %s failed", self.bridge.connection_id, exc_info=error)
            self.leave(Ending(Close.INTERNAL_ERROR, "the server failed; its log tells more"))

    # ---- From the client ---------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        messages = size = 0
        outbox = self.bridge.outbox
        while not self._over.done():
            if not outbox.has_room():
                await outbox.room()
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                self.leave(Ending(event.get("code") or ABNORMAL, event.get("reason") or "", by_client=True))
                return
            frame: str | bytes = event["text"] if event.get("bytes") is None else event["bytes"]
            if isinstance(frame, str):
                await self._handle_text(frame)
            else:
                await self._send(frame)
            messages, size = messages + 1, size + len(frame)
            if messages >= BURST_MESSAGES or size >= BURST_BYTES:
                messages = size = 0
                await asyncio.sleep(0)

    async def _handle_text(self, text: str) -> None:
        value: dict[str, Any] = {}
        frame = None
        try:
            value = parse(text)
            frame = decode(value, self._settings.max_message_size)
        except BadFrame as error:
            self._refuse(error, value)
        match frame:
            case Data():
                await self._send(frame.data, frame.channel, frame.id)
            case Received(seq):
                self._receive_receipt(seq)
            case Command(command):
                self.bridge.command(command)
            case Open():
                self._refuse(
                    BadFrame("bad_message", "`open` is a first message; this bridge has its key"), value
                )

    async def _send(self, data: str | bytes, channel: int = 0, ident: str | int | None = None) -> None:
        frame = self.frames + 1  # counted once it was taken: a client that comes back sends the others again
        tag = Tag(self, frame, ident) if self.v1 or ident is not None else None
        self._sending_since = self._loop.time()
        try:
            check_size(len(data), self._settings.max_message_size)
            await self.bridge.send(data, channel, tag)
            self.frames = frame
        except BadFrame as error:
            self.frames = frame
            self._put_error(error, ident, self.frames)
            self.settle(self.frames)
        finally:
            self._sending_since = None

    def _refuse(self, error: BadFrame, value: dict[str, Any]) -> None:
        """A mistake in a text frame. A data frame is counted all the same, for its sender counts it too."""
        if value.get("type") == "data":
            self.frames += 1
            ident = value.get("id")
            self._put_error(error, ident if is_id(ident) else None, self.frames)
            self.settle(self.frames)
        else:
            self._put_error(error, None, None)

    def _put_error(self, error: BadFrame, ident: str | int | None, frame: int | None) -> None:
        named = frame if self.v1 else None
        connection_id = self.bridge.connection_id
        text = encode_error(error.code, error.message, error.hint, connection_id, id=ident, frame=named)
        self.bridge.outbox.put(Control(text))

    def _receive_receipt(self, seq: int) -> None:
        if not self.receipts or not self.bridge.confirm(seq):
            message = (
                f"seq {seq} was not given yet" if self.receipts else "this client did not ask for receipts=1"
            )
            self._put_error(BadFrame("bad_receipt", message), None, None)
        else:
            self._progress = self._loop.time()

    # ---- To the client -----------------------------------------------------------------------------------------------

    def settle(self, frame: int) -> None:
        """The client's data frame is dealt with: given to the far client, or refused."""
        if not self.v1:
            return
        if frame != self.through + 1:
            heappush(self._settled, frame)
            return
        self.through = frame
        while self._settled and self._settled[0] == self.through + 1:
            self.through = heappop(self._settled)
        if (
            self.through - self._told >= THROUGH_FRAMES
            or self._loop.time() - self._told_at >= THROUGH_INTERVAL
        ):
            self.bridge.outbox.want_through()
        elif self._telling is None:
            self._telling = self._loop.call_later(THROUGH_DELAY, self._telling_is_due)

    def _telling_is_due(self) -> None:
        self._telling = None
        if self.through > self._told and self.bridge.client is self:
            self.bridge.outbox.want_through()

    async def _write(self) -> None:
        outbox = self.bridge.outbox
        messages = size = 0
        while True:
            item = await outbox.get()
            if isinstance(item, Finish):
                self.leave(item.ending)
                return
            if isinstance(item, Outgoing):
                self.in_flight = item
            content = self._encode(item)
            kind = "bytes" if isinstance(content, bytes) else "text"
            try:
                self._writing = True
                await self._websocket.send({"type": "websocket.send", kind: content})
            except (WebSocketDisconnect, RuntimeError, OSError):
                self._loop.call_later(DISCONNECT_WAIT, self.leave, Ending(ABNORMAL, by_client=True))
                return
            self._writing = False
            self._progress = self._loop.time()
            if isinstance(item, Outgoing):
                self.in_flight = None
                self.bridge.written(self, item, self._progress)
            messages, size = messages + 1, size + len(content)
            if messages >= BURST_MESSAGES or size >= BURST_BYTES:
                messages = size = 0
                await asyncio.sleep(0)

    def _encode(self, item: Outgoing | Control | Ack | Through | Notice) -> str | bytes:
        """The frame, as text or as bytes."""
        match item:
            case Outgoing():
                return self._encode_message(item)
            case Control(text):
                return text
            case Ack(ident):
                return encode("ack", id=ident)
            case Through():
                self._told, self._told_at = self.through, self._loop.time()
                return encode_through(self.through)
            case Notice():
                return item.encode()

    def _encode_message(self, item: Outgoing) -> str | bytes:
        message = item.message
        seq = self.bridge.number(item)
        if self.v1 and not message.is_text:
            return message.data
        extra = encode_extra(message.channel, seq if self.receipts else None, item.maybe_duplicate)
        if message.is_text:
            with suppress(UnicodeDecodeError):  # a peer that is not ours called bytes text
                return encode_text(message.data.decode(), extra)
        return message.data if self.v1 else encode_binary(message.data, extra)

    # ---- Stalls ------------------------------------------------------------------------------------------------------

    def _schedule_watch(self) -> None:
        interval = min(WATCH_INTERVAL, self._settings.stall_limit / 4)
        self._watch = self._loop.call_later(interval, self._look)

    def _look(self) -> None:
        self._schedule_watch()
        now = self._loop.time()
        if self._is_owed():
            if now - self._progress >= self._settings.stall_limit / 2:
                self._look_below(now)
            if now - self._progress >= self._settings.stall_limit:
                self.leave(
                    Ending(
                        Close.STALLED,
                        f"nothing was taken for {self._settings.stall_limit:g} s",
                        "read faster",
                    )
                )
        else:
            self._progress, self._acknowledged = now, None
        blocked = self._sending_since
        if blocked is not None and now - blocked >= WATCH_INTERVAL / 2 and self.tcp.is_gone():
            self.leave(Ending(ABNORMAL, by_client=True))

    def _is_owed(self) -> bool:
        return self._writing or (self.receipts and self.bridge.has_unconfirmed())

    def _look_below(self, now: float) -> None:
        """A large message over a slow path moves long before it was written: bytes acknowledged are progress too."""
        acknowledged = self.tcp.bytes_acknowledged() if self._writing else None
        if acknowledged is not None and self._acknowledged is not None and acknowledged > self._acknowledged:
            self._progress = now
        self._acknowledged = acknowledged
