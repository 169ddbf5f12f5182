"""``autoprox demo``: two real bridges, two WebSocket clients, a bad link between them, four checked steps.

```
  client A ══ws══ bridge A ──udp──┐                ┌──udp── bridge B ══ws══ client B
                                  └── LossyLink ───┘
```

Each bridge is the whole app under uvicorn on a thread and an event loop of its own; the link is `autoprox.demo_link`.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from autoprox.config import Settings
from autoprox.demo_link import Address, LossyLink, Weather
from autoprox.examples.srmudp_websocket_example import SRMUDPWebSocketClient
from autoprox.server import create_server, create_sockets

HOST: Final = "127.0.0.1"
BINARY_BYTES: Final = 8 << 20
BINARY_PART: Final = 1 << 20
OUTAGE_SECONDS: Final = 4.0
OUTAGE_MESSAGES: Final = 20
TIME_LIMIT: Final = 38.0
START_TIMEOUT: Final = 10.0


class StepFailed(Exception):
    """A step did not end as it must; the text says how."""


class Bridge:
    """One app under uvicorn on its own thread; `udp` and `url` are known once it was started."""

    def __init__(self) -> None:
        self.settings = Settings(
            token=None,
            udp_host=HOST,
            udp_port=0,
            allowed_origins=(),
            allowed_hosts=(),
            max_bridges=4,
            close_timeout=2.0,
        )
        self.udp: Address = ("", 0)
        self.url = ""
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._sockets = create_sockets(HOST, 0, self.settings)
        self._server = create_server(self.settings, on_started=self._started, log_level="warning")
        self._thread = threading.Thread(target=self._serve, name="autoprox-demo", daemon=True)

    async def start(self) -> None:
        """Starts the server and waits until it serves. Raises StepFailed."""
        self._thread.start()
        async with asyncio.timeout(START_TIMEOUT):
            await self._ready.wait()
        if not self.udp[1]:
            raise StepFailed("a bridge did not start; its log above tells why")

    async def stop(self) -> None:
        """Ends the server and waits for its thread."""
        self._server.should_exit = True
        await asyncio.to_thread(self._thread.join, START_TIMEOUT)
        for sock in self._sockets:
            sock.close()

    def _serve(self) -> None:
        try:
            self._server.run(self._sockets)
        finally:
            self._loop.call_soon_threadsafe(self._ready.set)

    def _started(self, port: int, udp_addresses: list[Address]) -> None:
        self.url, self.udp = f"ws://{HOST}:{port}/v0/ws/proxy", udp_addresses[0]
        self._loop.call_soon_threadsafe(self._ready.set)


@dataclass
class Stage:
    """What the steps work with."""

    a: SRMUDPWebSocketClient
    b: SRMUDPWebSocketClient
    link: LossyLink
    show: Show

    def pairs(self) -> tuple[tuple[SRMUDPWebSocketClient, SRMUDPWebSocketClient], ...]:
        """Sender and receiver, both ways."""
        return (self.a, self.b), (self.b, self.a)


class Show:
    """What the user sees: a line a step, and between them, on a terminal, how far it is."""

    def __init__(self, decorated: bool) -> None:
        self._decorated = decorated
        self._moving = decorated and sys.stdout.isatty()

    def title(self, text: str) -> None:
        """A line only people want."""
        if self._decorated:
            print(text, flush=True)

    def progress(self, text: str) -> None:
        """Replaces the moving line."""
        if self._moving:
            print(f"\r\033[K  ... {text}", end="", flush=True)

    def result(self, passed: bool, text: str) -> None:
        """The line of a finished step."""
        clear = "\r\033[K" if self._moving else ""
        mark = ("  ✓" if passed else "  ✗") if self._decorated else ("ok  " if passed else "FAIL")
        print(f"{clear}{mark} {text}", flush=True)


def run(decorated: bool = True) -> bool:
    """Runs the demo; whether every step passed."""
    show = Show(decorated)
    try:
        return asyncio.run(_run(show))
    except KeyboardInterrupt:
        show.result(False, "interrupted")
        return False


async def _run(show: Show) -> bool:
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIME_LIMIT), _stage(show) as stage:
            for step in STEPS:
                await step(stage)
            counts = stage.link.counts
    except TimeoutError:
        show.result(False, f"not done within {TIME_LIMIT:g} s")
        return False
    except Exception as error:  # noqa: BLE001  # whatever it is, the demo failed and says so
        show.result(False, f"{type(error).__name__}: {error}")
        return False
    show.title(
        f"\n  All {len(STEPS)} steps passed in {time.monotonic() - began:.1f} s. The link carried {counts.carried} packets, lost "
        f"{counts.lost}, doubled {counts.duplicated}, reordered {counts.reordered}.\n"
    )
    return True


@asynccontextmanager
async def _stage(show: Show) -> AsyncIterator[Stage]:
    weather, key = Weather(), secrets.token_urlsafe(16)
    show.title(
        f"\n  client A ══ bridge A ──── a link that loses {weather.loss:.0%}, delays {weather.delay * 1000:.0f} ms, doubles and "
        "reorders ──── bridge B ══ client B\n"
    )
    async with AsyncExitStack() as stack:
        bridges = (Bridge(), Bridge())
        for bridge in bridges:
            await bridge.start()
            stack.push_async_callback(bridge.stop)
        link = LossyLink(weather)
        stack.callback(link.close)
        peers = await link.open(bridges[0].udp, bridges[1].udp)
        clients = [SRMUDPWebSocketClient(bridges[side].url, *peers[side], key) for side in (0, 1)]
        for client in clients:
            await stack.enter_async_context(client)
        yield Stage(clients[0], clients[1], link, show)


# ---- The steps -----------------------------------------------------------------------------------------------------------


async def _establish(stage: Stage) -> None:
    began = time.monotonic()
    await _both(client.wait_established(10) for client in (stage.a, stage.b))
    stage.show.result(
        True,
        f"1/4 both sides UDP_ESTABLISHED in {time.monotonic() - began:.2f} s: the same key, proven over UDP",
    )


async def _exchange_text(stage: Stage) -> None:
    text = "Grüße über UDP 👋"
    await _both(_send_and_check_text(sender, receiver, text) for sender, receiver in stage.pairs())
    stage.show.result(True, f"2/4 text both ways: “{text}”")


async def _send_and_check_text(
    sender: SRMUDPWebSocketClient, receiver: SRMUDPWebSocketClient, text: str
) -> None:
    await sender.send_text(text)
    got = await anext(receiver)
    if got != text:
        raise StepFailed(f"text arrived as {got!r}")


async def _exchange_binary(stage: Stage) -> None:
    began, received = time.monotonic(), [0, 0]
    total = BINARY_BYTES / 1e6

    def tell() -> None:
        stage.show.progress(f"binary: {received[0] / 1e6:.1f} and {received[1] / 1e6:.1f} of {total:.1f} MB")

    await _both(
        _send_and_check_binary(sender, receiver, received, way, tell)
        for way, (sender, receiver) in enumerate(stage.pairs())
    )
    took = time.monotonic() - began
    stage.show.result(True, f"3/4 binary: {total:.1f} MB both ways at once in {took:.1f} s, SHA-256 equal")


async def _send_and_check_binary(
    sender: SRMUDPWebSocketClient,
    receiver: SRMUDPWebSocketClient,
    received: list[int],
    way: int,
    tell: Callable[[], None],
) -> None:
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def send() -> None:
        for _ in range(BINARY_BYTES // BINARY_PART):
            part = secrets.token_bytes(BINARY_PART)
            sent.update(part)
            await sender.send_binary(part)

    async def receive() -> None:
        while received[way] < BINARY_BYTES:
            part = await anext(receiver)
            if isinstance(part, str):
                raise StepFailed("bytes arrived as text")
            got.update(part)
            received[way] += len(part)
            tell()

    await _both((send(), receive()))
    if sent.digest() != got.digest():
        raise StepFailed("the SHA-256 of what was sent and of what arrived differ")


async def _survive_outage(stage: Stage) -> None:
    told = [_wait_for_status(client, "RECONNECTING") for client in (stage.a, stage.b)]
    began = time.monotonic()
    stage.link.down = True
    sending = asyncio.gather(*(_send_numbers(sender) for sender, _ in stage.pairs()))
    while (left := began + OUTAGE_SECONDS - time.monotonic()) > 0:
        stage.show.progress(f"the link carries nothing for {left:.0f} s more")
        await asyncio.sleep(min(left, 0.5))
    await asyncio.gather(sending, *told)
    stage.link.down = False
    restored = time.monotonic()
    await _both(_check_numbers(receiver) for _, receiver in stage.pairs())
    stage.show.result(
        True,
        f"4/4 outage of {restored - began:.1f} s, told as RECONNECTING: {OUTAGE_MESSAGES} messages a side sent in it arrived once and "
        f"in order, {time.monotonic() - restored:.1f} s after it ended",
    )


def _wait_for_status(client: SRMUDPWebSocketClient, wanted: str) -> asyncio.Future[None]:
    """Done when the client is next told this status."""
    told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_status(status: str, _: dict[str, Any]) -> None:
        if status == wanted and not told.done():
            told.set_result(None)

    client.on_status = on_status
    return told


async def _send_numbers(sender: SRMUDPWebSocketClient) -> None:
    for number in range(OUTAGE_MESSAGES):
        await sender.send_text(f"outage {number}")
        await asyncio.sleep(OUTAGE_SECONDS / OUTAGE_MESSAGES / 2)


async def _check_numbers(receiver: SRMUDPWebSocketClient) -> None:
    for number in range(OUTAGE_MESSAGES):
        got = await anext(receiver)
        if got != f"outage {number}":
            raise StepFailed(f"after the outage {got!r} arrived in place of message {number}")


async def _both(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


STEPS: Final[tuple[Callable[[Stage], Awaitable[None]], ...]] = (
    _establish,
    _exchange_text,
    _exchange_binary,
    _survive_outage,
)
