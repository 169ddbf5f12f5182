"""Clients that come back: grace, takeover, receipts, and what is told of the messages that may be lost.

```
  a, then again ══ws══ app_a ──udp── app_b ══ws══ b
```
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.python.bridge_support import (
    App,
    Browser,
    browsing,
    decode,
    establish,
    eventually,
    serving,
    two_apps,
)

FORMS = pytest.mark.parametrize("v1", [False, True], ids=["simple", "v1"])


def without_client(app: App) -> bool:
    """Whether the app's bridges all noticed that their clients are gone."""
    return all(bridge.client is None for bridge in app.hub._bridges)


async def read_numbered(browser: Browser, first: int) -> tuple[int, str]:
    """The next message's number, counted as a client does, and its text. `first`: what CONNECTED or the last one said."""
    frame = await browser.receive()
    while frame["type"] not in ("data", "binary"):
        frame = await browser.receive()
    data = frame["data"] if frame["type"] == "binary" else decode(frame)
    return frame.get("seq", first), data if isinstance(data, str) else data.decode()


# ---- Grace ---------------------------------------------------------------------------------------------------------------


async def test_a_client_that_comes_back_finds_what_came_meanwhile() -> None:
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a)) as b:
        url = app_a.to(app_b, client_id="a")
        async with browsing(url) as a:
            first = await a.status("CONNECTED")
            assert "resumed" not in first
            await establish(a, b)
            a.die()
        await eventually(lambda: without_client(app_a))
        (shown,) = await app_a.connections()
        assert shown["client"] is False
        for number in range(50):
            await b.send_text(str(number), id=number)
        async with browsing(url) as again:
            connected = await again.receive()
            assert connected["status"] == "CONNECTED"
            assert connected["resumed"] is True
            assert connected["connection_id"] == first["connection_id"]
            assert (await again.receive())["status"] == "UDP_ESTABLISHED"
            assert [await again.data() for _ in range(50)] == [str(number) for number in range(50)]
            for number in range(50):
                assert (await b.until("ack"))["id"] == number
            await again.send_text("back")
            assert await b.data() == "back"
        assert not [frame for frame in b.frames if frame.get("status") == "RECONNECTING"]


async def test_acks_wait_for_the_client_too() -> None:
    async with two_apps() as (app_a, app_b):
        url = app_a.to(app_b, client_id="a")
        async with browsing(url) as a:
            await a.status("UDP_WAITING")
            await a.send_text("x", id="mine")
            await a.command("status")
            await a.status("UDP_WAITING")
            a.die()
        await eventually(lambda: without_client(app_a))
        async with browsing(app_b.to(app_a)) as b:
            assert await b.data() == "x"
            async with browsing(url) as again:
                assert (await again.until("ack"))["id"] == "mine"


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_grace_follows_any_end_but_1000(code: int) -> None:
    async with serving() as app, browsing(app.to(9, client_id="a")) as a:
        await a.status("UDP_WAITING")
        await a.websocket.close(code)
        await eventually(lambda: without_client(app))
        assert len(await app.connections()) == (0 if code == 1000 else 1)


async def test_a_bridge_without_client_id_ends_with_its_client() -> None:
    async with serving() as app:
        async with browsing(app.to(9)) as a:
            await a.status("UDP_WAITING")
            assert len(await app.connections()) == 1
            a.die()
        await eventually(lambda: not app.hub._bridges)


async def test_grace_ends() -> None:
    async with two_apps(grace=0.2) as (app_a, app_b), browsing(app_b.to(app_a)) as b:
        async with browsing(app_a.to(app_b, client_id="a")) as a:
            await establish(a, b)
            a.die()
        assert (await b.status("UDP_WAITING"))["reason"] == "peer_closed"
        assert await app_a.connections() == []


async def test_what_a_client_sent_is_delivered_after_it_left() -> None:
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a)) as b:
        async with browsing(app_a.to(app_b)) as a:
            await establish(a, b)
            for number in range(200):
                await a.send_text(str(number))
            await a.websocket.close()
        assert [await b.data() for _ in range(200)] == [str(number) for number in range(200)]
        assert (await b.status("UDP_WAITING"))["reason"] == "peer_closed"


