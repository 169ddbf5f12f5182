"""`SecureReliableSocket`: the blocking socket of the classic srmudp library, on this engine."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import warnings
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from autoprox._engine import errors
from autoprox._engine.config import Config
from autoprox._engine.connection import Connection, Data
from autoprox._engine.endpoint import Endpoint, Key
from autoprox._engine.events import Address, Status
from autoprox._engine.native import native

_T = TypeVar("_T")

MessageHook = Callable[[native.Message, Address, "SecureReliableSocket"], object]
"""Called with a message, where it came from, and the socket."""

_JOIN_SECONDS: Final = 5.0


class _Background:
    """An event loop on a thread of its own, for all sockets of the process. It runs as long as there is a socket."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def enter(self) -> None:
        """One socket more."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            self._loop = loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(loop,), name="srmudp-sockets", daemon=True)
            self._thread.start()

    def leave(self) -> None:
        """One socket less. The last one waits for the thread."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        assert loop is not None
        assert thread is not None
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(_JOIN_SECONDS)

    def refuse_own_thread(self, work: Coroutine[Any, Any, object] | None = None) -> None:
        """A blocking call from within a hook would wait for itself. Raises RuntimeError."""
        if threading.current_thread() is self._thread:
            if work is not None:
                work.close()
            raise RuntimeError(
                "a blocking call of a SecureReliableSocket from within a hook would wait for ever"
            )

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Waits for a coroutine on the loop. Whatever interrupts the wait (Ctrl-C) cancels it."""
        self.refuse_own_thread(work)
        loop = self._loop
        assert loop is not None
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


_background = _Background()


def _after_fork() -> None:
    global _background
    _background = _Background()  # the child has no such thread


os.register_at_fork(after_in_child=_after_fork)


class SecureReliableSocket:
    """A blocking socket to one peer: whole messages, each exactly once, in order.

    Takes the classic library's arguments, and the key that it lacked. May be used by several threads.

    Args:
        port: UDP port to bind; 0: any free one.
        family: `socket.AF_INET` or `socket.AF_INET6`.
        timeout: seconds that connect() may take, that send() waits for room, and that close() may take to deliver.
        span: seconds between tries to reach a lost peer; 0.1 to 60.
        auto_reconnect: False: a peer that is lost for `timeout` seconds is given up.
        key: what both sides share; text counts as the UTF-8 of its NFC form; 1 to 4096 bytes.
        label: public name that tells several connections between the same two addresses apart.
        config: all the engine can be told; replaces `span` and `auto_reconnect`.

    Raises:
        PortInUse, InvalidKey, and what `Endpoint.bind` raises.
    """

    def __init__(
        self,
        port: int = 0,
        family: int = socket.AF_INET,
        timeout: float = 21.0,
        span: float = 3.0,
        auto_reconnect: bool = True,
        *,
        key: Key,
        label: str = "",
        config: Config | None = None,
    ) -> None:
        if family not in (socket.AF_INET, socket.AF_INET6):
            raise ValueError("family must be socket.AF_INET or socket.AF_INET6")
        if config is None:
            config = (
                Config(reconnect_delay=span)
                if auto_reconnect
                else Config(reconnect_delay=span, outage_limit=timeout)
            )
        self.family = family
        self._timeout = timeout
        self._connection: Connection | None = None
        self._hook: MessageHook | None = None
        self._closed = True
        self._lock = threading.Lock()
        self._background = _background
        self._background.enter()
        try:
            host = "0.0.0.0" if family == socket.AF_INET else "::"
            self._endpoint = self._background.run(Endpoint.bind(host, port, config=config))
        except BaseException:
            self._background.leave()
            raise
        self._closed = False
        self._open: Callable[[str, int], Connection] = partial(self._endpoint.open, key=key, label=label)

    def __del__(self) -> None:
        if getattr(self, "_closed", True):
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
        self._closed = True
        if self._endpoint.is_open:
            self._endpoint._forsake()
        if self._background is _background:
            self._background.leave()

    def __repr__(self) -> str:
        peer = self._connection
        return f"<srmudp.SecureReliableSocket at {_join(self._endpoint.local_address)}: {peer if peer else 'not connected'}>"

    def connect(self, address: tuple[str, int] | str) -> None:
        """Reaches the peer, which does the same towards us; ``("203.0.113.5", 40000)`` or ``"203.0.113.5:40000"``.

        Raises:
            WrongKey, ConnectTimeout: not within `timeout` seconds. The socket stays open, and may try again.
            InvalidAddress, Closed.
        """
        if self._connection is not None and not self._connection.status.is_end:
            raise errors.Error("The socket is connected already; use another one for another peer")
        host, port = _split(address) if isinstance(address, str) else address[:2]
        self._connection = self._run(self._connect(host, port))

    async def _connect(self, host: str, port: int) -> Connection:
        connection = self._open(host, port)
        connection.set_callbacks(on_message=self._call_hook if self._hook else None)
        try:
            await connection.established(self._timeout)
        except BaseException:
            connection._begin_close(0)
            raise
        return connection

    def send(self, data: Data, flags: int = 0) -> int:
        """Sends one message; waits for room for at most `timeout` seconds. Gives its size.

        Raises:
            TimeoutError: no room in time; nothing was sent.
            Closed, ConnectionLost, MessageTooLarge.
        """
        _check_flags(flags)
        self._run(self._send(self._connected(), data))
        return len(data.encode()) if isinstance(data, str) else memoryview(data).nbytes

    async def _send(self, connection: Connection, data: Data) -> None:
        async with asyncio.timeout(self._timeout):
            await connection.send(data)

    def sendall(self, data: Data, flags: int = 0) -> None:
        """The same as send()."""
        self.send(data, flags)

    def receive(self, flags: int = 0, timeout: float | None = 1.0) -> tuple[str, bytes, bytes | None] | None:
        """The next message: (the peer's "address:port", the bytes, its public key or None).

        None: nothing came within `timeout` seconds (None: waits), or the connection has ended and all was received.
        """
        _check_flags(flags)
        if self._closed or self._connection is None:
            return None
        return self._run(self._receive(self._connection, timeout))

    async def _receive(
        self, connection: Connection, timeout: float | None
    ) -> tuple[str, bytes, bytes | None] | None:
        try:
            async with asyncio.timeout(timeout):
                data = await connection.receive()
        except (TimeoutError, errors.Error):
            return None
        fingerprint = connection.peer_fingerprint
        remote = connection.remote_address or ("", 0)
        return _join(remote), data, bytes.fromhex(fingerprint) if fingerprint else None

    @property
    def message_hook(self) -> MessageHook | None:
        """Called with (message, (host, port), socket) on the sockets' own thread, instead of receive(). It must not
        call blocking methods of a socket."""
        return self._hook

    @message_hook.setter
    def message_hook(self, hook: MessageHook | None) -> None:
        self._hook = hook
        connection = self._connection
        if connection is not None and not self._closed:
            self._run(self._set_hook(connection))

    message_hook_fnc = message_hook

    async def _set_hook(self, connection: Connection) -> None:
        connection.set_callbacks(on_message=self._call_hook if self._hook else None)

    def _call_hook(self, message: native.Message) -> None:
        hook, connection = self._hook, self._connection
        if hook is not None:
            hook(message, (connection and connection.remote_address) or ("", 0), self)

    @property
    def established(self) -> bool:
        """Whether the peer is there."""
        return self._connection is not None and self._connection.status is Status.ESTABLISHED

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, here or by the peer, or has given up."""
        if self._closed or not self._endpoint.is_open:
            return True
        return self._connection is not None and self._connection.status.is_end

    def getsockname(self) -> str:
        """Where it is bound, as "0.0.0.0:41234"."""
        if self._closed:
            raise OSError("the socket is closed")
        return _join(self._endpoint.local_address)

    def getpeername(self) -> str:
        """Where the peer is, as "203.0.113.5:40000". Raises OSError while it is not known."""
        remote = self._connection.remote_address if self._connection is not None else None
        if self._closed or remote is None:
            raise OSError("the socket is closed" if self._closed else "the socket is not connected")
        return _join(remote)

    def close(self) -> None:
        """Delivers what was sent, for at most `timeout` seconds, says goodbye, and frees the port.

        Raises:
            Undelivered: the peer did not consume everything.
        """
        self._background.refuse_own_thread()
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            if self._endpoint.is_open:
                self._background.run(self._close())
        finally:
            if self._background is _background:  # else this is a fork, where there is no thread to end
                self._background.leave()

    async def _close(self) -> None:
        try:
            if self._connection is not None:
                await self._connection.close(self._timeout)
        finally:
            await self._endpoint.close(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._closed or not self._endpoint.is_open:
            work.close()
            raise errors.Closed("The socket is closed")
        return self._background.run(work)

    def _connected(self) -> Connection:
        if self._connection is None:
            raise errors.Closed("The socket is not connected: call connect() first")
        return self._connection


def _check_flags(flags: int) -> None:
    if flags != 0:
        raise ValueError("flags must be 0")


def _split(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        raise errors.InvalidAddress(f"{text!r} is no HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _join(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
