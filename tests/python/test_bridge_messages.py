"""Messages through two bridges: statuses, both forms of the protocol, acknowledgements, commands, and mistakes.

```
  a ══ws══ app_a ──udp── app_b ══ws══ b
```
"""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from autoprox.routes.client import THROUGH_FRAMES, THROUGH_INTERVAL
from tests.python.bridge_support import HOST, Browser, Pair, browsing, make_settings, serving, two_apps

SIMPLE_OR_V1 = pytest.mark.parametrize("v1", [False, True], ids=["simple", "v1"])


# ---- Statuses ----------------------------------------------------------------------------------------------------------


async def test_statuses_come_in_the_order_things_happen() -> None:
    async with two_apps() as (app_a, app_b):
        async with browsing(app_a.to(app_b, client_id="alice")) as a:
            first = await a.receive()
            assert (first["type"], first["status"]) == ("status", "CONNECTED")
            assert first["local_port"] == app_a.udp_port
            assert first["connection_id"] == f"alice_{HOST}_{app_b.udp_port}"
            assert first["message"]
            assert (await a.receive())["status"] == "UDP_WAITING"
            async with browsing(app_b.to(app_a)) as b:
                established = await a.receive()
                assert established["status"] == "UDP_ESTABLISHED"
                assert established["remote_address"] == f"{HOST}:{app_b.udp_port}"
                assert established["path"] == "direct"
                await b.status("UDP_ESTABLISHED")
                await b.command("close")
                assert (await b.closed())[0] == 1000
                assert b.frames[-1]["status"] == "DISCONNECTED"
            assert (await a.status("UDP_WAITING"))["reason"] == "peer_closed"
            async with browsing(app_b.to(app_a)) as again:  # the next peer is a new session
                await asyncio.gather(a.status("UDP_ESTABLISHED"), again.status("UDP_ESTABLISHED"))
                await again.send_text("second")
                assert await a.data() == "second"
        assert {frame["connection_id"] for frame in a.frames if frame["type"] == "status"} == {
            first["connection_id"]
        }


async def test_a_random_id_stands_in_for_client_id() -> None:
    async with serving() as app, browsing(app.to(9)) as a, browsing(app.to(9)) as b:
        one, two = (await a.receive())["connection_id"], (await b.receive())["connection_id"]
        assert one != two
        assert one.endswith(f"_{HOST}_9")


# ---- Both forms ----------------------------------------------------------------------------------------------------------

TEXTS = ["hello", "", 'quote " and \\ and \n', "\0\x1f", "ünï 🙂", "x" * 100_000]
BYTES = [b"", b"\0", bytes(range(256)), random.Random(1).randbytes(100_000)]


@SIMPLE_OR_V1
async def test_text_stays_text_and_binary_stays_binary(v1: bool) -> None:
    async with Pair(v1=v1) as pair:
        for text in TEXTS:
            await pair.a.send_text(text)
            frame = await pair.b.until("data")
            assert frame == {"type": "data", "format": "text", "data": text}
        for data in BYTES:
            await pair.b.send_binary(data)
            assert await pair.a.data() == data
            assert pair.a.frames[-1]["type"] == ("binary" if v1 else "data")
            assert pair.a.frames[-1].get("format") == (None if v1 else "binary")


@SIMPLE_OR_V1
async def test_a_bare_binary_frame_is_one_message(v1: bool) -> None:
    async with Pair(v1=v1) as pair:
        for data in BYTES:
            await pair.a.send(data)
            assert await pair.b.data() == data


async def test_the_two_forms_understand_each_other() -> None:
    async with (
        two_apps() as (app_a, app_b),
        browsing(app_a.to(app_b), v1=True) as a,
        browsing(app_b.to(app_a)) as b,
    ):
        assert a.websocket.subprotocol == "autoprox.v1"
        assert b.websocket.subprotocol is None
        await a.send(b"\0\1")
        assert await b.data() == b"\0\1"
        assert b.frames[-1] == {"type": "data", "format": "binary", "data": "AAE="}
        await b.send_binary(b"\2")
        assert await a.data() == b"\2"


@SIMPLE_OR_V1
async def test_channels_travel_along(v1: bool) -> None:
    async with Pair(v1=v1) as pair:
        for channel in (0, 1, 255):
            await pair.a.send_text("x", channel=channel)
            assert (await pair.b.until("data")).get("channel", 0) == channel


