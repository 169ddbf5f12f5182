"""What the bridge's tests share: real servers on free ports in the test's own loop, and WebSocket clients to them.

```
  Browser ══ws══ App a ──udp── loopback ──udp── App b ══ws══ Browser
```
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from typing import Any, Self
from urllib.parse import urlencode

import httpx2 as httpx
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from autoprox.config import Settings
from autoprox.routes.hub import Hub
from autoprox.server import Server, create_server, create_sockets

HOST = "127.0.0.1"
KEY = "correct horse battery staple"
PATIENCE = 15.0
"""Seconds any single frame may take to come."""

_numbers = itertools.count(1)


def make_settings(**given: Any) -> Settings:
    """Settings no other app of this process has, so that it gets a hub and a UDP port of its own."""
    own: dict[str, Any] = {
        "udp_host": HOST,
        "max_bridges_per_client": 1000 + next(_numbers),
        "close_timeout": 2.0,
    }
    return Settings(**own | given)


class _QuietServer(Server):
    """Leaves the process's signal handlers alone: many servers come and go within one test run."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a generator there
        return nullcontext()


class App:
    """One server under test: where it listens and what it is made of."""

    def __init__(self, settings: Settings, port: int, server: uvicorn.Server) -> None:
        self.settings = settings
        self.port = port
        self.server = server

    @property
    def hub(self) -> Hub:
        """What its bridges share."""
        return Hub.current(self.settings)

    @property
    def udp_port(self) -> int:
        """The shared UDP port."""
        return self.hub.udp_addresses[0][1]

    def url(self, path: str = "/v0/ws/proxy", **query: Any) -> str:
        """A WebSocket address on this server."""
        return f"ws://{HOST}:{self.port}{path}" + (f"?{urlencode(query)}" if query else "")

    def to(self, other: App | int, **query: Any) -> str:
        """The address of a bridge from here to the other app's shared UDP port."""
        port = other if isinstance(other, int) else other.udp_port
        given: dict[str, Any] = {"remote_host": HOST, "remote_port": port, "encryption_key": KEY} | query
        return self.url(**{name: value for name, value in given.items() if value is not None})

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """An HTTP answer of this server."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://{HOST}:{self.port}{path}", headers=headers)

    async def connections(self) -> list[dict[str, Any]]:
        """What ``/v0/ws/connections`` shows."""
        shown: list[dict[str, Any]] = (await self.get("/v0/ws/connections")).json()
        return shown


@asynccontextmanager
async def serving(app: Any = None, **given: Any) -> AsyncIterator[App]:
    """Serves our whole app, or the ASGI app given, until the block ends."""
    port = given.pop("port", 0)
    settings = given.pop("settings", None) or make_settings(**given)
    sockets = create_sockets(HOST, port, settings)
    server = create_server(settings, log_config=None)
    if app is not None:
        server.config.app = app
    server.__class__ = _QuietServer
    running = asyncio.create_task(server.serve(sockets))
    try:
        while not server.started:
            if running.done():
                running.result()
                raise RuntimeError("the server did not start")
            await asyncio.sleep(0.005)
        yield App(settings, sockets[0].getsockname()[1], server)
    finally:
        server.should_exit = True
        await running
        for sock in sockets:
            sock.close()


@asynccontextmanager
async def two_apps(**given: Any) -> AsyncIterator[tuple[App, App]]:
    """Two servers with a UDP port each."""
    async with serving(**given) as a, serving(**given) as b:
        try:
            yield a, b
        finally:
            a.server.should_exit = b.server.should_exit = True  # both at once: it takes a moment


class Browser:
    """A WebSocket client that keeps every frame it saw; `frames` are those that came so far."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.frames: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        """The next frame; a bare binary one as ``{"type": "binary", "data": …}``."""
        async with asyncio.timeout(PATIENCE):
            raw = await self.websocket.recv()
        frame = {"type": "binary", "data": raw} if isinstance(raw, bytes) else json.loads(raw)
        self.frames.append(frame)
        return frame

    async def until(self, kind: str, **members: Any) -> dict[str, Any]:
        """Reads on to the first frame with this type and these members."""
        while True:
            frame = await self.receive()
            if frame["type"] == kind and all(frame.get(name) == value for name, value in members.items()):
                return frame

    async def status(self, status: str, **members: Any) -> dict[str, Any]:
        """Reads on to this status."""
        return await self.until("status", status=status, **members)

    async def data(self) -> str | bytes:
        """Reads on to the next message, decoded."""
        while True:
            frame = await self.receive()
            if frame["type"] == "binary":
                content: bytes = frame["data"]
                return content
            if frame["type"] == "data":
                return decode(frame)

    async def send(self, frame: dict[str, Any] | str | bytes) -> None:
        """Sends an object as JSON, anything else as it is."""
        await self.websocket.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def send_text(self, text: str, **members: Any) -> None:
        """Sends a text message."""
        await self.send({"type": "data", "format": "text", "data": text} | members)

    async def send_binary(self, data: bytes, **members: Any) -> None:
        """Sends a binary message in the simple mode's form."""
        await self.send(
            {"type": "data", "format": "binary", "data": base64.b64encode(data).decode()} | members
        )

    async def command(self, command: str) -> None:
        """Sends a command."""
        await self.send({"type": "command", "command": command})

    async def closed(self) -> tuple[int, str]:
        """Reads on to the end; the close code and reason."""
        with suppress(ConnectionClosed):
            while True:
                await self.receive()
        async with asyncio.timeout(PATIENCE):
            await self.websocket.wait_closed()
        return self.websocket.close_code or 0, self.websocket.close_reason or ""

    def die(self) -> None:
        """Breaks the TCP connection (RST) without a word."""
        sock = self.websocket.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.websocket.transport.abort()


