"""The roles and scenarios of the benchmark for peers in Python, whatever carries their messages.

bench/README.md has the scenarios and what is printed.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

BULK_SIZE = 65536
WARM_UP = 500
MANY_SECONDS = 5.0

now = time.time_ns


class Wire(Protocol):
    """One connection that carries whole messages."""

    async def send(self, message: bytes) -> None:
        """Sends; waits while too much waits already."""

    async def receive(self) -> bytes:
        """The next message. Raises EOFError at the end."""

    async def close(self) -> None:
        """Ends the connection."""

    async def closed(self) -> None:
        """Waits until the peer has ended it."""


Handler = Callable[[Wire], Awaitable[None]]


class Transport(Protocol):
    """What a peer brings: how to serve, and how to dial."""

    def serve(self, handler: Handler) -> AbstractAsyncContextManager[object]:
        """Calls the handler for each connection while the block lasts."""

    async def dial(self) -> Wire:
        """One more connection."""


# ---- Figures


def cpu() -> float:
    """What this process used so far, in seconds, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def say(**line: object) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)


def at(times: list[int], share: float) -> float:
    """The time in ns that ``share`` of the sorted times don't exceed."""
    return times[min(len(times) - 1, int(share * len(times)))]


def percentiles(times: list[int]) -> dict[str, float]:
    """Times in ns as figures in microseconds."""
    times.sort()
    if not times:
        return {"n": 0}
    shares = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}
    return {"n": len(times), **{name: at(times, share) / 1e3 for name, share in shares.items()}}


# ---- Server


@dataclass
class Counted:
    """What came on all connections together."""

    expected: int
    sizes: list[int] = field(default_factory=list)
    messages: int = 0
    first: int = 0
    last: int = 0
    cpu: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def count(self, wire: Wire) -> None:
        """Counts until END; the last END of all makes it ``over``."""
        size = 0
        while (message := await wire.receive()) != b"END":
            if message == b"hi":
                continue
            self.last = now()
            if not self.messages:
                self.first, self.cpu = self.last, cpu()
            self.messages += 1
            size += len(message)
        self.sizes.append(size)
        await wire.close()
        if len(self.sizes) == self.expected:
            self.over.set()

    def say(self) -> None:
        """The server's line."""
        total = sum(self.sizes)
        say(
            role="server",
            bytes=total,
            msgs=self.messages,
            secs=(self.last - self.first) / 1e9,
            cpu=cpu() - self.cpu,
            least_share=min(self.sizes) * self.expected / total if total else 0,
        )


def age(message: bytes) -> int:
    """How long ago the message was sent, in ns."""
    return now() - int.from_bytes(message[:8], "big")


async def answer_age(wire: Wire) -> None:
    await wire.send(age(await wire.receive()).to_bytes(8, "big"))
    await wire.closed()


async def echo(wire: Wire) -> None:
    while True:
        await wire.send(await wire.receive())


async def serve_counting(transport: Transport, connections: int) -> None:
    counted = Counted(connections)
    async with transport.serve(counted.count):
        print("READY", flush=True)
        await counted.over.wait()
        counted.say()
        await asyncio.sleep(0.1)  # the closes go out


async def serve_times(transport: Transport) -> None:
    times: list[int] = []
    over = asyncio.Event()

    async def take(wire: Wire) -> None:
        while (message := await wire.receive()) != b"END":
            times.append(age(message))
        await wire.close()
        over.set()

    async with transport.serve(take):
        print("READY", flush=True)
        await over.wait()
        say(role="server", **percentiles(times))
        await asyncio.sleep(0.1)


async def serve(transport: Transport, scenario: str, n: float) -> None:
    """The server's half of a scenario."""
    if scenario in ("bulk", "rate", "many"):
        await serve_counting(transport, int(n) if scenario == "many" else 1)
    elif scenario == "lat":
        await serve_times(transport)
    else:
        async with transport.serve(answer_age if scenario == "connect" else echo):
            print("READY", flush=True)
            await asyncio.Event().wait()  # until the process is ended


# ---- Client


async def stream(wire: Wire, size: int, seconds: float) -> int:
    """Sends for so long, then END, and waits until all is taken; how many it sent."""
    message, sent = bytes(size), 0
    glance = 16 if size < BULK_SIZE else 1  # messages between two looks at the clock
    end = time.monotonic() + seconds
    while sent % glance or time.monotonic() < end:
        await wire.send(message)
        sent += 1
    await wire.send(b"END")
    async with asyncio.timeout(60):
        await wire.closed()
    return sent


async def stream_alone(transport: Transport, size: int, seconds: float) -> None:
    wire, used = await transport.dial(), cpu()
    sent = await stream(wire, size, seconds)
    say(role="client", sent=sent, cpu=cpu() - used)


async def many(transport: Transport, connections: int) -> None:
    wires = [await transport.dial() for _ in range(connections)]
    for wire in wires:
        await wire.send(b"hi")  # a QUIC server sees a stream when something comes on it
    used = cpu()
    sent = await asyncio.gather(*(stream(wire, BULK_SIZE, MANY_SECONDS) for wire in wires))
    say(role="client", sent=sum(sent), cpu=cpu() - used)


async def ping_pong(transport: Transport, rounds: int) -> None:
    wire = await transport.dial()
    message, times, used = bytes(1024), [], cpu()
    for index in range(rounds + WARM_UP):
        start = now()
        await wire.send(message)
        await wire.receive()
        if index >= WARM_UP:
            times.append(now() - start)
    say(role="client", **percentiles(times), cpu=cpu() - used)


async def paced(transport: Transport, seconds: float) -> None:
    wire = await transport.dial()
    start, total = time.monotonic(), int(seconds * 200)
    for index in range(total):
        await asyncio.sleep(start + index * 0.005 - time.monotonic())
        await wire.send(now().to_bytes(8, "big") + bytes(192))
    await wire.send(b"END")
    async with asyncio.timeout(60):
        await wire.closed()
    say(role="client", sent=total)


async def connect_anew(transport: Transport, tries: int) -> None:
    ages, answers = [], []
    for _ in range(tries):
        start = now()
        wire = await transport.dial()
        await wire.send(start.to_bytes(8, "big"))
        ages.append(int.from_bytes(await wire.receive(), "big"))
        answers.append(now() - start)
        await wire.close()
        await asyncio.sleep(0.1)
    ages.sort()
    answers.sort()
    say(
        role="client",
        srv_ms=at(ages, 0.5) / 1e6,
        reply_ms=at(answers, 0.5) / 1e6,
        reply_max_ms=at(answers, 1) / 1e6,
    )


async def idle(transport: Transport, connections: int) -> None:
    print("BASE", flush=True)
    await asyncio.sleep(0.5)
    wires = []
    for _ in range(connections):
        wires.append(await transport.dial())
        await wires[-1].send(b"hi")
        await wires[-1].receive()
    print("IDLE", flush=True)
    await asyncio.sleep(15)
    say(role="client", n=len(wires))


async def act(transport: Transport, scenario: str, n: float) -> None:
    """The client's half of a scenario."""
    if scenario in ("bulk", "rate"):
        await stream_alone(transport, BULK_SIZE if scenario == "bulk" else 100, n)
    elif scenario == "pingpong":
        await ping_pong(transport, int(n))
    elif scenario == "lat":
        await paced(transport, n)
    elif scenario == "connect":
        await connect_anew(transport, int(n))
    elif scenario == "many":
        await many(transport, int(n))
    elif scenario == "idle":
        await idle(transport, int(n))
    else:
        raise SystemExit(f"unknown scenario {scenario}")
