"""One peer over SRMUDP, for as long as it takes: opens, reports, opens again after a goodbye.

`SRMUDPManager` is the layer between the WebSocket routes and the engine, and usable alone:

    manager = SRMUDPManager("203.0.113.5", 40000, "a shared secret", local_port=40000)
    await manager.start()
    await manager.send(b"hello")
    data = await manager.receive(timeout=10)
    await manager.stop()
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Any, Final, Self

from autoprox import srmudp
from autoprox.config import Settings

CALLBACK_PATIENCE: Final = 5.0
"""Seconds `stop` waits for the owner's callbacks."""

logger = logging.getLogger("autoprox.manager")


class ConnectionStatus(StrEnum):
    """What a bridge and its manager are doing; the words users see."""

    CONNECTED = "CONNECTED"
    UDP_WAITING = "UDP_WAITING"
    UDP_ESTABLISHED = "UDP_ESTABLISHED"
    RECONNECTING = "RECONNECTING"
    DISCONNECTED = "DISCONNECTED"
    ERROR = "ERROR"


PROJECTION: Final = {
    srmudp.Status.WAITING: ConnectionStatus.UDP_WAITING,
    srmudp.Status.ESTABLISHED: ConnectionStatus.UDP_ESTABLISHED,
    srmudp.Status.RECONNECTING: ConnectionStatus.RECONNECTING,
    srmudp.Status.CLOSED: ConnectionStatus.DISCONNECTED,
    srmudp.Status.FAILED: ConnectionStatus.ERROR,
}
"""The manager's word for each status of the engine."""

OnData = Callable[[bytes, bool], Awaitable[None] | None]
OnStatus = Callable[[ConnectionStatus, dict[str, Any]], Awaitable[None] | None]
OnEvent = Callable[[str, dict[str, Any]], Awaitable[None] | None]
OnMessage = Callable[[srmudp.Message], None]
OnDelivered = Callable[[list[Any]], None]


class _Session:
    """One connection of the engine, and which of its messages the peer has not consumed yet.

    The engine counts what was consumed by channel; tags are what the sender knows its messages by.
    """

    def __init__(self, connection: srmudp.Connection) -> None:
        self.connection = connection
        self.ended = asyncio.Event()
        self._sent: dict[int, int] = {}
        self._tags: dict[int, deque[tuple[int, Any]]] = {}

    async def send(self, data: str | bytes, channel: int, tag: Any) -> None:
        await self.connection.send(data, channel=channel)
        sequence = self._sent[channel] = self._sent.get(channel, 0) + 1
        if tag is not None:
            self._tags.setdefault(channel, deque()).append((sequence, tag))

    def consumed(self, channel: int, count: int) -> list[Any]:
        """Takes out the tags of all messages up to the channel's `count`-th."""
        done: list[Any] = []
        waiting = self._tags.get(channel)
        while waiting and waiting[0][0] <= count:
            done.append(waiting.popleft()[1])
        return done

    def undelivered(self, places: Iterable[tuple[int, int]]) -> list[Any]:
        """Takes out the tags of these messages, named by channel and sequence."""
        lost = set(places)
        tags = []
        for channel in {channel for channel, _ in lost}:
            kept = deque[tuple[int, Any]]()
            for sequence, tag in self._tags.get(channel, ()):
                if (channel, sequence) in lost:
                    tags.append(tag)
                else:
                    kept.append((sequence, tag))
            self._tags[channel] = kept
        return tags


