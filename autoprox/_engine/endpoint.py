"""`Endpoint` and `Listener`: one UDP port, and who comes to it; what happens to them at a fork and at exit."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ipaddress
import os
import socket
import unicodedata
import warnings
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Generator, Sized
from types import TracebackType
from typing import Any, Final, Self

from autoprox._engine import errors
from autoprox._engine.config import Config
from autoprox._engine.connection import Connection
from autoprox._engine.events import Address
from autoprox._engine.native import native

Key = str | bytes | bytearray | memoryview

_KEY_MAX: Final = 4096
_LABEL_MAX: Final = 255
_CLOSE_GRACE: Final = 2.0
"""Seconds that closing an endpoint gives the engine beyond what it was told; a busy machine needs some of it."""
_EVENTS_AT_ONCE: Final = 1024
"""Taken from the engine before the loop gets its turn; a run of small messages is worth some 100 µs."""


class Endpoint:
    """One UDP port number, IPv4 and IPv6, with an engine thread of its own. Carries many connections.

    1. Made by `bind`. Ends by `close`, or as ``async with``; one that nobody refers to any more, nor to any of its
       connections, is closed with a ResourceWarning, and one left open at exit says goodbye to its peers.
    2. All methods belong to the event loop it was bound on, else they raise RuntimeError. The engine does not: whatever
       the loop is busy with, connections stay alive.
    3. In a child of `os.fork` it is dead: everything raises Closed, and nothing is sent.
    """

    __slots__ = (
        "__weakref__", "_anchors", "_arriving", "_batch", "_connections", "_dead", "_fd", "_handle", "_listeners", "_local", "_loop",
        "_ready", "config",
    )  # fmt: skip

    config: Config
    """What it was bound with."""

    def __init__(self, handle: native.Endpoint, loop: asyncio.AbstractEventLoop, config: Config) -> None:
        self.config = config
        self._handle = handle
        self._loop = loop
        self._local: tuple[Address, ...] = handle.addresses()
        self._fd: int = handle.fileno()
        self._anchors: set[object] = set()
        self._arriving: set[Connection] = set()
        self._batch: deque[tuple[Any, ...]] = deque()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._dead: str | None = None
        # What asyncio's own loop will run next; others don't say.
        self._ready: Sized = getattr(loop, "_ready", ())
        _living.add(self)
        loop.add_reader(self._fd, _on_readable, weakref.ref(self), self._anchors)

    @classmethod
    async def bind(cls, host: str = "", port: int = 0, *, config: Config | None = None) -> Self:
        """Binds a UDP port and starts the engine.

        Args:
            host: an address of this machine or a name of one; "": all, IPv4 and IPv6 on the same port number.
            port: 1 to 65535; 0: any free one.
            config: the defaults of `Config` when left out.

        Raises:
            PortInUse: another program has the port.
            InvalidAddress: no address of this machine, or no port.
            Error: the operating system refused otherwise.
        """
        config = config or Config()
        number = _port(port, lowest=0)
        loop = asyncio.get_running_loop()
        address = await _resolve_local(loop, host)
        try:
            handle = native.Endpoint(loop, address, number, **config.for_engine())
        except native.Failure as failure:
            errors.raise_failure(failure)
        return cls(handle, loop, config)

    def __repr__(self) -> str:
        where = f"{self._local[0][0]} port {self._local[0][1]}" if self._local else "nowhere"
        return f"<srmudp.Endpoint at {where}{'' if self.is_open else ', closed'}>"

    def __del__(self) -> None:
        if not hasattr(self, "_dead") or not self.is_open:
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
        self._forsake()

    def _forsake(self) -> None:
        """Ends the engine at once, from whatever thread: nobody will use it any more."""
        self._dead = "nobody referred to it any more"
        _living.discard(self)
        _retire(self._handle, self._loop, self._fd)

    # ---- Opening -----------------------------------------------------------------------------------------------------

    def open(self, host: str, port: int, *, key: Key, label: str = "") -> Connection:
        """Starts a connection and returns at once; it is WAITING, and messages may be sent already.

        Both sides may open towards each other (that makes holes in NATs), or one opens and the other listens.

        Args:
            host: IPv4 or IPv6 address, or a name: all its addresses are tried, and looked up anew while nobody is there.
            port: 1 to 65535.
            key: what both sides share; text counts as the UTF-8 of its NFC form; 1 to 4096 bytes.
            label: a public name that tells several connections between the same two addresses apart; at most 255 bytes.

        Raises:
            InvalidAddress, InvalidKey, ValueError: an argument is out of its range.
            AddressBusy: 8 connections of this label wait for that address already.
            PolicyDenied: `Config.policy` forbids the address.
            Closed: the endpoint is closed.
        """
        self._check_usable()
        name, number = _host(host), _port(port, lowest=1)
        try:
            handle = self._handle.open(name, number, _key(key), _label(label))
        except native.Failure as failure:
            errors.raise_failure(failure)
        return self._adopt(Connection(self, handle, f"to {name} port {number}"))

    async def connect(
        self, host: str, port: int, *, key: Key, label: str = "", timeout: float | None = 30
    ) -> Connection:
        """`open` and `Connection.established` in one. When that fails or is cancelled the connection is closed.

        Raises:
            WrongKey: nobody proved the key within `timeout` seconds (None: no limit), and the last completed try met
                another key.
            ConnectTimeout: nobody proved the key within `timeout` seconds.
            and what `open` raises.
        """
        connection = self.open(host, port, key=key, label=label)
        try:
            await connection.established(timeout)
        except BaseException:
            connection._begin_close(0)
            raise
        return connection

    def listen(self, *, key: Key, label: str = "") -> Listener:
        """Accepts connections of anybody who proves the key, from wherever. Strangers never harm it.

        Raises:
            InvalidKey, ValueError: an argument is out of its range.
            Error: too many listeners (64).
            Closed: the endpoint is closed.
        """
        self._check_usable()
        try:
            handle = self._handle.listen(_key(key), _label(label))
        except native.Failure as failure:
            errors.raise_failure(failure)
        listener = Listener(self, handle, label)
        self._listeners.add(listener)
        return listener

    def _adopt(self, connection: Connection) -> Connection:
        self._connections.add(connection)
        return connection

    # ---- Ending ------------------------------------------------------------------------------------------------------

    async def close(self, timeout: float | None = None) -> None:
        """Closes all listeners and connections, as `Connection.close` does, and ends the engine.

        What could not be delivered within `timeout` seconds (None: `Config.close_timeout`) is each connection's event
        ``undelivered``, or raised by its own `close`, or else a line in the log. Cancelled, it ends all at once.
        """
        if not self.is_open:
            return
        self._check_loop()
        for listener in list(self._listeners):
            listener.close()
        connections = [connection for connection in self._connections if not connection._has_ended]
        wait = self.config.close_timeout if timeout is None else timeout
        try:
            for connection in connections:
                connection._begin_close(wait)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait + _CLOSE_GRACE):
                    for connection in connections:
                        while not connection._has_ended:
                            await connection._wait(connection._watchers)
        finally:
            self._end("the endpoint is closed")

    def _end(self, why: str) -> None:
        if self._dead is not None:
            return
        self._dead = why
        _living.discard(self)
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        self._handle.close()
        for connection in list(self._connections):
            connection._wake_all()
        for listener in list(self._listeners):
            listener._wake_all()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- Looking -----------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it is not closed, in this process."""
        return self._dead is None

    @property
    def local_address(self) -> Address:
        """Host and port it is bound to, the IPv4 ones where it has both."""
        return self._local[0]

    @property
    def local_addresses(self) -> tuple[Address, ...]:
        """The same for each family, IPv4 first."""
        return self._local

    def stats(self) -> dict[str, int]:
        """Figures of this moment: datagrams, what was dropped by cause, handshakes, connections."""
        return self._handle.stats()

    # ---- From the engine ---------------------------------------------------------------------------------------------

    def _take_events(self) -> None:
        """Handles what waits."""
        self._handle_events(self._handle.poll(_EVENTS_AT_ONCE))

    def _linger(self) -> bool:
        """Handles what a near peer answers at once, if it does: to sleep and wake up would take longer.

        Never while the loop has other work that is ready.
        """
        if self._ready:
            return False
        events = self._handle.linger(_EVENTS_AT_ONCE)
        if events is None:
            return False
        self._handle_events(events)
        return True

    def _handle_events(self, events: list[tuple[Any, ...]]) -> None:
        """An exception that is the loop's business (KeyboardInterrupt) loses none of them."""
        batch = self._batch
        batch.extend(events)
        try:
            while batch:
                event = batch.popleft()
                if event[1] == native.ACCEPTED:
                    self._on_accepted(event[0], event[2])
                    continue
                reference = event[0].owner
                connection = None if reference is None else reference()
                if connection is not None:
                    connection._on_engine_event(event)
        finally:
            if batch:
                self._loop.call_soon(_on_readable, weakref.ref(self), self._anchors)

    def _on_accepted(self, handle: native.Connection, listener: Listener | None) -> None:
        if listener is None or not listener.is_open:
            handle.release()
            return
        connection = self._adopt(Connection(self, handle, "accepted"))
        connection._listener = listener  # which gives it out once its status has come, an event or two later
        self._arriving.add(connection)

    def _connection_ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._arriving.discard(connection)

    def _rest(self) -> None:
        """The loop has had its turn."""
        self._handle.rest()

    # ---- Checks ------------------------------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._dead is not None:
            raise self._closed_error()
        self._check_loop()

    def _check_loop(self) -> None:
        if asyncio._get_running_loop() is not self._loop and self.is_open:
            raise RuntimeError(
                "this belongs to another event loop: use it on the loop where Endpoint.bind was awaited, from other "
                "threads by asyncio.run_coroutine_threadsafe"
            )

    def _closed_error(self) -> errors.Closed:
        return errors.Closed(f"It is closed: {self._dead}")