@SIMPLE_OR_V1
async def test_what_is_sent_before_the_peer_is_there_waits_for_it(v1: bool) -> None:
    async with two_apps() as (app_a, app_b), browsing(app_a.to(app_b), v1=v1) as a:
        await a.status("UDP_WAITING")
        for number in range(100):
            await a.send_text(str(number))
        async with browsing(app_b.to(app_a), v1=v1) as b:
            assert [await b.data() for _ in range(100)] == [str(number) for number in range(100)]


@SIMPLE_OR_V1
async def test_many_messages_arrive_once_and_in_order_both_ways(v1: bool) -> None:
    async def check(sender: Browser, receiver: Browser, seed: int) -> None:
        fate = random.Random(seed)
        sent = [fate.randbytes(fate.choice((0, 1, 100, 1500, 70_000))) for _ in range(300)]

        async def send() -> None:
            for data in sent:
                await (sender.send(data) if v1 else sender.send_binary(data))

        sending = asyncio.create_task(send())
        assert [await receiver.data() for _ in sent] == sent
        await sending

    async with Pair(v1=v1) as pair:
        await asyncio.gather(check(pair.a, pair.b, 1), check(pair.b, pair.a, 2))


@SIMPLE_OR_V1
@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
async def test_a_message_of_the_largest_size_passes_in_every_form(v1: bool, escaped: bool) -> None:
    size = 1 << 20
    async with Pair(v1=v1, max_message_size=size, receive_buffer=size + 64) as pair:
        text = "\1" * size if escaped else "é" * (size // 2)
        await pair.a.send_text(text)
        assert await pair.b.data() == text
        data = random.Random(3).randbytes(size)
        await (pair.a.send(data) if escaped else pair.a.send_binary(data))
        got = await pair.b.data()
        assert isinstance(got, bytes)
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


async def test_two_pairs_with_keys_of_their_own_share_the_ports() -> None:
    async with Pair() as pair:
        other = {"encryption_key": "another key", "label": "second"}
        async with (
            browsing(pair.app_a.to(pair.app_b, **other)) as c,
            browsing(pair.app_b.to(pair.app_a, **other)) as d,
        ):
            await asyncio.gather(c.status("UDP_ESTABLISHED"), d.status("UDP_ESTABLISHED"))
            await pair.a.send_text("first")
            await c.send_text("second")
            assert await d.data() == "second"
            assert await pair.b.data() == "first"


async def test_two_keys_without_labels_share_the_ports() -> None:
    async with Pair() as pair:
        other = {"encryption_key": "another key"}
        async with (
            browsing(pair.app_a.to(pair.app_b, **other)) as c,
            browsing(pair.app_b.to(pair.app_a, **other)) as d,
        ):
            await asyncio.gather(c.status("UDP_ESTABLISHED"), d.status("UDP_ESTABLISHED"))
            await c.send_text("second")
            assert await d.data() == "second"


# ---- Acknowledgements ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ident", [7, 0, -1, "name", ""])
async def test_an_id_is_acknowledged_when_the_far_client_was_given_the_message(ident: int | str) -> None:
    async with Pair() as pair:
        await pair.a.send_text("x", id=ident)
        await pair.a.send_text("y")
        assert (await pair.a.until("ack")) == {"type": "ack", "id": ident}
        assert await pair.b.data() == "x"
        assert await pair.b.data() == "y"


async def test_acks_come_in_order_and_once() -> None:
    async with Pair() as pair:
        for number in range(200):
            await pair.a.send_text("x", id=number, channel=number % 3)
        got = [(await pair.a.until("ack"))["id"] for _ in range(200)]
        assert sorted(got) == list(range(200))
        for channel in range(3):
            assert [ident for ident in got if ident % 3 == channel] == list(range(channel, 200, 3))


async def test_v1_acks_count_the_clients_frames() -> None:
    async with Pair(v1=True) as pair:
        await pair.a.send(b"1")
        await pair.a.send_text("2", channel=5)
        await pair.a.send({"type": "data", "format": "nonsense", "data": "3"})
        await pair.a.send(b"4")
        last = 0
        while last < 4:
            through = (await pair.a.until("ack"))["through"]
            assert through > last
            last = through
        assert last == 4
        assert next(frame for frame in pair.a.frames if frame["type"] == "error")["frame"] == 3


async def test_v1_acks_are_few_where_frames_are_answered() -> None:
    """An acknowledgement costs a client as much as a message, so those of frames in quick succession go together."""
    async with Pair(v1=True) as pair:
        began = asyncio.get_running_loop().time()
        for _ in range(200):
            await pair.a.send(b"ping")
            assert await pair.b.data() == b"ping"
            await pair.b.send(b"pong")
            assert await pair.a.data() == b"pong"
        seconds = asyncio.get_running_loop().time() - began
        acks = [frame for frame in pair.a.frames if frame["type"] == "ack"]
        assert len(acks) <= seconds / THROUGH_INTERVAL + 200 / THROUGH_FRAMES + 1
        while not acks or acks[-1]["through"] < 200:
            acks.append(await pair.a.until("ack"))


async def test_v1_acks_do_not_wait_for_the_flood_to_the_client_to_end() -> None:
    async with Pair(v1=True) as pair:
        for _ in range(1000):
            await pair.b.send(b"flood")
        await pair.a.send(b"x")
        await pair.a.until("ack", through=1)


async def test_v1_a_closed_bridge_acknowledges_to_the_end() -> None:
    async with Pair(v1=True) as pair:
        for number in range(5):
            await pair.a.send(b"%d" % number)
        await pair.a.command("close")
        for number in range(5):
            assert await pair.b.data() == b"%d" % number
        assert (await pair.a.closed())[0] == 1000
        assert [frame for frame in pair.a.frames if frame["type"] == "ack"][-1]["through"] == 5


async def test_without_a_peer_there_is_no_ack() -> None:
    async with serving() as app, browsing(app.to(9)) as a:
        await a.send_text("x", id=1)
        await a.command("stats")
        await a.until("stats")
        assert not [frame for frame in a.frames if frame["type"] == "ack"]


# ---- Commands ------------------------------------------------------------------------------------------------------------


async def test_commands_are_answered() -> None:
    async with Pair() as pair:
        await pair.a.send_text("12345")
        await pair.b.data()
        await pair.a.command("status")
        assert (await pair.a.receive())["status"] == "UDP_ESTABLISHED"
        await pair.a.command("stats")
        stats = await pair.a.until("stats")
        assert stats["status"] == "UDP_ESTABLISHED"
        assert stats["connection_id"] == pair.a.frames[0]["connection_id"]
        assert stats["messages_sent"] == 1
        assert stats["bytes_sent"] == 5
        await pair.a.command("reconnect")
        assert (await pair.a.until("reconnect"))["accepted"] is True
        await pair.a.send_text("after")
        assert await pair.b.data() == "after"


async def test_close_delivers_what_was_sent() -> None:
    async with Pair() as pair:
        for number in range(500):
            await pair.a.send_text(str(number))
        await pair.a.command("close")
        assert [await pair.b.data() for _ in range(500)] == [str(number) for number in range(500)]
        assert (await pair.a.closed())[0] == 1000


async def test_close_tells_what_it_could_not_deliver() -> None:
    async with serving(close_timeout=0.2) as app, browsing(app.to(9)) as a:
        await a.send_text("x", id="first")
        await a.send_text("y")
        await a.command("close")
        assert await a.closed() == (1000, "closed as asked")
        notice, last = a.frames[-2:]
        assert (notice["type"], notice["code"], notice["count"]) == ("notice", "undelivered", 2)
        assert notice["ids"] == ["first"]
        assert last["status"] == "DISCONNECTED"


# ---- Mistakes ------------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("hello", "bad_message"),
    ("[]", "bad_message"),
    ("[" * 50_000, "bad_message"),
    ({"type": "nonsense"}, "bad_message"),
    ({"type": "data", "format": "text"}, "bad_message"),
    ({"type": "data", "format": "text", "data": "x", "channel": 256}, "bad_message"),
    ({"type": "data", "format": "text", "data": "x", "id": []}, "bad_message"),
    (r'{"type":"data","format":"text","data":"x","id":"\ud800"}', "bad_message"),
    (r'{"type":"data","format":"x","data":"x","id":"\ud800"}', "bad_message"),
    ({"type": "data", "format": "binary", "data": "???"}, "bad_data"),
    ({"type": "data", "format": "text", "data": "x" * 1001}, "too_large"),
    ({"type": "data", "format": "binary", "data": "AAAA" * 334}, "too_large"),
    (b"x" * 1001, "too_large"),
    ({"type": "command", "command": "dance"}, "bad_message"),
    ({"type": "received", "seq": 1}, "bad_receipt"),
    ({"type": "open", "encryption_key": "k"}, "bad_message"),
]  # fmt: skip


