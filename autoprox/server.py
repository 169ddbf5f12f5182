"""The app under uvicorn, with the listening sockets and limits a bridge needs.

What our own server does that a host app's may not: compression is off (it costs 15 to 150 times the processor time on
data that does not shrink), the WebSocket limit fits every form of a message of `max_message_size`, kernel buffers are
small so that *written* means nearly *read*, and a connection that makes no progress ends even when its close frame
cannot pass.
"""

from __future__ import annotations

import logging
import math
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import uvicorn
from uvicorn.config import LOG_LEVELS, LOGGING_CONFIG

from autoprox import srmudp
from autoprox.app import create_app
from autoprox.config import Settings
from autoprox.routes.hub import Hub

logger = logging.getLogger(__name__)

SEND_BUFFER: Final = 128 << 10
"""Bytes asked for a connection's kernel send buffer; Linux doubles it. Without, some 4 MB wait there unread."""
STALL_MARGIN: Final = 10.0
"""Seconds beyond `stall_limit` after which the kernel itself ends a connection without progress."""
PING_INTERVAL: Final = 20.0
SHUTDOWN_MARGIN: Final = 2.0

OnStarted = Callable[[int, list[tuple[str, int]]], None]


def create_sockets(host: str, port: int, settings: Settings, *, backlog: int = 2048) -> list[socket.socket]:
    """Listening sockets for every address of `host`, on one port number (`port` 0: any free one).

    The connections accepted inherit `TCP_USER_TIMEOUT`, `SO_SNDBUF` and `TCP_NODELAY`. Raises OSError with the address
    in its text; nothing stays open then. The caller owns the sockets.
    """
    families = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(families):
            if sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sockets.append(_listen(family, address, settings, backlog))
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise OSError(
            error.errno, f"cannot listen on {host or 'all addresses'} port {port}: {error.strerror}"
        ) from error
    return sockets


def _listen(family: int, address: Any, settings: Settings, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sys.platform == "linux":
            milliseconds = math.ceil((settings.stall_limit + STALL_MARGIN) * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
        sock.set_inheritable(True)
    except BaseException:
        sock.close()
        raise
    return sock


def server_options(settings: Settings) -> dict[str, Any]:
    """What our server sets and uvicorn by itself would not.

    Pings are sent but their answers not waited for: a client whose data waits for an absent peer is not read, so its
    pongs are not either; a dead one is found by TCP_USER_TIMEOUT.
    """
    return {
        "ws_per_message_deflate": False,
        "ws_max_size": settings.websocket_max_size,
        "ws_ping_interval": PING_INTERVAL,
        "ws_ping_timeout": None,
        "timeout_graceful_shutdown": math.ceil(settings.close_timeout + SHUTDOWN_MARGIN),
    }


def _logging(level: str | int | None) -> dict[str, Any]:
    """uvicorn's own, with our loggers beside its."""
    number = LOG_LEVELS[level] if isinstance(level, str) else level
    ours = {"handlers": ["default"], "level": logging.INFO if number is None else number, "propagate": False}
    return LOGGING_CONFIG | {"loggers": LOGGING_CONFIG["loggers"] | {"autoprox": ours}}


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it serves: `on_started` gets the TCP port and the app's UDP addresses.

    `binds_first`: without the UDP port nothing is started at all.
    """

    binds_first = False

    def __init__(self, config: uvicorn.Config, settings: Settings, on_started: OnStarted | None) -> None:
        super().__init__(config)
        self._settings = settings
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the app and listens; see `uvicorn.Server`. A UDP port that can't be had ends it with one clear line."""
        if self.binds_first:
            try:
                await Hub.current(self._settings).start()
            except srmudp.Error as error:
                logger.error("cannot bind UDP (--udp-host, --udp-port): %s", error)
                self.should_exit = True
                return
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            port: int = self.servers[0].sockets[0].getsockname()[1]
            self._on_started(port, Hub.current(self._settings).udp_addresses)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends; see `uvicorn.Server`, which alone would wait for clients that read nothing."""
        hub = Hub.find_running(self._settings)
        if hub is not None:
            await hub.farewell()
        await super().shutdown(sockets)


def create_server(settings: Settings, *, on_started: OnStarted | None = None, **options: Any) -> Server:
    """A server for the whole app, to be run on `create_sockets`. `options` go to `uvicorn.Config` and win over ours."""
    options = server_options(settings) | {"log_config": _logging(options.get("log_level"))} | options
    config = uvicorn.Config(create_app(settings), **options)
    return Server(config, settings, on_started)


def run(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    on_started: OnStarted | None = None,
    **options: Any,
) -> bool:
    """Serves until SIGINT or SIGTERM; False when the app could not start, which the log explains.

    Raises OSError when the address cannot be listened on.
    """
    sockets = create_sockets(host, port, settings)
    server = create_server(settings, on_started=on_started, **options)
    server.binds_first = True
    try:
        with suppress(KeyboardInterrupt):
            server.run(sockets)
    finally:
        for sock in sockets:
            sock.close()
    return server.started


def run_reloading(settings: Settings, host: str, port: int, **options: Any) -> None:
    """Serves ``autoprox.main:app`` with the environment's settings, anew whenever the code changes."""
    options = server_options(settings) | {"log_config": _logging(options.get("log_level"))} | options
    uvicorn.run("autoprox.main:app", host=host, port=port, reload=True, **options)
