"""What the tests of `autoprox.srmudp` share: connected pairs on loopback, and a link that misbehaves on request."""

from __future__ import annotations

import asyncio
import random
import select
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from autoprox import srmudp

KEY = "a key both sides share"
HOST = "127.0.0.1"


@asynccontextmanager
async def endpoint(**config: Any) -> AsyncIterator[srmudp.Endpoint]:
    """An endpoint on loopback that closes without patience."""
    async with await srmudp.Endpoint.bind(
        HOST, config=srmudp.Config(**{"close_timeout": 0.5, **config})
    ) as bound:
        yield bound


@asynccontextmanager
async def pair(
    **config: Any,
) -> AsyncIterator[tuple[srmudp.Connection, srmudp.Connection]]:
    """Two connections with each other: one that was opened, and the accepted one."""
    async with endpoint(**config) as near, endpoint(**config) as far, far.listen(key=KEY) as listener:
        opened = await near.connect(*far.local_address, key=KEY, timeout=10)
        accepted = await listener.accept()
        yield opened, accepted


async def until(condition: Callable[[], object], timeout: float = 10) -> None:
    """Waits for something that has no event of its own."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def take_events(connection: srmudp.Connection) -> None:
    """Blocks the loop until the engine has something to tell, and hears it, before any task runs."""
    endpoint = connection._endpoint
    assert select.select([endpoint._fd], [], [], 10)[0]
    endpoint._take_events()


LARGEST = 1472  # bytes of UDP payload that a link carries, as an Ethernet does


class Link(asyncio.DatagramProtocol):
    """A UDP relay on loopback towards one address. `loss` and `duplication` are shares; `cut` drops everything."""

    def __init__(self, target: tuple[str, int], seed: int = 1) -> None:
        self.target = target
        self.loss = 0.0
        self.duplication = 0.0
        self.cut = False
        self.dropped = 0
        self._random = random.Random(seed)
        self._source: tuple[str, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        towards: tuple[str, int] | None = self.target
        if addr[:2] == self.target:
            towards = self._source
        else:
            self._source = (addr[0], addr[1])
        if len(data) > LARGEST:
            return
        if towards is None or self.cut or self._random.random() < self.loss:
            self.dropped += 1
            return
        assert self._transport is not None
        for _ in range(1 + (self._random.random() < self.duplication)):
            self._transport.sendto(data, towards)

    @property
    def address(self) -> tuple[str, int]:
        """Where to send to."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return host, port


@asynccontextmanager
async def link(target: tuple[str, int]) -> AsyncIterator[Link]:
    """A `Link` that runs."""
    transport, relay = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Link(target), local_addr=(HOST, 0)
    )
    try:
        yield relay
    finally:
        transport.close()


@asynccontextmanager
async def linked_pair(
    **config: Any,
) -> AsyncIterator[tuple[srmudp.Connection, srmudp.Connection, Link]]:
    """The same as `pair`, with a link in between."""
    async with (
        endpoint(**config) as near,
        endpoint(**config) as far,
        far.listen(key=KEY) as listener,
        link(far.local_address) as relay,
    ):
        opened = await near.connect(*relay.address, key=KEY, timeout=10)
        yield opened, await listener.accept(), relay


def run_script(source: str, *arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Runs Python source in a process of its own, with every warning an error where it can be."""
    command = [sys.executable, "-X", "dev", "-c", textwrap.dedent(source), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def start_script(source: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts Python source in a process of its own; its output can be read line by line."""
    command = [sys.executable, "-c", textwrap.dedent(source), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, bufsize=1)