@SIMPLE_OR_V1
async def test_mistakes_are_told_and_the_bridge_lives(v1: bool) -> None:
    async with Pair(v1=v1, max_message_size=1000) as pair:
        for mistake, code in MISTAKES:
            await pair.a.send(mistake)  # type: ignore[arg-type]
            error = await pair.a.until("error")
            assert error["code"] == code
            assert error["message"]
            assert "hint" in error
            assert error["connection_id"] == pair.a.frames[0]["connection_id"]
        await pair.a.send_text("alive")
        assert await pair.b.data() == "alive"


async def test_a_refused_message_is_named_by_its_id() -> None:
    async with Pair() as pair:
        await pair.a.send({"type": "data", "format": "binary", "data": "?", "id": "mine"})
        assert (await pair.a.until("error"))["id"] == "mine"


async def test_an_id_that_is_too_long_is_not_echoed() -> None:
    """Or whoever doesn't read could fill the server's memory with answers."""
    async with Pair() as pair:
        await pair.a.send({"type": "data", "format": "x", "data": "", "id": "x" * 100_000})
        assert "id" not in await pair.a.until("error")


async def test_a_flood_of_mistakes_is_answered_within_bounds() -> None:
    """A client that only writes is not read any more once a thousand answers wait for it."""
    async with Pair() as pair:
        flooding = asyncio.create_task(_flood(pair.a))
        await pair.b.send_text("still here")
        assert await pair.a.data() == "still here"
        bridge = next(iter(pair.app_a.hub._bridges))
        assert len(bridge.outbox) <= 1100
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)


