"""Slow, stalled and dying clients: they slow their own peer, and nobody else.

```
  a ══ws══ app_a ──udp── app_b ══ws══ b (reads slowly, or not at all)
```
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from autoprox.routes.bridge import Bridge
from autoprox.utils.srmudp_manager import SRMUDPManager
from tests.python.bridge_support import HOST, App, Browser, browsing, establish, eventually, serving, two_apps

SMALL_BUFFERS = {"max_message_size": 64 << 10, "send_buffer": 1 << 20, "receive_buffer": 1 << 20}
PART = random.Random(5).randbytes(64 << 10)


async def send_until_stuck(browser: Browser, most: int) -> int:
    """Sends parts until one is not taken within a second; how many were. `most`: it has to stick before."""
    for count in range(most):
        try:
            async with asyncio.timeout(1):
                await browser.send(PART)
        except TimeoutError:
            return count
    raise AssertionError(f"{most} messages were taken for a client that reads none")


def resident_memory() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# ---- A slow reader ---------------------------------------------------------------------------------------------------------


async def test_a_reader_that_stops_slows_its_peer_and_memory_stays_bounded() -> None:
    async with (
        two_apps(**SMALL_BUFFERS) as (app_a, app_b),
        browsing(app_a.to(app_b), v1=True) as a,
        browsing(app_b.to(app_a), v1=True, max_queue=1) as b,
    ):
        await establish(a, b)
        before = resident_memory()
        taken = await send_until_stuck(a, 1000)  # 64 MB, in vain
        assert resident_memory() - before < 24 << 20  # two bridges' buffers, and the kernel's copies here
        for _ in range(taken):
            assert await b.data() == PART
        await a.send(b"flows again")
        while await b.data() != b"flows again":
            pass


async def test_others_are_not_held_up_by_a_reader_that_stops() -> None:
    async with (
        two_apps(**SMALL_BUFFERS) as (app_a, app_b),
        browsing(app_a.to(app_b, label="stuck"), v1=True) as a,
        browsing(app_b.to(app_a, label="stuck"), v1=True, max_queue=1) as b,
        browsing(app_a.to(app_b)) as c,
        browsing(app_b.to(app_a)) as d,
    ):
        await asyncio.gather(establish(a, b), establish(c, d))
        await send_until_stuck(a, 1000)
        for number in range(100):
            await c.send_text(str(number), id=number)
            assert await d.data() == str(number)
        assert (await app_a.get("/v0/health")).json() == {"status": "ok"}


async def test_a_stalled_client_is_dropped_and_its_bridge_lives_on() -> None:
    async with (
        two_apps(**SMALL_BUFFERS, stall_limit=1.0) as (app_a, app_b),
        browsing(app_a.to(app_b), v1=True) as a,
    ):
        url = app_b.to(app_a, client_id="b")
        async with browsing(url, v1=True, max_queue=1) as b:
            await establish(a, b)
            taken = await send_until_stuck(a, 1000)
            await eventually(lambda: all(bridge.client is None for bridge in app_b.hub._bridges))
        async with browsing(url, v1=True) as again:
            assert (await again.status("CONNECTED"))["resumed"]
            lost = (await again.until("notice", code="maybe_lost"))["count"]
            for _ in range(taken - lost):
                assert await again.data() == PART


async def test_a_client_that_confirms_nothing_is_told_that_it_stalled() -> None:
    async with (
        two_apps(stall_limit=0.5) as (app_a, app_b),
        browsing(app_a.to(app_b)) as a,
        browsing(app_b.to(app_a, client_id="b", receipts=1)) as b,
    ):
        await establish(a, b)
        await a.send_text("x")
        assert (await b.closed())[0] == 4410
        assert b.frames[-1]["code"] == "stalled"
        async with browsing(app_b.to(app_a, client_id="b", receipts=1)) as again:
            assert await again.data() == "x"


async def test_a_client_that_is_owed_nothing_never_stalls() -> None:
    async with (
        two_apps(stall_limit=0.3) as (app_a, app_b),
        browsing(app_a.to(app_b)) as a,
        browsing(app_b.to(app_a, receipts=1)) as b,
    ):
        await establish(a, b)
        for number in range(1, 5):
            await asyncio.sleep(0.2)
            await a.send_text("x")
            await b.data()
            await b.send({"type": "received", "seq": number})
        await asyncio.sleep(0.5)
        await a.send_text("alive")
        assert await b.data() == "alive"


async def test_a_slow_reader_that_makes_progress_stays() -> None:
    async with (
        two_apps(**SMALL_BUFFERS, stall_limit=1.0) as (app_a, app_b),
        browsing(app_a.to(app_b), v1=True) as a,
        browsing(app_b.to(app_a), v1=True, max_queue=1) as b,
    ):
        await establish(a, b)
        sending = asyncio.create_task(_send_parts(a, 120))
        for _ in range(30):
            await asyncio.sleep(0.1)
            assert await b.data() == PART
        for _ in range(90):
            assert await b.data() == PART
        await sending


async def _send_parts(browser: Browser, count: int) -> None:
    for _ in range(count):
        await browser.send(PART)


# ---- A full send buffer ------------------------------------------------------------------------------------------------------


async def test_a_client_that_dies_while_its_data_waits_is_noticed() -> None:
    async with serving(**SMALL_BUFFERS, close_timeout=0.3, stall_limit=1.0) as app:
        async with browsing(app.to(9)) as a:
            await a.status("UDP_WAITING")
            await send_until_stuck(a, 1000)
            a.die()
        await eventually(lambda: not app.hub._bridges)


async def test_data_that_waited_for_its_peer_arrives() -> None:
    async with (
        two_apps(**SMALL_BUFFERS) as (app_a, app_b),
        browsing(app_a.to(app_b), v1=True) as a,
    ):
        await a.status("UDP_WAITING")
        sending = asyncio.create_task(_send_parts(a, 100))
        async with browsing(app_b.to(app_a), v1=True) as b:
            for _ in range(100):
                assert await b.data() == PART
            await sending


# ---- One death among many ------------------------------------------------------------------------------------------------------


async def test_clients_that_die_disturb_nobody() -> None:
    """Twelve pairs exchange numbers; every second client dies somewhere on the way, the others get every number."""
    async with two_apps() as (app_a, app_b), AsyncExitStack() as stack:
        pairs = []
        for number in range(12):
            label = {"label": f"pair {number}"}
            a = await stack.enter_async_context(browsing(app_a.to(app_b, **label), v1=True))
            b = await stack.enter_async_context(browsing(app_b.to(app_a, **label), v1=True))
            pairs.append((a, b))
        await asyncio.gather(*(establish(a, b) for a, b in pairs))
        await asyncio.gather(*(_exchange(a, b, dies=number % 2 == 1) for number, (a, b) in enumerate(pairs)))
        await eventually(lambda: len(app_a.hub._bridges) == len(app_b.hub._bridges) == 6)


async def _exchange(a: Browser, b: Browser, dies: bool) -> None:
    for number in range(200):
        if dies and number == 100:
            a.die()
            b.die()
            return
        await a.send_text(str(number))
        await b.send(str(number).encode())
        if not dies:
            assert await b.data() == str(number)
            assert await a.data() == str(number).encode()


async def test_bridges_that_ended_leave_nothing_behind() -> None:
    async with serving() as app:
        before = (0, 0)
        for turn in range(60):
            async with browsing(app.to(9, local_port=0), v1=bool(turn % 2)) as a:
                await a.status("UDP_WAITING")
                if turn == 20:
                    before = len(os.listdir("/proc/self/fd")), threading.active_count()
        await eventually(lambda: not app.hub._bridges and not app.hub._own and not app.hub._tasks)
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Bridge | SRMUDPManager)]
        assert (len(os.listdir("/proc/self/fd")), threading.active_count()) <= before


# ---- Many ------------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
@pytest.mark.parametrize("own_ports", [False, True], ids=["shared port", "own ports"])
async def test_two_hundred_bridges_at_once(own_ports: bool) -> None:
    """A hundred pairs within one app: each bridge's peer is another bridge of the same server."""
    async with serving(max_bridges_per_client=1000) as here, serving() as there, AsyncExitStack() as stack:
        pairs = [await _open_pair(stack, here, there, number, own_ports) for number in range(100)]
        await asyncio.gather(*(establish(a, b) for a, b in pairs))
        assert len(await here.connections()) == 100
        await asyncio.gather(*(_greet(number, a, b) for number, (a, b) in enumerate(pairs)))


async def _open_pair(
    stack: AsyncExitStack, here: App, there: App, number: int, own_ports: bool
) -> tuple[Browser, Browser]:
    query = {"label": f"pair {number}", "encryption_key": f"key {number}"}
    if not own_ports:
        a = await stack.enter_async_context(browsing(here.to(there, **query)))
        return a, await stack.enter_async_context(browsing(there.to(here, **query)))
    a = await stack.enter_async_context(browsing(here.to(there, **query, local_port=0)))
    port = (await a.status("CONNECTED"))["local_port"]
    return a, await stack.enter_async_context(browsing(there.to(port, **query)))


async def _greet(number: int, a: Browser, b: Browser) -> None:
    for turn, (sender, receiver) in zip(range(4), itertools.cycle(((a, b), (b, a))), strict=False):
        await sender.send_text(f"{number}.{turn} via {HOST}")
        assert await receiver.data() == f"{number}.{turn} via {HOST}"
