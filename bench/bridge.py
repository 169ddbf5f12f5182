"""How fast two bridges carry messages from WebSocket to WebSocket, beside the same path with a plain WebSocket hop.

    .venv/bin/python bench/bridge.py [--runs 3] [--json] [--simple]

```
  this process ══ws══ autoprox serve ──udp── autoprox serve ══ws══ this process        ours: autoprox.v1, --simple: also JSON
  this process ══ws══ plain_hop.py   ══ws══ plain_hop.py    ══ws══ this process        plain
```

Each path has three processes: the two in the middle, and this one, whose two clients take part of the time too. The paths
take turns within a run, and directions from run to run, so that what else the machine does meets both; figures are medians
over the runs. The processor time is that of the two in the middle.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

HOST = "127.0.0.1"
STREAMS = ((1 << 20, 256), (64 << 10, 4096), (100, 40_000))
"""Bytes of a message, and how many are sent."""
ECHO_SIZE = 1024
ROUNDS = 2000
WARM_UP = 200
SIMPLE, V1, PLAIN = "simple", "autoprox.v1", "plain"


@dataclass
class Middle:
    """One running process in the middle of a path."""

    pid: int
    websocket: str
    udp_port: int = 0

    def processor_seconds(self) -> float:
        """What it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Figure:
    """One measurement: messages (or round trips) a second, bytes of a message, processor seconds for each of them."""

    rate: float
    size: int
    processor: float


# ---- The processes ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(command: tuple[str, ...], last_line: str) -> AsyncIterator[tuple[int, str]]:
    """A process of ours; its id, and what it printed up to a line that holds `last_line`."""
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    screen = ""
    while last_line not in screen:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(command)} did not start")
        screen += line.decode()
    try:
        yield process.pid, screen
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def running_bridge() -> AsyncIterator[Middle]:
    """``autoprox serve`` on free ports."""
    command = ("-m", "autoprox", "serve", "--port", "0", "--udp-host", HOST, "--log-level", "warning")
    async with running(command, "Stop with") as (pid, screen):
        websocket, udp_port = re.search(r"ws://\S+", screen), re.search(r"UDP port\s+(\d+)", screen)
        assert websocket
        assert udp_port
        yield Middle(pid, websocket[0], int(udp_port[1]))


@asynccontextmanager
async def running_plain() -> AsyncIterator[Middle]:
    """One end of the plain hop."""
    async with running((str(Path(__file__).with_name("plain_hop.py")),), "ws://") as (pid, screen):
        yield Middle(pid, screen.strip())


@asynccontextmanager
async def client(url: str, subprotocol: str | None = None) -> AsyncIterator[ClientConnection]:
    """A WebSocket without compression or a limit."""
    subprotocols = [Subprotocol(subprotocol)] if subprotocol else None
    async with connect(
        url, subprotocols=subprotocols, compression=None, max_size=None, proxy=None
    ) as websocket:
        yield websocket


@asynccontextmanager
async def clients(path: str, near: Middle, far: Middle) -> AsyncIterator[tuple[ClientConnection, ...]]:
    """Two clients, joined by a path."""
    if path == PLAIN:
        async with (
            client(f"{far.websocket}/wait") as right,
            client(f"{near.websocket}/enter?{urlencode({'to': far.websocket + '/through'})}") as left,
        ):
            yield left, right
        return

    def url(here: Middle, there: Middle) -> str:
        query = {"remote_host": HOST, "remote_port": there.udp_port, "encryption_key": "bench"}
        return f"{here.websocket}?{urlencode(query)}"

    subprotocol = V1 if path == V1 else None
    async with client(url(near, far), subprotocol) as left, client(url(far, near), subprotocol) as right:
        await asyncio.gather(established(left), established(right))
        yield left, right


async def established(websocket: ClientConnection) -> None:
    """Reads on until the peer is there."""
    while json.loads(await websocket.recv()).get("status") != "UDP_ESTABLISHED":
        pass


# ---- What is measured ------------------------------------------------------------------------------------------------


def is_data(frame: str | bytes) -> bool:
    """Whether it is no acknowledgement."""
    return isinstance(frame, bytes) or frame.startswith('{"type":"data"')


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
        left -= is_data(await receiver.recv())
    await sending
    return time.perf_counter() - began


async def next_data(websocket: ClientConnection) -> str | bytes:
    while not is_data(frame := await websocket.recv()):
        pass
    return frame