async def test_another_key_does_not_open_a_bridge_in_grace() -> None:
    async with serving() as app:
        async with browsing(app.to(9, client_id="a")) as a:
            await a.status("UDP_WAITING")
            a.die()
        await eventually(lambda: without_client(app))
        async with browsing(app.to(9, client_id="a", encryption_key="wrong")) as thief:
            assert (await thief.closed())[0] == 4412
        async with browsing(app.to(9, client_id="a")) as again:
            assert (await again.status("CONNECTED"))["resumed"]


# ---- Takeover ------------------------------------------------------------------------------------------------------------


@FORMS
async def test_takeover_replaces_a_live_client(v1: bool) -> None:
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a)) as b:
        url = app_a.to(app_b, client_id="a", takeover=1)
        async with browsing(url, v1=v1) as a:
            await establish(a, b)
            async with browsing(url, v1=v1) as again:
                assert (await again.status("CONNECTED"))["resumed"]
                assert (await a.closed())[0] == 4411
                assert a.frames[-1]["type"] == "error"
                await b.send_text("to the newer one")
                assert await again.data() == "to the newer one"
                await again.send_text("from the newer one")
                assert await b.data() == "from the newer one"


async def test_a_client_that_died_unseen_needs_no_takeover() -> None:
    """Its TCP connection ended while the server could not read it, for its data waits for an absent peer."""
    async with serving(send_buffer=1000, max_message_size=500, receive_buffer=1000) as app:
        async with browsing(app.to(9, client_id="a")) as a:
            await a.status("UDP_WAITING")
            for _ in range(10):
                await a.send(b"x" * 500)
            a.websocket.transport.close()
            await a.websocket.wait_closed()
        async with browsing(app.to(9, client_id="a")) as again:
            assert (await again.status("CONNECTED"))["resumed"]


# ---- Receipts ------------------------------------------------------------------------------------------------------------


@FORMS
async def test_with_receipts_consumption_follows_the_client(v1: bool) -> None:
    async with (
        two_apps() as (app_a, app_b),
        browsing(app_a.to(app_b, receipts=1), v1=v1) as a,
        browsing(app_b.to(app_a)) as b,
    ):
        assert (await a.status("CONNECTED"))["next_seq"] == 1
        await establish(a, b)
        for number in range(1, 4):
            await b.send(str(number).encode()) if v1 else await b.send_text(str(number), id=number)
        for number in range(1, 4):
            assert await read_numbered(a, number) == (number, str(number))
        await a.command("stats")  # the server has written all three, and none is confirmed
        await a.until("stats")
        assert not [frame for frame in b.frames if frame["type"] == "ack"]
        await a.send({"type": "received", "seq": 2})
        await b.send_text("after", id="after")
        if not v1:
            assert [(await b.until("ack"))["id"] for _ in range(2)] == [1, 2]
        assert await read_numbered(a, 4) == (4, "after")
        await a.send({"type": "received", "seq": 4})
        assert (await b.until("ack", id="after"))["id"] == "after"


async def test_a_receipt_for_what_was_never_given_is_a_mistake() -> None:
    async with serving() as app, browsing(app.to(9, receipts=1)) as a:
        await a.send({"type": "received", "seq": 1})
        assert (await a.until("error"))["code"] == "bad_receipt"
        await a.send({"type": "received", "seq": 0})
        await a.command("stats")
        await a.until("stats")
        assert len([frame for frame in a.frames if frame["type"] == "error"]) == 1


@FORMS
async def test_with_receipts_nothing_is_lost_or_given_twice(v1: bool) -> None:
    """A client breaks off again and again at any place; each message has one number, and every one comes."""
    total, seen = 200, dict[int, str]()
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a), v1=v1) as b:
        url = app_a.to(app_b, client_id="a", receipts=1)
        sending: asyncio.Task[None] | None = None
        for turn in range(20):
            async with browsing(url, v1=v1) as a:
                expected = (await a.status("CONNECTED"))["next_seq"]
                if sending is None:
                    await establish(a, b)
                    sending = asyncio.create_task(_send_numbers(b, total))
                for _ in range(7 + turn):
                    if len(seen) == total:
                        break
                    seq, text = await read_numbered(a, expected)
                    expected = seq + 1
                    assert seen.setdefault(seq, text) == text
                    if seq % 3 == 0:
                        await a.send({"type": "received", "seq": seq})
                a.die()
            await eventually(lambda: without_client(app_a))
        assert sending is not None
        await sending
    assert seen == {number: str(number) for number in range(1, total + 1)}