async def _flood(browser: Browser) -> None:
    for _ in range(20_000):
        await browser.send("nonsense")


# ---- Peers ---------------------------------------------------------------------------------------------------------------


async def test_a_wrong_key_is_told_and_the_bridge_goes_on_waiting() -> None:
    async with two_apps() as (app_a, app_b), browsing(app_a.to(app_b)) as a:
        async with browsing(app_b.to(app_a, encryption_key="wrong")) as b:
            async with asyncio.timeout(5):
                error = await a.until("error", code="wrong_key")
                assert (await a.until("notice", code="wrong_key"))["count"] >= 1
                assert (await b.until("error", code="wrong_key"))["hint"]
            assert "key" in error["message"]
            for browser in (a, b):
                await browser.command("status")
                assert (await browser.until("status"))["status"] == "UDP_WAITING"
        async with browsing(app_b.to(app_a)) as b:
            await asyncio.gather(a.status("UDP_ESTABLISHED"), b.status("UDP_ESTABLISHED"))


@pytest.mark.parametrize("host", ["::1", "localhost"])
async def test_other_ways_to_name_the_peer(host: str) -> None:
    async with (
        two_apps(udp_host="") as (app_a, app_b),
        browsing(app_a.to(app_b, remote_host=host)) as a,
        browsing(app_b.to(app_a, remote_host=host)) as b,
    ):
        established = await a.status("UDP_ESTABLISHED")
        if host == "::1":
            assert established["remote_address"] == f"[::1]:{app_b.udp_port}"
        await a.send_text("hi")
        assert await b.data() == "hi"


async def test_own_udp_ports() -> None:
    async with serving() as app_b, serving(settings=make_settings()) as app_a:
        async with browsing(app_a.to(app_b, local_port=0)) as a:
            port = (await a.status("CONNECTED"))["local_port"]
            assert port not in (0, app_a.udp_port)
            async with browsing(app_b.to(port)) as b:
                await asyncio.gather(a.status("UDP_ESTABLISHED"), b.status("UDP_ESTABLISHED"))
                await a.command("close")
                await a.closed()
        async with browsing(app_a.to(app_b, local_port=port)) as a:  # free again, at once
            assert (await a.status("CONNECTED"))["local_port"] == port