class Listener:
    """Gives the connections of everybody who proved the key, in the order they came. ``async with``, ``async for``."""

    __slots__ = ("__weakref__", "_accepted", "_endpoint", "_handle", "_label", "_open", "_waiters")

    def __init__(self, endpoint: Endpoint, handle: native.Listener, label: str) -> None:
        self._endpoint = endpoint
        self._handle = handle
        self._label = label
        self._open = True
        self._accepted: deque[Connection] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        handle.owner = weakref.ref(self)

    def __repr__(self) -> str:
        return f"<srmudp.Listener {self._label!r} of {self._endpoint!r}{'' if self.is_open else ', closed'}>"

    def __del__(self) -> None:
        if not hasattr(self, "_waiters") or not self.is_open:
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
        self._handle.close()

    @property
    def is_open(self) -> bool:
        """Whether it accepts."""
        return self._open and self._endpoint.is_open

    async def accept(self) -> Connection:
        """The next connection, ESTABLISHED; waits for one. Cancelled, it has taken none.

        Raises:
            Closed: the listener or its endpoint is closed.
        """
        self._endpoint._check_loop()
        while not self._accepted:
            if not self.is_open:
                raise errors.Closed("The listener is closed")
            waiter: asyncio.Future[None] = self._endpoint._loop.create_future()
            self._waiters.append(waiter)
            self._endpoint._anchors.add(waiter)
            try:
                await waiter
            except BaseException:
                if self._accepted:
                    self._wake_one()
                raise
            finally:
                self._endpoint._anchors.discard(waiter)
        return self._accepted.popleft()

    def __aiter__(self) -> AsyncIterator[Connection]:
        return self

    async def __anext__(self) -> Connection:
        try:
            return await self.accept()
        except errors.Closed:
            raise StopAsyncIteration from None

    def close(self) -> Awaitable[None]:
        """Stops accepting, at once; the result may be awaited. Connections that were accepted live on, those that
        nobody took are closed."""
        if self._open:
            self._open = False
            self._handle.close()
            while self._accepted:
                self._accepted.popleft()._begin_close(0)
            self._wake_all()
        return _Done()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _on_established(self, connection: Connection) -> None:
        self._endpoint._arriving.discard(connection)
        if self._open:
            self._accepted.append(connection)
            self._wake_one()
        else:
            connection._begin_close(0)

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._waiters:
            self._wake_one()


