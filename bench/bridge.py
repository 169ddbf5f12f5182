"""How fast two bridges carry messages from WebSocket to WebSocket, on this machine.

    .venv/bin/python bench/bridge.py

```
  this process ══ws══ autoprox serve ──udp── autoprox serve ══ws══ this process
```

Three processes: the two bridges as anybody runs them, and this one, whose two clients take part of the time too. Each
direction is measured alone, with the sizes and both forms of the protocol; the processor time is the bridges' own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

HOST = "127.0.0.1"
CASES = ((1 << 20, 256), (64 << 10, 2048), (100, 20_000))
"""Bytes of a message, and how many are sent."""


@dataclass
class Bridge:
    """One running bridge."""

    pid: int
    websocket: str
    udp_port: int

    def processor_seconds(self) -> float:
        """What it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running_bridge() -> AsyncIterator[Bridge]:
    """``autoprox serve`` on free ports."""
    command = ("autoprox", "serve", "--port", "0", "--udp-host", HOST, "--log-level", "warning")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    screen = ""
    while "Stop with" not in screen:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the bridge did not start")
        screen += line.decode()
    websocket = re.search(r"ws://\S+", screen)
    udp_port = re.search(r"UDP port\s+(\d+)", screen)
    assert websocket
    assert udp_port
    try:
        yield Bridge(process.pid, websocket[0], int(udp_port[1]))
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def client(bridge: Bridge, peer: Bridge, v1: bool) -> AsyncIterator[ClientConnection]:
    """A client of a bridge towards the other one."""
    query = urlencode({"remote_host": HOST, "remote_port": peer.udp_port, "encryption_key": "bench"})
    subprotocols = [Subprotocol("autoprox.v1")] if v1 else None
    url = f"{bridge.websocket}?{query}"
    async with connect(
        url, subprotocols=subprotocols, compression=None, max_size=None, proxy=None
    ) as websocket:
        yield websocket


async def established(websocket: ClientConnection) -> None:
    """Reads on until the peer is there."""
    while json.loads(await websocket.recv()).get("status") != "UDP_ESTABLISHED":
        pass


async def carry(
    sender: ClientConnection, receiver: ClientConnection, frame: str | bytes, count: int
) -> float:
    """Sends the frame so often; seconds until all have come."""

    async def send() -> None:
        for _ in range(count):
            await sender.send(frame)

    began = time.perf_counter()
    sending = asyncio.create_task(send())
    left = count
    while left:
        got = await receiver.recv()
        left -= isinstance(got, bytes) or got.startswith('{"type":"data"')  # not acks of the other direction
    await sending
    return time.perf_counter() - began


async def measure(a: Bridge, b: Bridge, v1: bool) -> None:
    """Prints a line for each size and direction."""
    async with client(a, b, v1) as left, client(b, a, v1) as right:
        await asyncio.gather(established(left), established(right))
        for size, count in CASES:
            data = os.urandom(size)
            simple = json.dumps({"type": "data", "format": "binary", "data": base64.b64encode(data).decode()})
            for way, pair in (("->", (left, right)), ("<-", (right, left))):
                before = a.processor_seconds() + b.processor_seconds()
                seconds = await carry(*pair, data if v1 else simple, count)
                used = a.processor_seconds() + b.processor_seconds() - before
                print(
                    f"{'autoprox.v1' if v1 else 'simple':11} A {way} B {size:>8} B: {size * count / seconds / 1e6:7.1f} MB/s "
                    f"{count / seconds:8.0f} messages/s, {used / seconds:4.0%} of a processor in both bridges",
                    flush=True,
                )


async def main() -> None:
    """Measures both forms."""
    async with running_bridge() as a, running_bridge() as b:
        for v1 in (True, False):
            await measure(a, b, v1)


if __name__ == "__main__":
    asyncio.run(main())