async def _send_numbers(browser: Browser, total: int) -> None:
    for number in range(1, total + 1):
        await browser.send(str(number).encode())


async def test_a_receipt_may_come_after_the_return() -> None:
    """What a client had, and whose receipt broke off with its connection, is confirmed over the next one."""
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a)) as b:
        url = app_a.to(app_b, client_id="a", receipts=1)
        async with browsing(url) as a:
            await establish(a, b)
            await b.send_text("x", id="x")
            assert await read_numbered(a, 1) == (1, "x")
            a.die()
        await eventually(lambda: without_client(app_a))
        async with browsing(url) as again:
            await again.send({"type": "received", "seq": 1})
            assert (await b.until("ack"))["id"] == "x"


async def test_frames_taken_tells_what_need_not_be_sent_again() -> None:
    async with serving() as app:
        url = app.to(9, client_id="a", receipts=1)
        for turn in range(3):
            async with browsing(url, v1=True) as a:
                assert (await a.status("CONNECTED")).get("frames_taken", 0) == 2 * turn
                await a.send(b"1")
                await a.send_text("2")
                await a.command("stats")
                await a.until("stats")
                a.die()
            await eventually(lambda: without_client(app))


# ---- What may be lost ------------------------------------------------------------------------------------------------------


@FORMS
async def test_without_receipts_the_doubtful_count_is_told(v1: bool) -> None:
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a)) as b:
        url = app_a.to(app_b, client_id="a")
        async with browsing(url, v1=v1) as a:
            await establish(a, b)
            for number in range(3):
                await b.send_text(str(number), id=number)
                await b.until("ack", id=number)
            a.die()
        await eventually(lambda: without_client(app_a))
        async with browsing(url, v1=v1) as again:
            notice = await again.until("notice")
            assert (notice["code"], notice["count"]) == ("maybe_lost", 3)
            assert notice["message"]
            await b.send_text("next")
            assert await again.data() == "next"


async def test_a_client_that_said_goodbye_lost_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a)) as b:
        async with browsing(app_a.to(app_b)) as a:
            await establish(a, b)
            await b.send_text("x")
            await a.data()
        await eventually(lambda: not app_a.hub._bridges)
        assert not app_a.hub.losses
    assert "maybe_lost" not in caplog.text


async def test_losses_with_no_client_left_are_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "autoprox.bridge")
    async with serving(close_timeout=0.1, grace=0.1) as app:
        async with browsing(app.to(9, client_id="a")) as a:
            await a.send_text("x")
            await a.send_text("y")
            await a.command("stats")
            await a.until("stats")
            a.die()
        await eventually(lambda: app.hub.losses["undelivered"] == 2)
        info: dict[str, Any] = (await app.get("/v0/ws/info")).json()
        assert info["lost_without_client"] == {"undelivered": 2}
    assert "undelivered 2" in caplog.text


async def test_notices_wait_for_the_client_that_comes_back() -> None:
    async with two_apps(close_timeout=0.2) as (app_a, app_b):
        url = app_a.to(app_b, client_id="a")
        async with browsing(app_b.to(app_a, receipts=1)) as b:
            async with browsing(url) as a:
                await establish(a, b)
                await a.send_text("never confirmed", id=1)
                await b.until("data")
                a.die()
            await eventually(lambda: without_client(app_a))
            await b.command("close")
            await b.closed()
        async with browsing(url) as again:
            notice = await again.until("notice", code="undelivered")
            assert (notice["count"], notice["ids"]) == (1, [1])


async def test_bridges_whose_ids_look_alike_are_two() -> None:
    """A client_id and a host name may both have underscores."""
    async with serving() as app:
        one = app.to(9, client_id="x_h", remote_host="y.localhost")
        other = app.to(9, client_id="x", remote_host="h_y.localhost")
        async with browsing(one) as a, browsing(other) as b:
            await a.status("UDP_WAITING")
            await b.status("UDP_WAITING")
            assert a.frames[0]["connection_id"] == b.frames[0]["connection_id"]
            assert len(app.hub.describe()) == 2
            for browser in (a, b):
                await browser.send({"type": "command", "command": "close"})
                assert (await browser.closed())[0] == 1000
        await eventually(lambda: not app.hub._bridges and not app.hub._by_identity)
        async with browsing(one) as a:
            await a.status("UDP_WAITING")
