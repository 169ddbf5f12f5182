"""Two bridges over a bad link, and over one that is gone for a while.

```
  a ══ws══ app_a ──udp── LossyLink: 10 ms round trip, 5 % lost, 2 % doubled, 2 % late ──udp── app_b ══ws══ b
```
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from autoprox.demo_link import LossyLink, Weather
from tests.python.bridge_support import HOST, App, Browser, browsing, establish, two_apps

BAD = Weather(loss=0.05, delay=0.005, duplication=0.02, reordering=0.02)
SMALL, LARGE = 10_000, 64
OUTAGE = 12.0
"""Seconds; more than it takes to be told."""


@asynccontextmanager
async def linked(weather: Weather, **given: Any) -> AsyncIterator[tuple[App, App, LossyLink, int, int]]:
    """Two apps, the link between them, and the ports A and B take for their peers."""
    async with two_apps(**given) as (app_a, app_b):
        link = LossyLink(weather, seed=2)
        (_, left), (_, right) = await link.open((HOST, app_a.udp_port), (HOST, app_b.udp_port))
        try:
            yield app_a, app_b, link, left, right
        finally:
            link.close()


def make_messages(seed: int) -> list[bytes]:
    """Ten thousand of 100 B with sixty-four of 1 MiB among them."""
    fate = random.Random(seed)
    messages = [fate.randbytes(100) for _ in range(SMALL)]
    for place in sorted(fate.sample(range(SMALL), LARGE), reverse=True):
        messages.insert(place, fate.randbytes(1 << 20))
    return messages


async def transfer(sender: Browser, receiver: Browser, seed: int) -> None:
    """Sends all messages; they come once, in order and unchanged."""
    messages = make_messages(seed)
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def send() -> None:
        for message in messages:
            sent.update(hashlib.sha256(message).digest())
            await sender.send(message)

    sending = asyncio.create_task(send())
    try:
        for _ in messages:
            frame = await receiver.websocket.recv()
            while isinstance(frame, str):  # acknowledgements and the like
                frame = await receiver.websocket.recv()
            got.update(hashlib.sha256(frame).digest())
        await sending
    finally:
        sending.cancel()
    assert got.digest() == sent.digest()


@pytest.mark.timeout(150)
async def test_everything_arrives_once_and_in_order_both_ways_over_a_bad_link() -> None:
    async with linked(BAD) as (app_a, app_b, link, left, right):
        async with browsing(app_a.to(left), v1=True) as a, browsing(app_b.to(right), v1=True) as b:
            await establish(a, b)
            async with asyncio.timeout(120):
                await asyncio.gather(transfer(a, b, 1), transfer(b, a, 2))
        assert link.counts.lost > 1000


async def test_what_is_accepted_during_an_outage_arrives() -> None:
    """An outage is told as RECONNECTING; every message accepted in it arrives after it, in order."""
    clear = Weather(loss=0, delay=0.001, duplication=0, reordering=0)
    async with (
        linked(clear) as (app_a, app_b, link, left, right),
        browsing(app_a.to(left)) as a,
        browsing(app_b.to(right)) as b,
    ):
        await establish(a, b)
        link.down = True
        for number in range(60):
            await asyncio.sleep(OUTAGE / 60)
            await a.send_text(str(number), id=number)
            await b.send_text(str(number), id=number)
        await asyncio.gather(a.status("RECONNECTING"), b.status("RECONNECTING"))
        link.down = False
        await asyncio.gather(*(_find_everything(browser) for browser in (a, b)))


async def _find_everything(browser: Browser) -> None:
    while len([frame for frame in browser.frames if frame["type"] in ("data", "ack")]) < 120:
        await browser.receive()
    assert [frame["data"] for frame in browser.frames if frame["type"] == "data"] == [
        str(number) for number in range(60)
    ]
    assert [frame["id"] for frame in browser.frames if frame["type"] == "ack"] == list(range(60))
    assert [frame["status"] for frame in browser.frames if frame["type"] == "status"][-1] == "UDP_ESTABLISHED"
    assert not [frame for frame in browser.frames if frame["type"] == "notice"]


async def test_an_outage_beyond_the_limit_ends_the_bridge_and_tells_what_was_lost() -> None:
    clear = Weather(loss=0, delay=0.001, duplication=0, reordering=0)
    quick = {"liveness": 1.0, "liveness_in_flight": 0.5, "keepalive_interval": 0.5, "outage_limit": 1.0}
    async with linked(clear, **quick) as (app_a, app_b, link, left, right), AsyncExitStack() as stack:
        a = await stack.enter_async_context(browsing(app_a.to(left)))
        async with browsing(app_b.to(right)) as b:
            await establish(a, b)
            link.down = True
            await a.send_text("lost", id=1)
            await a.status("RECONNECTING")
            assert (await a.status("ERROR"))["reason"] == "connection_lost"
            assert (await a.closed())[0] == 4503
            kinds = [frame["type"] for frame in a.frames if frame["type"] in ("notice", "error")]
            assert kinds == ["notice", "error"]
            notice = next(frame for frame in a.frames if frame["type"] == "notice")
            assert (notice["code"], notice["count"], notice["ids"]) == ("undelivered", 1, [1])
            assert await app_a.connections() == []
