"""The path two bridges make, with a plain WebSocket in place of SRMUDP: what `bench/bridge.py` compares with.

```
  client ══ws══ /enter  near ══ws══ /through  far  /wait ══ws══ client
```

Written as anybody would write such a proxy: FastAPI under uvicorn, a `websockets` client for the way on, one task for each
direction. Sockets and server settings are those of ``autoprox serve``. No encryption, no acknowledgements, and no memory of
anything: the hop is what a bridge may cost at least, not something to use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine

import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import connect

from autoprox.config import Settings
from autoprox.server import create_sockets, server_options

HOST = "127.0.0.1"
Frame = str | bytes

app = FastAPI()
waiting: asyncio.Queue[tuple[WebSocket, asyncio.Event]] = asyncio.Queue()
"""Clients at the far end, and what tells them that their hop is over."""


async def frames(websocket: WebSocket) -> AsyncIterator[Frame]:
    """What comes from one of our server's WebSockets, until it ends."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        yield message["text"] if message.get("bytes") is None else message["bytes"]


async def answer(websocket: WebSocket, frame: Frame) -> None:
    """Sends on one of our server's WebSockets."""
    if isinstance(frame, str):
        await websocket.send_text(frame)
    else:
        await websocket.send_bytes(frame)


async def pump(source: AsyncIterable[Frame], send: Callable[[Frame], Awaitable[None]]) -> None:
    """Carries one direction until either side ends."""
    async for frame in source:
        await send(frame)


async def first_of(*directions: Coroutine[object, object, None]) -> None:
    """Runs both until one ends."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@app.websocket("/enter")
async def enter(websocket: WebSocket, to: str) -> None:
    """A client at the near end: goes on to the far one."""
    await websocket.accept()
    async with connect(to, compression=None, max_size=None, proxy=None) as onward:
        await first_of(
            pump(frames(websocket), onward.send), pump(onward, lambda frame: answer(websocket, frame))
        )


@app.websocket("/wait")
async def wait(websocket: WebSocket) -> None:
    """A client at the far end: waits for a hop, and until that is over."""
    await websocket.accept()
    over = asyncio.Event()
    await waiting.put((websocket, over))
    await over.wait()


@app.websocket("/through")
async def through(websocket: WebSocket) -> None:
    """The near end's WebSocket: joined with the client that waits."""
    await websocket.accept()
    client, over = await waiting.get()
    try:
        await first_of(
            pump(frames(websocket), lambda frame: answer(client, frame)),
            pump(frames(client), lambda frame: answer(websocket, frame)),
        )
    except WebSocketDisconnect:
        pass
    finally:
        over.set()


def serve() -> None:
    """Serves until a signal ends it; prints its address when it listens."""
    settings = Settings()
    sockets = create_sockets(HOST, 0, settings)
    print(f"ws://{HOST}:{sockets[0].getsockname()[1]}", flush=True)
    options = server_options(settings) | {"log_level": "error"}
    uvicorn.Server(uvicorn.Config(app, **options)).run(sockets)


if __name__ == "__main__":
    serve()