async def round_trip(asker: ClientConnection, answerer: ClientConnection, frame: str | bytes) -> float:
    """The median round trip, in seconds; one message is under way at a time."""

    async def echo() -> None:
        while True:
            await answerer.send(await next_data(answerer))

    times = []
    echoing = asyncio.create_task(echo())
    for index in range(ROUNDS + WARM_UP):
        began = time.perf_counter()
        await asker.send(frame)
        await next_data(asker)
        if index >= WARM_UP:
            times.append(time.perf_counter() - began)
    echoing.cancel()
    await asyncio.wait((echoing,))
    return statistics.median(times)


def frame_of(path: str, size: int) -> str | bytes:
    """A client's frame that carries a message of `size` bytes."""
    data = os.urandom(size)
    if path != SIMPLE:
        return data
    return json.dumps({"type": "data", "format": "binary", "data": base64.b64encode(data).decode()})


async def measure(path: str, middle: tuple[Middle, Middle], turned: bool) -> dict[str, Figure]:
    """All figures of one path, once."""

    def used() -> float:
        return sum(process.processor_seconds() for process in middle)

    figures = {}
    async with clients(path, *middle) as ends:
        sender, receiver = reversed(ends) if turned else ends
        for size, count in STREAMS:
            before = used()
            seconds = await carry(sender, receiver, frame_of(path, size), count)
            figures[f"{size} B"] = Figure(count / seconds, size, (used() - before) / count)
        before = used()
        seconds = await round_trip(sender, receiver, frame_of(path, ECHO_SIZE))
        figures["round trip"] = Figure(1 / seconds, ECHO_SIZE, (used() - before) / (ROUNDS + WARM_UP))
    return figures


async def measure_all(paths: tuple[str, ...], runs: int) -> dict[str, dict[str, Figure]]:
    """Medians by path and work."""
    found: dict[str, dict[str, list[Figure]]] = {path: defaultdict(list) for path in paths}
    async with running_bridge() as a, running_bridge() as b, running_plain() as c, running_plain() as d:
        for run in range(runs):
            for path in paths:
                middle = (c, d) if path == PLAIN else (a, b)
                for work, figure in (await measure(path, middle, turned=run % 2 == 1)).items():
                    found[path][work].append(figure)
    return {path: {work: median(figures) for work, figures in works.items()} for path, works in found.items()}


def median(figures: list[Figure]) -> Figure:
    return Figure(
        statistics.median(figure.rate for figure in figures),
        figures[0].size,
        statistics.median(figure.processor for figure in figures),
    )


# ---- Telling ---------------------------------------------------------------------------------------------------------


def text(work: str, figure: Figure) -> str:
    if work == "round trip":
        return f"{1e6 / figure.rate:7.0f} µs, {figure.processor * 1e6:6.0f} µs of processor a round trip"
    speed = f"{figure.rate * figure.size / 1e6:7.1f} MB/s {figure.rate:8.0f} messages/s"
    per_gb = figure.processor / figure.size * 1e9
    return f"{speed}, {per_gb:6.2f} processor seconds a GB, {figure.processor * 1e6:7.1f} µs a message"


def tell(results: dict[str, dict[str, Figure]]) -> None:
    """A line for each work and path, with how it compares with the plain hop."""
    for work, plain in results[PLAIN].items():
        for path, figures in results.items():
            figure = figures[work]
            ratio = plain.rate / figure.rate if work == "round trip" else figure.rate / plain.rate
            compared = "" if path == PLAIN else f"; {ratio:.2f} x plain"
            print(f"{work:>10}  {path:11} {text(work, figure)}{compared}", flush=True)


def as_json(results: dict[str, dict[str, Figure]]) -> str:
    lines = {
        path: {
            work: {"per_second": figure.rate, "bytes": figure.size, "processor_seconds": figure.processor}
            for work, figure in figures.items()
        }
        for path, figures in results.items()
    }
    return json.dumps(lines)


def main() -> None:
    """Measures the paths asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="of which the medians are given (3)")
    parser.add_argument("--simple", action="store_true", help="the JSON form too")
    parser.add_argument("--json", action="store_true", help="one line of JSON in place of the table")
    arguments = parser.parse_args()
    paths = (V1, PLAIN, SIMPLE) if arguments.simple else (V1, PLAIN)
    results = asyncio.run(measure_all(paths, arguments.runs))
    if arguments.json:
        print(as_json(results))
    else:
        tell(results)


if __name__ == "__main__":
    main()