class _Done:
    """What was done at once, for those who await it all the same."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield  # makes it a generator


# ---- Arguments -------------------------------------------------------------------------------------------------------


def _key(key: Key) -> bytes:
    """The key's bytes. No text of an exception holds any of it."""
    if isinstance(key, str):
        if any(
            "\ud800" <= character <= "\udfff" for character in key
        ):  # encode() would raise with the key in its text
            raise errors.InvalidKey("The key is no valid text: it holds half of a surrogate pair")
        data = unicodedata.normalize("NFC", key).encode()
    elif isinstance(key, bytes | bytearray | memoryview):
        data = bytes(key)
    else:
        raise TypeError(f"the key must be str or bytes, not {type(key).__name__}")
    if not 1 <= len(data) <= _KEY_MAX:
        raise errors.InvalidKey(f"The key must have 1 to {_KEY_MAX} bytes, not {len(data)}")
    return data


def _label(label: str) -> str:
    if not isinstance(label, str):
        raise TypeError(f"the label must be str, not {type(label).__name__}")
    if len(label.encode()) > _LABEL_MAX or "\0" in label:
        raise ValueError(f"the label must have at most {_LABEL_MAX} bytes of UTF-8, and no NUL")
    return label


def _host(host: str) -> str:
    """A host as the resolver takes it; names of other scripts in their ASCII form."""
    if not isinstance(host, str):
        raise TypeError(f"the host must be str, not {type(host).__name__}")
    if not host or "\0" in host:
        raise errors.InvalidAddress("The host is empty or holds a NUL; give an address or a name")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise errors.InvalidAddress(f"{host!r} is no host name") from None