def decode(frame: dict[str, Any]) -> str | bytes:
    """The message in a data frame."""
    text: str = frame["data"]
    return text if frame["format"] == "text" else base64.b64decode(text, validate=True)


@asynccontextmanager
async def browsing(url: str, *, v1: bool = False, **options: Any) -> AsyncIterator[Browser]:
    """A client of a bridge, for as long as the block takes."""
    if v1:
        options["subprotocols"] = [Subprotocol("autoprox.v1")]
    options = {"compression": None, "max_size": None, "proxy": None, "close_timeout": 1} | options
    websocket = await connect(url, **options)
    try:
        yield Browser(websocket)
    finally:
        try:
            async with asyncio.timeout(2):
                await websocket.close()
        except TimeoutError:  # a write that nobody takes holds it up
            websocket.transport.abort()


class Pair:
    """Two apps and a client at each, which see UDP_ESTABLISHED; leaves by `async with`."""

    def __init__(self, *, v1: bool = False, query: dict[str, Any] | None = None, **given: Any) -> None:
        self._stack = AsyncExitStack()
        self._v1 = v1
        self._query = query or {}
        self._given = given

    async def __aenter__(self) -> Self:
        enter = self._stack.enter_async_context
        try:
            self.app_a, self.app_b = await enter(two_apps(**self._given))
            self.a = await enter(browsing(self.app_a.to(self.app_b, **self._query), v1=self._v1))
            self.b = await enter(browsing(self.app_b.to(self.app_a, **self._query), v1=self._v1))
            await establish(self.a, self.b)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def establish(*browsers: Browser) -> None:
    """Waits until all see their peers."""
    await asyncio.gather(*(browser.status("UDP_ESTABLISHED") for browser in browsers))


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits for something that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# ---- In processes of their own ---------------------------------------------------------------------------------------------


class Process:
    """A server in a process of its own. `log` is what it wrote so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""
        self._reader = asyncio.create_task(self._read())
        self._grown = asyncio.Condition()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while part := await self.process.stdout.read(65536):
            async with self._grown:
                self.log += part.decode()
                self._grown.notify_all()
        async with self._grown:
            self._grown.notify_all()

    async def until(self, pattern: str) -> re.Match[str]:
        """Waits for a line of the log."""
        async with asyncio.timeout(20), self._grown:
            await self._grown.wait_for(lambda: re.search(pattern, self.log) or self._reader.done())
        match = re.search(pattern, self.log)
        assert match, self.log
        return match

    async def ended(self) -> int:
        """Waits for its end; the exit code."""
        async with asyncio.timeout(20):
            code = await self.process.wait()
            await self._reader
        return code


@asynccontextmanager
async def process(*command: str, **environment: str) -> AsyncIterator[Process]:
    """Runs a Python module as a server, until the block ends."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPROX_")}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, env=clean | environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    server = Process(running)
    try:
        yield server
    finally:
        if running.returncode is None:
            running.kill()
        await server.ended()


@asynccontextmanager
async def autoprox_serve(*options: str, **environment: str) -> AsyncIterator[tuple[Process, App]]:
    """``autoprox serve`` in a process of its own, and what a client needs of it."""
    async with process(
        "autoprox", "serve", "--port", "0", "--udp-host", HOST, *options, **environment
    ) as server:
        port = int((await server.until(r"ws://\S+:(\d+)/v0/ws/proxy"))[1])
        udp_port = int((await server.until(r"UDP port\s+(\d+)"))[1])
        yield server, Elsewhere(port, udp_port)


class Elsewhere(App):
    """An app in another process."""

    def __init__(self, port: int, udp_port: int) -> None:
        self.port = port
        self._udp_port = udp_port

    @property
    def udp_port(self) -> int:
        return self._udp_port
