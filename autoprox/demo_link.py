"""A bad network in a box: a UDP relay that loses, delays, doubles and reorders packets, or carries nothing.

```
   A ◄────► left port │ LossyLink │ right port ◄────► B
```

A takes the left port for its peer, B the right one; neither knows the other. Everything is drawn from one seed, so the
same packets in the same order meet the same fate.
"""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

Address = tuple[str, int]
SOCKET_BUFFER: Final = 4 << 20
"""Bytes asked for each kernel buffer, so that no packets are lost but those that are meant to be."""
LARGEST: Final = 1472
"""Bytes of UDP payload that pass, as on an Ethernet. Loopback itself carries far larger ones."""


@dataclass(frozen=True)
class Weather:
    """How bad the link is. Shares are from 0 to 1, times seconds."""

    loss: float = 0.05
    delay: float = 0.005
    duplication: float = 0.01
    reordering: float = 0.02
    lateness: float = 0.01
    """How much longer a reordered packet takes."""


@dataclass
class Counts:
    """What happened so far, in packets."""

    carried: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    blocked: int = 0
    """While the link was down, or too large for it."""


class _Side(asyncio.DatagramProtocol):
    def __init__(self, link: LossyLink, opposite: int) -> None:
        self._link = link
        self._opposite = opposite

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._link.take(data, self._opposite)

    def error_received(self, exc: Exception) -> None:
        pass  # a port that is closed for a moment: the packet is lost, as everywhere


class LossyLink:
    """The relay; owns its two sockets, belongs to the loop it was opened on.

    Set `down` to let nothing pass, `weather` to change how bad it is.
    """

    def __init__(self, weather: Weather | None = None, seed: int = 1) -> None:
        self.weather = weather or Weather()
        self.down = False
        self.counts = Counts()
        self._random = random.Random(seed)  # noqa: S311  # fate, not a secret
        self._transports: list[asyncio.DatagramTransport] = []
        self._targets: list[Address] = []

    async def open(self, a: Address, b: Address, host: str = "127.0.0.1") -> tuple[Address, Address]:
        """Starts to relay between A and B; returns the ports A and B are to take for their peers. Raises OSError."""
        self._targets = [a, b]
        loop = asyncio.get_running_loop()
        for opposite in (1, 0):
            transport, _ = await loop.create_datagram_endpoint(
                partial(_Side, self, opposite), sock=_bind(host)
            )
            self._transports.append(transport)
        left, right = (transport.get_extra_info("sockname")[:2] for transport in self._transports)
        return left, right

    def close(self) -> None:
        """Carries nothing any more."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def take(self, data: bytes, side: int) -> None:
        """A packet for the peer on `side` (0: A, 1: B): decides what becomes of it."""
        weather, fate = self.weather, self._random
        if self.down or len(data) > LARGEST:
            self.counts.blocked += 1
            return
        if fate.random() < weather.loss:
            self.counts.lost += 1
            return
        delay = weather.delay
        if fate.random() < weather.reordering:
            self.counts.reordered += 1
            delay += weather.lateness
        self._deliver_later(data, side, delay)
        if fate.random() < weather.duplication:
            self.counts.duplicated += 1
            self._deliver_later(data, side, delay + weather.delay)

    def _deliver_later(self, data: bytes, side: int, delay: float) -> None:
        asyncio.get_running_loop().call_later(delay, self._deliver, data, side)

    def _deliver(self, data: bytes, side: int) -> None:
        if not self._transports or self.down:
            return
        self.counts.carried += 1
        self._transports[side].sendto(data, self._targets[side])


def _bind(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        sock.bind((host, 0))
    except BaseException:
        sock.close()
        raise
    return sock