class SRMUDPManager:
    """A connection to one peer that is opened again when the peer says goodbye.

    1. All methods belong to the loop `start` or `open` ran on; callbacks are called there, in the order things happened.
    2. `on_data(data, is_text)`, `on_status(status, info)` and `on_event(event, info)` may be functions or coroutines.
       A message is consumed when `on_data` is through with it, or when `receive` returned it.
    3. `info` holds what is known: `reason`, `attempt`, `remote_address`, `path`; `resent`, `unknown`; `count`, `tags`.
    4. Nothing accepted vanishes silently: what a closed connection did not deliver is the event `undelivered`.
    5. The key is never part of a text, a `repr` or a figure.

    Args:
        remote_host: IPv4 or IPv6 address, or a name.
        remote_port: 1 to 65535.
        encryption_key: what both sides share, 1 to 4096 bytes.
        local_port: UDP port to use, 0 for any free one; without meaning when `endpoint` is given.
        max_reconnect_attempts: how often an established connection may be lost before it is ERROR; None: no limit.
        reconnect_delay: seconds between tries while RECONNECTING; without meaning when `endpoint` is given.
        endpoint: a bound endpoint to use, which stays the caller's.
        label: public name that tells several connections between the same two addresses apart.
        on_message: takes over from `on_data` and `receive`: gets each message and has to consume it, sooner or later.
        on_delivered: gets the tags of messages sent that the peer's application consumed.
    """

    def __init__(
        self,
        remote_host: str,
        remote_port: int,
        encryption_key: str | bytes,
        local_port: int = 0,
        max_reconnect_attempts: int | None = 5,
        reconnect_delay: float = 5.0,
        *,
        endpoint: srmudp.Endpoint | None = None,
        on_data: OnData | None = None,
        on_status: OnStatus | None = None,
        on_event: OnEvent | None = None,
        label: str = "",
        on_message: OnMessage | None = None,
        on_delivered: OnDelivered | None = None,
    ) -> None:
        self.remote_host = remote_host
        self.remote_port = remote_port
        self.local_port = local_port
        self.max_reconnect_attempts = max_reconnect_attempts
        self.reconnect_delay = reconnect_delay
        self.reconnect_attempts = 0
        self._key = encryption_key
        self._label = label
        self._endpoint = endpoint
        self._owns_endpoint = endpoint is None
        self._on_data = on_data
        self._on_status = on_status
        self._on_event = on_event
        self._on_message = on_message
        self._on_delivered = on_delivered
        self._status = ConnectionStatus.DISCONNECTED
        self._session: _Session | None = None
        self._stopping = False
        self._changed = asyncio.Event()
        self._messages: deque[srmudp.Message] = deque()
        self._arrived = asyncio.Event()
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._caller: asyncio.Task[None] | None = None
        self._restarted = False
        self._abandoned: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<SRMUDPManager {self.remote_host}:{self.remote_port} {self._status}>"

    # ---- Life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Binds a port where no endpoint was given, and opens. Raises srmudp.Error."""
        if self._session is not None:
            return
        if self._endpoint is None:
            config = srmudp.Config(reconnect_delay=self.reconnect_delay)
            self._endpoint = await srmudp.Endpoint.bind("", self.local_port, config=config)
        self.open()

    def open(self) -> None:
        """Opens on the endpoint given; does not wait for the peer. Raises srmudp.Error."""
        assert self._endpoint is not None
        self._stopping = False
        self.local_port = self._endpoint.local_address[1]
        self._set_status(ConnectionStatus.CONNECTED, {})
        self._open_session({})

    def _open_session(self, info: dict[str, Any]) -> None:
        assert self._endpoint is not None
        connection = self._endpoint.open(self.remote_host, self.remote_port, key=self._key, label=self._label)
        session = self._session = _Session(connection)
        self._changed.set()
        self._changed = asyncio.Event()
        self._set_status(ConnectionStatus.UDP_WAITING, info)
        connection.set_callbacks(
            on_message=self._on_message or self._receive_message,
            on_status=lambda change: self._engine_status(session, change),
            on_event=lambda event: self._engine_event(session, event),
            on_consumed=partial(self._engine_consumed, session),
            consume=False,
        )

    async def stop(self, timeout: float | None = None) -> None:
        """Delivers what was sent for at most `timeout` seconds (None: the configuration's), says goodbye, ends.

        What was not delivered is the event `undelivered`, before the status DISCONNECTED. Returns when the callbacks are
        through, or after `CALLBACK_PATIENCE`, which cancels them; called from one of them it does not wait for it.
        """
        self._stopping = True
        session, self._session = self._session, None
        try:
            if session is not None:
                await self._close_session(session, timeout)
            if self._abandoned:
                await asyncio.wait(self._abandoned)
        finally:
            self._changed.set()
            self._arrived.set()
            self._set_status(ConnectionStatus.DISCONNECTED, {})
            await self._finish_callbacks()
            if self._owns_endpoint and self._endpoint is not None:
                endpoint, self._endpoint = self._endpoint, None
                await endpoint.close()

    async def _close_session(self, session: _Session, timeout: float | None) -> None:
        with suppress(srmudp.Undelivered):  # the event told
            await session.connection.close(timeout=timeout)
        if self._endpoint is not None and self._endpoint.is_open:
            await session.ended.wait()  # callbacks may be behind; the last one tells the end

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ---- Messages ----------------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes, *, channel: int = 0, tag: Any = None) -> None:
        """Accepts a message, all or nothing; waits while the send buffer is full, also for a peer not yet there.

        `tag` comes back in `on_delivered` when the peer consumed it, or in `undelivered`. Raises srmudp.MessageTooLarge,
        srmudp.Closed after `stop`, srmudp.ConnectionLost in ERROR.
        """
        while True:
            session = self._living_session()
            changed = self._changed
            try:
                return await session.send(data, channel, tag)
            except (srmudp.Closed, srmudp.ConnectionLost):
                if session is self._session:
                    await changed.wait()  # the connection ended a moment ago; the next one is being opened

    def _living_session(self) -> _Session:
        if self._status is ConnectionStatus.ERROR:
            raise srmudp.ConnectionLost(
                "the connection failed; reset_connection() or a new manager starts anew"
            )
        if self._session is None:
            raise srmudp.Closed("the manager is not started, or was stopped")
        return self._session

    async def receive(self, timeout: float | None = 0) -> bytes | None:
        """The next message; None when nothing came within `timeout` seconds (0: does not wait; None: waits for ever).

        Raises, when it would wait for what cannot come, srmudp.Closed after `stop` and srmudp.ConnectionLost in ERROR.
        """
        try:
            async with asyncio.timeout(timeout if timeout is None or timeout > 0 else None):
                while not self._messages:
                    if timeout == 0:
                        return None
                    self._living_session()
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        message = self._messages.popleft()
        message.consume()
        return message.data

    # ---- Asking and prodding -----------------------------------------------------------------------------------------

    def get_status(self) -> ConnectionStatus:
        """What it is doing now."""
        return self._status

    def reset_connection(self) -> asyncio.Future[bool]:
        """Tries at once to reach the peer anew, losing nothing; from ERROR it opens anew.

        The result may be awaited: whether there was anything to reset.
        """
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        done.set_result(self._endpoint is not None and not self._stopping)
        self.reconnect_attempts = 0
        if self._session is not None and self._status is not ConnectionStatus.ERROR:
            self._session.connection.reconnect()
        elif done.result():
            self._reopen("reset")
        return done

    def get_public_connection_info(self) -> dict[str, str | int]:
        """The UDP address and port in use: what the other side is told to reach this one by."""
        if self._endpoint is None:
            return {"address": "0.0.0.0", "port": self.local_port}
        address = self._endpoint.local_address
        return {"address": address[0], "port": address[1]}

    def stats(self) -> dict[str, Any]:
        """Figures of the present connection; empty before `start` and after `stop`."""
        if self._session is None:
            return {}
        return describe_connection(self._session.connection)

    # ---- From the engine ---------------------------------------------------------------------------------------------

    def _receive_message(self, message: srmudp.Message) -> None:
        if self._on_data is not None:
            self._notify(self._deliver, message)
        else:
            self._messages.append(message)
            self._arrived.set()

    def _deliver(self, message: srmudp.Message) -> Awaitable[None] | None:
        assert self._on_data is not None
        try:
            result = self._on_data(message.data, message.is_text)
        except BaseException:
            message.consume()
            raise
        if inspect.isawaitable(result):
            return _consume_after(result, message)
        message.consume()
        return None

    def _engine_consumed(self, session: _Session, channel: int, count: int) -> None:
        tags = session.consumed(channel, count)
        if tags and self._on_delivered is not None:
            self._on_delivered(tags)

    def _engine_status(self, session: _Session, change: srmudp.StatusChange) -> None:
        if change.status.is_end:
            session.ended.set()
        if session is not self._session:
            return
        match change.status:
            case srmudp.Status.CLOSED:
                self._reopen(change.reason)
            case srmudp.Status.FAILED:
                self._fail(change.reason)
            case srmudp.Status.RECONNECTING:
                self._lost(change)
            case srmudp.Status.ESTABLISHED:
                self._established(session, change)
            case srmudp.Status.WAITING:
                self._set_status(ConnectionStatus.UDP_WAITING, _info_of(change))

    def _established(self, session: _Session, change: srmudp.StatusChange) -> None:
        remote = change.remote_address
        info = {
            "remote_address": join_address(remote) if remote else None,
            "path": session.connection.path,
            "reason": "peer_restarted" if self._restarted else None,
        }
        self._restarted = False
        self._set_status(ConnectionStatus.UDP_ESTABLISHED, info)

    def _lost(self, change: srmudp.StatusChange) -> None:
        self._restarted = self._restarted or change.reason == "peer_restarted"
        if self._status is ConnectionStatus.UDP_ESTABLISHED:
            self.reconnect_attempts += 1
            limit = self.max_reconnect_attempts
            if limit is not None and self.reconnect_attempts > limit:
                self._abandon()
                self._fail("max_reconnect_attempts")
                return
        self._set_status(ConnectionStatus.RECONNECTING, _info_of(change))

    def _abandon(self) -> None:
        """Gives up a connection that would go on by itself; what it did not deliver is told all the same."""
        session, self._session = self._session, None
        assert session is not None
        task = asyncio.get_running_loop().create_task(self._close_session(session, 0))
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)

    def _reopen(self, reason: str | None) -> None:
        try:
            self._open_session({"reason": reason})
        except srmudp.Error as error:
            self._fail(error.reason)

    def _fail(self, reason: str | None) -> None:
        self._set_status(ConnectionStatus.ERROR, {"reason": reason})
        self._changed.set()
        self._arrived.set()

    def _engine_event(self, session: _Session, event: srmudp.Event) -> None:
        match event.name:
            case "undelivered":
                info = {"count": len(event.messages), "tags": session.undelivered(event.places)}
                self._notify(self._on_event, "undelivered", info)
            case "peer_restarted":
                self._notify(
                    self._on_event, "peer_restarted", {"resent": event.resent, "unknown": event.unknown}
                )
            case "wrong_key":
                self._notify(self._on_event, "wrong_key", {"count": event.count})
            case "path_changed":
                remote = event.remote_address
                self._notify(
                    self._on_event, "path_changed", {"remote_address": join_address(remote)} if remote else {}
                )
            case name:
                self._notify(self._on_event, name, {})

    # ---- To the owner ------------------------------------------------------------------------------------------------

    def _set_status(self, status: ConnectionStatus, info: dict[str, Any]) -> None:
        if status is self._status is ConnectionStatus.DISCONNECTED:
            return
        self._status = status
        self._notify(
            self._on_status, status, {name: value for name, value in info.items() if value is not None}
        )

    def _notify(self, callback: Callable[..., Any] | None, *arguments: Any) -> None:
        """Calls in order: at once, or after the coroutine that is still at work."""
        if callback is None:
            return
        self._calls.append((callback, arguments))
        if self._caller is None:
            self._call_next()

    def _call_next(self) -> None:
        while self._calls:
            callback, arguments = self._calls.popleft()
            try:
                result = callback(*arguments)
            except Exception:
                logger.exception("a callback of %r failed", self)
                continue
            if inspect.isawaitable(result):
                self._caller = asyncio.ensure_future(self._await_callback(result))
                return

    async def _finish_callbacks(self) -> None:
        """Waits for the callbacks that were begun and those that wait behind them."""
        deadline = asyncio.get_running_loop().time() + CALLBACK_PATIENCE
        while (caller := self._caller) is not None and caller is not asyncio.current_task():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                logger.warning("a callback of %r takes too long and is cancelled", self)
                self._calls.clear()
                caller.cancel()
            await asyncio.wait((caller,), timeout=max(left, 1.0))

    async def _await_callback(self, result: Awaitable[None]) -> None:
        try:
            await result
        except Exception:
            logger.exception("a callback of %r failed", self)
        finally:
            self._caller = None
        self._call_next()


