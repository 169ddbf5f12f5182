"""`Connection`: messages to and from one peer, over whatever happens to the network between."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
import weakref
from collections.abc import AsyncIterator, Callable
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from autoprox._engine import errors
from autoprox._engine.callbacks import Callbacks, OnConsumed, OnEvent, OnMessage, OnStatus
from autoprox._engine.config import milliseconds
from autoprox._engine.delivery import Delivery
from autoprox._engine.events import STATUSES, Address, Event, Status, StatusChange
from autoprox._engine.native import native

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from autoprox._engine.endpoint import Endpoint, Listener

    Data = str | Buffer
else:
    Data = str | bytes | bytearray | memoryview  # collections.abc.Buffer came with Python 3.12

logger = logging.getLogger("autoprox.srmudp")

_T = TypeVar("_T")
_NOT_TRIED: Final = native.NOT_TRIED
_PARKED: Final = native.PARKED


class Connection:
    """One peer. Given by `Endpoint.open`, `Endpoint.connect` and `Listener.accept`, never made by hand.

    1. Whole messages travel, each exactly once, in order within a channel (0 to 255). Channels don't wait for each other;
       a lower one goes first.
    2. A message is *consumed* when `receive` returned it, or when `on_message` is through with it. `drain`, `close` and the
       sender's buffer follow that, so a slow receiver slows its sender and nothing piles up in between.
    3. An outage, a changed address, a laptop asleep: the connection is RECONNECTING and then goes on, with nothing lost,
       doubled or out of order. Only `close`, the peer's goodbye, `Config.outage_limit` and a replaced process of a peer
       that had been accepted by a listener end it.
    4. All methods but `stats` belong to the event loop the endpoint was bound on, else they raise RuntimeError.
    5. Usable as ``async with``, which closes it, and ``async for``, which receives.
    6. One that nobody refers to is closed at once, with a ResourceWarning; but with callbacks set it lives until it ends.
    """

    __slots__ = (
        "__weakref__", "_anchors", "_attempt", "_callbacks", "_closing", "_delivery", "_drainers", "_endpoint",
        "_fingerprint", "_handle", "_heard", "_last_try_wrong", "_listener", "_loop", "_name", "_path", "_reason",
        "_receive_message_now", "_receive_now", "_receivers", "_remote", "_send_locks", "_send_now", "_status", "_told",
        "_undelivered", "_watchers", "_writable",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, handle: native.Connection, name: str) -> None:
        self._endpoint = endpoint
        self._loop = endpoint._loop
        self._anchors = endpoint._anchors
        self._handle = handle
        self._name = name
        self._status = Status.WAITING
        self._reason = errors.OK
        self._attempt = 0
        self._remote: Address | None = None
        self._path: str | None = None
        self._fingerprint: str | None = None
        self._last_try_wrong = False
        self._closing = False
        self._delivery = Delivery()
        self._undelivered: list[native.Message] = []
        self._told = False  # what is undelivered has been raised
        self._heard = False  # … or given to on_event
        self._listener: Listener | None = None  # that accepted it and has not heard that it is established
        self._callbacks: Callbacks | None = None
        self._receivers: list[asyncio.Future[None]] = []
        self._watchers: list[asyncio.Future[None]] = []
        self._drainers: list[asyncio.Future[None]] = []
        self._writable: list[asyncio.Future[None]] = []
        self._send_locks: dict[int, asyncio.Lock] = {}
        self._send_now = handle.send
        self._receive_now = handle.receive
        self._receive_message_now = handle.receive_message
        handle.owner = weakref.ref(self)

    def __repr__(self) -> str:
        reason = errors.reason_of(self._reason)
        return f"<srmudp.Connection {self._name}: {self._status}{f' ({reason})' if reason else ''}>"

    def __del__(self) -> None:
        if self._undelivered and not self._told and not self._heard:
            logger.warning("%r: %d messages were not delivered", self, len(self._undelivered))
        if self._has_ended:
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
        self._handle.release()

    # ---- Sending -----------------------------------------------------------------------------------------------------

    async def send(self, data: Data, *, channel: int = 0) -> None:
        """Hands a message over to the engine, and returns as soon as that has it.

        Waits while the send buffer is full (`Config.send_buffer`), on each channel in the order of the calls. All or nothing:
        cancelled, nothing was sent. Before the peer is there and while RECONNECTING messages are accepted all the same.

        Args:
            data: str is sent as text, anything bytes-like as binary; it is copied. Empty messages are messages.
            channel: 0 to 255.

        Raises:
            MessageTooLarge: more than `Config.max_message_size` here.
            Closed, ConnectionLost: the connection has ended or is closing.
            TypeError, ValueError: no message, or no channel.
        """
        code = self._send_now(data, channel)
        if code:
            await self._send_slowly(code, data, channel)

    async def _send_slowly(self, code: int, data: Data, channel: int) -> None:
        """Waits for the sender's turn, the loop's turn and for room; `code` is what the first try gave."""
        handle = self._handle
        handle.line_up(channel)
        try:
            if code > 0:
                raise self._error_of(code)
            self._check_usable()
            async with self._send_locks.setdefault(channel, asyncio.Lock()):
                while code:
                    if code == _NOT_TRIED and handle.tired:
                        await self._rest()
                    elif code == _PARKED:
                        await self._wait(self._writable)
                    code = handle.send_waiting(data, channel)
                    if code > 0:
                        raise self._error_of(code)
        except BaseException:
            if code == _PARKED:
                handle.unpark(channel)
            raise
        finally:
            handle.step_out(channel)

    async def drain(self, timeout: float | None = None) -> None:
        """Waits until the peer's application has consumed everything sent so far.

        Raises:
            TimeoutError: not within `timeout` seconds (None: no limit). Nothing is lost, it goes on being delivered.
            Undelivered: some of it will not arrive; the connection may have ended.
            Closed, ConnectionLost: the connection has ended, and what was undelivered was told before.
        """
        self._check_alive()
        targets = self._handle.sent()
        async with asyncio.timeout(timeout):
            while True:
                self._raise_undelivered()
                if self._delivery.settled(targets):
                    return
                self._check_usable()
                await self._wait(self._drainers)

    # ---- Receiving ---------------------------------------------------------------------------------------------------

    async def receive(self) -> bytes:
        """The next message's bytes (UTF-8 of text), of whatever channel; waits for one.

        Cancelled, it has taken nothing. Several may wait; each message goes to one of them.

        Raises:
            Closed: one side closed the connection, and everything that came before was received.
            ConnectionLost: the same when it failed; ``undelivered`` says what of our own did not arrive.
            RuntimeError: messages go to `on_message`, or this is another loop.
        """
        data = self._receive_now()
        if data is None:
            data = await self._receive_slowly(self._receive_now)
        return data

    async def receive_message(self) -> native.Message:
        """The same with all that is known of the message."""
        message = self._receive_message_now()
        if message is None:
            message = await self._receive_slowly(self._receive_message_now)
        return message

    async def _receive_slowly(self, take: Callable[[], _T | None]) -> _T:
        handle = self._handle
        while True:
            self._check_loop()
            if handle.handed:
                raise RuntimeError("messages of this connection go to on_message; receive() gets none")
            if handle.tired:
                await self._rest()
            taken = take()
            if taken is not None:
                return taken
            if self._has_ended:
                raise self._end_error()
            if self._endpoint._linger():
                continue
            try:
                await self._wait(self._receivers)
            except BaseException:
                if self._handle.pending:  # perhaps it was us who were woken for it: somebody else takes it
                    self._wake_receivers(1)
                raise

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = self._receive_now()
        if data is None:
            try:
                data = await self._receive_slowly(self._receive_now)
            except errors.Closed:
                raise StopAsyncIteration from None
        return data

    # ---- Life --------------------------------------------------------------------------------------------------------

    async def established(self, timeout: float | None = None) -> None:
        """Waits until the connection is ESTABLISHED: both sides have confirmed the key.

        Cancelled or timed out, the connection goes on trying.

        Raises:
            WrongKey: not within `timeout` seconds (None: no limit), and the last completed try met another key.
            ConnectTimeout: not within `timeout` seconds.
            Closed, ConnectionLost, PolicyDenied: the connection has ended.
        """
        self._check_alive()
        try:
            async with asyncio.timeout(timeout):
                while self._status is not Status.ESTABLISHED:
                    self._check_usable()
                    await self._wait(self._watchers)
        except TimeoutError as error:
            if isinstance(error, errors.Error):
                raise
            raise self._timeout_error() from None

    async def close(self, timeout: float | None = None) -> None:
        """Delivers what was sent, says goodbye, and ends the connection. A second time waits for the first.

        Returns when the peer's application has consumed everything. Cancelled, it goes on closing by itself.

        Args:
            timeout: seconds for the delivery; 0: none is waited for; None: `Config.close_timeout`.

        Raises:
            Undelivered: not everything was consumed in time, or the connection had ended before; told once.
        """
        self._check_loop()
        self._begin_close(self._endpoint.config.close_timeout if timeout is None else timeout)
        while not self._has_ended:
            await self._wait(self._watchers)
        self._raise_undelivered()

    def reconnect(self) -> None:
        """Tries at once to reach the peer anew, with fresh keys and without losing anything.

        Raises:
            Closed, ConnectionLost: the connection has ended.
        """
        self._check_usable()
        self._handle.reconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except errors.Undelivered as undelivered:
            if error is None:
                raise
            error.add_note(f"Besides, {len(undelivered.messages)} messages sent on {self!r} did not arrive.")

    # ---- Looking -----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """What it is doing."""
        return Status.CLOSED if self._is_orphan else self._status

    @property
    def reason(self) -> str | None:
        """Why it is doing that, as in `StatusChange.reason`."""
        return errors.reason_of(self._reason)

    @property
    def remote_address(self) -> Address | None:
        """Host and port packets go to now; None before a peer was there."""
        return self._remote

    @property
    def path(self) -> str | None:
        """How packets get there: "direct"; None before a peer was there."""
        return self._path

    @property
    def peer_fingerprint(self) -> str | None:
        """The public key of the peer's identity, which it has proved, in hex; None: it has none."""
        return self._fingerprint

    def stats(self) -> dict[str, Any]:
        """Figures of this moment, or of the end.

        ``status``, ``path``, ``remote_address``, ``attempt``; ``messages_…`` and ``bytes_…`` of the application (``sent``:
        accepted here; ``unconsumed``: not yet consumed by the peer); ``packets_…`` and ``udp_bytes_…`` of the network;
        ``dropped_…`` packets by cause; ``rtt_ms``, ``rtt_min_ms``, ``rtt_var_ms`` or None; ``congestion_window`` and
        ``bytes_in_flight`` in bytes, ``pacing_rate`` in bytes a second, ``mtu`` in bytes of UDP payload; ``aead``;
        ``duplicates``; ``wrong_keys``, ``guesses_left``.
        """
        return {"status": str(self.status), "path": self._path, **self._handle.stats()}

    # ---- Callbacks ---------------------------------------------------------------------------------------------------

    def set_callbacks(
        self,
        *,
        on_message: OnMessage | EllipsisType | None = ...,
        on_status: OnStatus | EllipsisType | None = ...,
        on_event: OnEvent | EllipsisType | None = ...,
        on_consumed: OnConsumed | EllipsisType | None = ...,
        consume: bool | EllipsisType = ...,
    ) -> None:
        """Sets whom to call, plain functions or coroutine functions; what is left out stays as it is, None takes it away.

        Calls come on the loop's thread, one at a time, in the order things happened; a coroutine holds up what comes
        behind it. What a callback raises goes to the loop's exception handler and does the connection no harm.

        Args:
            on_message: called with each `Message`, also those that already wait. `receive` then gets none.
            on_status: called with each `StatusChange` from now on.
            on_event: called with each `Event` from now on.
            on_consumed: called with (channel, count): the peer's application consumed so many messages of a channel, in
                all; counted as they were sent.
            consume: False: a message is not consumed when `on_message` is through with it, but by `Message.consume()`.
        """
        self._check_loop()
        callbacks = self._callbacks
        if callbacks is None:
            callbacks = self._callbacks = Callbacks(self, self._handle, self._loop)
        if on_status is not ...:
            callbacks.on_status = on_status
        if on_event is not ...:
            callbacks.on_event = on_event
        if on_consumed is not ...:
            callbacks.on_consumed = on_consumed
        if consume is not ...:
            callbacks.consume = consume
        if on_message is not ...:
            self._set_on_message(callbacks, on_message)
        self._keep_while_used()

    def _set_on_message(self, callbacks: Callbacks, on_message: OnMessage | None) -> None:
        before, callbacks.on_message = callbacks.on_message, on_message
        self._handle.handed = on_message is not None
        if on_message is None:
            callbacks.forget_messages()
        elif before is None:
            callbacks.forget_messages()
            if self._handle.pending:
                callbacks.wait_for(self._handle.pending)
        self._wake(self._receivers)

    def _keep_while_used(self) -> None:
        """With somebody to call, the loop keeps the connection alive; and while it closes."""
        callbacks = self._callbacks
        called = callbacks is not None and callbacks.any and not (self._has_ended and callbacks.idle)
        if called or (self._closing and not self._has_ended):
            self._anchors.add(self)
        else:
            self._anchors.discard(self)

    # ---- From the engine ---------------------------------------------------------------------------------------------

    def _on_engine_event(self, event: tuple[Any, ...]) -> None:
        """One tuple of `native.Endpoint.poll`."""
        _HANDLERS[event[1]](self, event)

    def _on_message(self, event: tuple[Any, ...]) -> None:
        count: int = event[2]
        if self._handle.handed:
            assert self._callbacks is not None
            self._callbacks.messages(count)
        elif self._receivers:
            self._wake_receivers(count)

    def _on_status(self, event: tuple[Any, ...]) -> None:
        _, _, status, reason, attempt, remote, fingerprint = event
        if STATUSES[status].is_end:
            return  # CLOSED follows, after what was undelivered
        self._attempt = attempt
        if remote is not None:
            self._remote = remote
        if STATUSES[status] is Status.ESTABLISHED:
            self._path = "direct"
            self._fingerprint = None if fingerprint is None else fingerprint.hex()
            self._last_try_wrong = False
        self._set_status(STATUSES[status], reason)
        if self._listener is not None and self._status is Status.ESTABLISHED:
            listener, self._listener = self._listener, None
            listener._on_established(self)

    def _set_status(self, status: Status, reason: int) -> None:
        self._status = status
        self._reason = reason
        self._wake(self._watchers)
        if self._callbacks is not None:
            self._callbacks.status(
                StatusChange(status, errors.reason_of(reason), self._attempt, self._remote)
            )

    def _on_writable(self, _: tuple[Any, ...]) -> None:
        self._wake(self._writable)

    def _on_consumed(self, event: tuple[Any, ...]) -> None:
        _, _, channel, count = event
        self._delivery.consumed(channel, count)
        if self._drainers:
            self._wake(self._drainers)
        if self._callbacks is not None:
            self._callbacks.consumed(channel, count)

    def _on_wrong_key(self, event: tuple[Any, ...]) -> None:
        self._last_try_wrong = True
        self._emit(Event("wrong_key", count=event[2]))

    def _on_peer_restarted(self, event: tuple[Any, ...]) -> None:
        self._emit(Event("peer_restarted", count=event[2], resent=event[2], unknown=event[3]))

    def _on_peer_closed(self, _: tuple[Any, ...]) -> None:
        self._emit(Event("peer_closed"))

    def _on_path_changed(self, event: tuple[Any, ...]) -> None:
        self._remote = event[2]
        self._emit(Event("path_changed", remote_address=event[2]))

    def _on_undelivered(self, event: tuple[Any, ...]) -> None:
        messages, places = event[2]
        self._delivery.skip(places)
        self._undelivered += messages
        self._told = False
        self._heard = self._callbacks is not None and self._callbacks.on_event is not None
        self._wake(self._drainers)
        self._emit(Event("undelivered", count=len(messages), messages=tuple(messages), places=tuple(places)))

    def _on_closed(self, event: tuple[Any, ...]) -> None:
        _, _, status, reason = event
        ending = STATUSES[status] if STATUSES[status].is_end else Status.FAILED
        self._handle.release()
        self._listener = None
        self._endpoint._connection_ended(self)
        self._set_status(ending, reason)
        self._wake_all()
        self._keep_while_used()
        if self._callbacks is not None:
            self._callbacks.when_idle(self._keep_while_used)

    def _emit(self, event: Event) -> None:
        if self._callbacks is not None:
            self._callbacks.event(event)

    # ---- Waiting -----------------------------------------------------------------------------------------------------

    async def _wait(self, place: list[asyncio.Future[None]]) -> None:
        """Waits until somebody wakes the place. The loop keeps alive who waits, as it does with sockets."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        place.append(waiter)
        self._anchors.add(waiter)
        try:
            await waiter
        finally:
            self._anchors.discard(waiter)
            if not waiter.done() or waiter.cancelled():
                with contextlib.suppress(ValueError):
                    place.remove(waiter)

    @staticmethod
    def _wake(place: list[asyncio.Future[None]]) -> None:
        waiters = place.copy()
        place.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _wake_receivers(self, count: int) -> None:
        receivers = self._receivers
        while receivers and count > 0:
            waiter = receivers.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def _wake_all(self) -> None:
        for place in (self._receivers, self._watchers, self._drainers, self._writable):
            self._wake(place)

    async def _rest(self) -> None:
        await asyncio.sleep(0)
        self._endpoint._rest()

    # ---- Ends and errors ---------------------------------------------------------------------------------------------

    @property
    def _is_orphan(self) -> bool:
        """Whether the endpoint ended under it, without a word from the engine."""
        return not self._endpoint.is_open and not self._status.is_end

    @property
    def _has_ended(self) -> bool:
        return self._status.is_end or not self._endpoint.is_open

    def _begin_close(self, timeout: float) -> None:
        if self._has_ended:
            return
        self._closing = True
        self._handle.close(milliseconds(timeout))
        self._keep_while_used()

    def _check_loop(self) -> None:
        self._endpoint._check_loop()

    def _check_alive(self) -> None:
        """Right loop, right process, and the endpoint there: the connection may have ended all the same."""
        self._check_loop()
        if self._is_orphan:
            raise self._end_error()

    def _check_usable(self) -> None:
        self._check_loop()
        if self._has_ended:
            raise self._end_error()

    def _end_error(self) -> Exception:
        """Why it is over; the first one that carries what was undelivered counts as having told it."""
        if self._is_orphan:
            return self._endpoint._closed_error()
        if self._status is Status.FAILED:
            self._told = True
            return errors.make(self._reason, undelivered=self._undelivered)
        return errors.make(self._reason or errors.CLOSED)

    def _error_of(self, code: int) -> Exception:
        """The exception for what the engine answered to a send."""
        return self._end_error() if code == errors.CLOSED and self._has_ended else errors.make(code)

    def _raise_undelivered(self) -> None:
        if self._undelivered and not self._told:
            self._told = True
            cause = self._end_error() if self._status is Status.FAILED else None
            raise errors.Undelivered(undelivered=self._undelivered) from cause

    def _timeout_error(self) -> errors.Error:
        if self._last_try_wrong:
            return errors.WrongKey()
        if self._reason == errors.OK:
            return errors.ConnectTimeout()
        last = errors.make(self._reason)
        if isinstance(last, errors.ConnectTimeout):
            return last
        return errors.ConnectTimeout(f"{errors.ConnectTimeout()}. Last that was heard: {last}")


_HANDLERS: Final[dict[int, Callable[[Connection, tuple[Any, ...]], None]]] = {
    native.STATUS: Connection._on_status,
    native.MESSAGE: Connection._on_message,
    native.WRITABLE: Connection._on_writable,
    native.CONSUMED: Connection._on_consumed,
    native.WRONG_KEY: Connection._on_wrong_key,
    native.PEER_RESTARTED: Connection._on_peer_restarted,
    native.PEER_CLOSED: Connection._on_peer_closed,
    native.PATH_CHANGED: Connection._on_path_changed,
    native.UNDELIVERED: Connection._on_undelivered,
    native.CLOSED: Connection._on_closed,
}