def _port(port: object, *, lowest: int) -> int:
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"the port must be int, not {type(port).__name__}")
    if not lowest <= port <= 65535:
        raise errors.InvalidAddress(f"The port must be from {lowest} to 65535, not {port}")
    return port


async def _resolve_local(loop: asyncio.AbstractEventLoop, host: str) -> str:
    """An address to bind to; names are looked up."""
    if host == "":
        return host
    name = _host(host)
    try:
        ipaddress.ip_address(name)
        return name
    except ValueError:
        pass
    try:
        found = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise errors.InvalidAddress(
            f"{host!r} is no address of this machine, and no name of one: {error}"
        ) from None
    return str(found[0][4][0])


# ---- Loop, fork, exit ------------------------------------------------------------------------------------------------

_living: weakref.WeakSet[Endpoint] = weakref.WeakSet()


def _on_readable(reference: weakref.ref[Endpoint], anchors: set[object]) -> None:
    """The loop's reader. It holds `anchors`, and with them whatever waits or is to be called, but no idle endpoint."""
    endpoint = reference()
    if endpoint is not None and endpoint.is_open:
        endpoint._take_events()


def _retire(handle: native.Endpoint, loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Ends an engine whose endpoint was collected, on whatever thread, inside of whatever else was going on."""

    def end() -> None:
        loop.remove_reader(fd)
        handle.close()

    try:
        loop.call_soon_threadsafe(end)
    except RuntimeError:  # the loop is closed
        handle.close()


def _after_fork() -> None:
    """The child has the parent's memory, and neither its threads nor the right to its sockets or its loop's epoll."""
    for endpoint in list(_living):
        endpoint._dead = "this process is a fork of the one it belongs to"
        endpoint._handle.forget()
    _living.clear()


def _at_exit() -> None:
    """What is still open says goodbye, while there is an interpreter to do it."""
    for endpoint in list(_living):
        endpoint._dead = "the interpreter is exiting"
        endpoint._handle.close()
    _living.clear()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