async def _consume_after(result: Awaitable[None], message: srmudp.Message) -> None:
    try:
        await result
    finally:
        message.consume()


def _info_of(change: srmudp.StatusChange) -> dict[str, Any]:
    return {"reason": change.reason, "attempt": change.attempt}


def join_address(address: Sequence[Any]) -> str:
    """``203.0.113.5:40000``, ``[2001:db8::1]:40000``."""
    host, port = str(address[0]), int(address[1])
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def describe_connection(connection: srmudp.Connection) -> dict[str, Any]:
    """A connection's figures as ``/v0/ws/connections`` and ``stats`` show them."""
    figures = connection.stats()
    remote = figures["remote_address"]
    return figures | {"remote_address": join_address(remote) if remote else None}


def engine_config(settings: Settings) -> srmudp.Config:
    """The engine's configuration in the settings."""
    return srmudp.Config(
        liveness=settings.liveness,
        liveness_in_flight=settings.liveness_in_flight,
        keepalive_interval=settings.keepalive_interval,
        outage_limit=settings.outage_limit,
        reconnect_delay=settings.reconnect_delay,
        close_timeout=settings.close_timeout,
        max_message_size=settings.max_message_size,
        send_buffer=settings.send_buffer,
        receive_buffer=settings.receive_buffer,
        congestion_control=settings.congestion_control,
        pmtu_discovery=settings.pmtu_discovery,
        policy=[srmudp.Rule(*rule) for rule in settings.target_policy().engine_rules()],
    )
