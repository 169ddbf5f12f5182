"""The example client, as a class and as a program: it comes back, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import Any

import pytest

from autoprox.examples import srmudp_websocket_example as example
from autoprox.examples.srmudp_websocket_example import BridgeError, SRMUDPWebSocketClient
from tests.python.bridge_support import HOST, KEY, App, browsing, eventually, serving, two_apps


def client_of(app: App, peer: App | int, **options: Any) -> SRMUDPWebSocketClient:
    """A client of a bridge from one app to the other."""
    port = peer if isinstance(peer, int) else peer.udp_port
    return SRMUDPWebSocketClient(app.url(), HOST, port, options.pop("key", KEY), **options)


def break_off(client: SRMUDPWebSocketClient, app: App) -> None:
    """Breaks the connections of all the app's clients, on the server's side."""
    for bridge in app.hub._bridges:
        if bridge.client is not None:
            bridge.client.tcp.hang_up()


async def test_messages_both_ways() -> None:
    seen: list[tuple[str, dict[str, Any]]] = []
    async with (
        two_apps() as (app_a, app_b),
        client_of(app_a, app_b, on_status=lambda *report: seen.append(report)) as a,
        client_of(app_b, app_a) as b,
    ):
        await asyncio.gather(a.wait_established(5), b.wait_established(5))
        await a.send_text("text ü")
        await a.send_binary(b"\0\1")
        await a.send_text("")
        await a.send_binary(b"")
        assert [await anext(b) for _ in range(4)] == ["text ü", b"\0\1", "", b""]
        await b.send_text("back")
        assert await anext(a) == "back"
        await asyncio.gather(a.drain(5), b.drain(5))
        assert (a.status, a.local_port) == ("UDP_ESTABLISHED", app_a.udp_port)
        assert a.connection_id is not None
    assert [status for status, _ in seen][:3] == ["CONNECTED", "UDP_WAITING", "UDP_ESTABLISHED"]
    assert a.status == "DISCONNECTED"


async def test_statuses_may_go_to_a_coroutine() -> None:
    seen: list[str] = []

    async def on_status(status: str, _: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        seen.append(status)

    async with serving() as app, client_of(app, 9, on_status=on_status) as client:
        await eventually(lambda: seen == ["CONNECTED", "UDP_WAITING"])
        assert client.status == "UDP_WAITING"


async def test_iteration_ends_with_the_client() -> None:
    async with two_apps() as (app_a, app_b), client_of(app_a, app_b) as a, client_of(app_b, app_a) as b:
        for number in range(100):
            await a.send_text(str(number))
        got = []
        async for message in b:
            got.append(message)
            if message == "99":
                await b.close()
        assert got == [str(number) for number in range(100)]
        with pytest.raises(BridgeError):
            await b.send_text("x")
        with pytest.raises(StopAsyncIteration):
            await anext(b)


async def test_close_delivers_what_was_sent() -> None:
    async with two_apps() as (app_a, app_b), client_of(app_b, app_a) as b:
        receiving = asyncio.create_task(_receive(b, 300))
        async with client_of(app_a, app_b) as a:
            await a.wait_established(5)
            for number in range(300):
                await a.send_text(str(number))
        assert not a.notices
        assert await receiving == [str(number) for number in range(300)]


async def _receive(client: SRMUDPWebSocketClient, count: int) -> list[str | bytes]:
    return [await anext(client) for _ in range(count)]


@pytest.mark.timeout(120)
async def test_broken_connections_lose_and_double_nothing() -> None:
    """Both WebSockets break again and again, at any moment, with messages going both ways."""
    total = 400

    async def send(client: SRMUDPWebSocketClient, seed: int) -> None:
        fate = random.Random(seed)
        for number in range(total):
            text = f"{number} {'x' * fate.choice((0, 10, 3000))}"
            await (client.send_text(text) if number % 2 else client.send_binary(text.encode()))
            if number % 10 == 0:
                await asyncio.sleep(0.1)

    async def receive(client: SRMUDPWebSocketClient) -> list[int]:
        got = []
        for number in range(total):
            message = await anext(client)
            assert isinstance(message, str) == bool(number % 2)
            got.append(int(message.split()[0]))
        return got

    async with two_apps() as (app_a, app_b), client_of(app_a, app_b) as a, client_of(app_b, app_a) as b:
        work = asyncio.gather(send(a, 1), send(b, 2), receive(a), receive(b))
        fate = random.Random(3)
        breaks = 0
        while not work.done():
            await asyncio.wait((work,), timeout=fate.uniform(0.05, 0.6))
            break_off(a, fate.choice((app_a, app_b)))
            breaks += 1
        _, _, got_a, got_b = await work
        assert got_a == got_b == list(range(total))
        assert breaks > 3
        await asyncio.gather(a.drain(10), b.drain(10))
        assert not [notice for client in (a, b) for notice in client.notices if notice["code"] != "wrong_key"]


async def test_a_server_that_restarts_is_found_again() -> None:
    async with serving() as other, client_of(other, 9):
        pass  # the app's code is warm, so that what follows is about the restart
    async with serving() as app_b:
        async with serving() as app_a:
            a = client_of(app_a, app_b)
            await a.connect()
            port, udp_port = app_a.port, app_a.udp_port
            settings = app_a.settings.model_copy(update={"udp_port": udp_port})
            b = client_of(app_b, app_a)
            await b.connect()
            await a.wait_established(5)
        await a.send_text("while it is away")
        async with serving(settings=settings, port=port):
            assert await anext(b) == "while it is away"
            await b.send_text("welcome back")
            assert await anext(a) == "welcome back"
            await asyncio.gather(a.close(), b.close())


# ---- Refusals ----------------------------------------------------------------------------------------------------------------


async def test_a_refusal_says_what_and_what_to_do() -> None:
    async with serving() as app:
        with pytest.raises(BridgeError, match="remote_port") as caught:
            await client_of(app, 0).connect()
        assert caught.value.code == 4400
        assert caught.value.hint


async def test_a_token() -> None:
    async with serving(token="t") as app, client_of(app, 9, token="t") as client:
        assert client.status in ("CONNECTED", "UDP_WAITING")


async def test_a_client_that_is_taken_over_ends() -> None:
    async with (
        serving() as app,
        client_of(app, 9, client_id="a") as first,
        client_of(app, 9, client_id="a") as second,
    ):
        with pytest.raises(BridgeError) as caught:
            await first.wait_established(10)
        assert caught.value.code == 4411
        with pytest.raises(BridgeError):
            await anext(first)
        with pytest.raises(BridgeError):
            await first.send_text("x")
        assert second.status in ("CONNECTED", "UDP_WAITING")


async def test_using_it_before_connecting() -> None:
    client = SRMUDPWebSocketClient("ws://127.0.0.1:9/", HOST, 9, KEY)
    with pytest.raises(BridgeError, match="not connected"):
        await client.send_text("x")
    await client.close()
    with pytest.raises(OSError, match=r"refused|9"):
        await client.connect()


async def test_a_peer_that_does_not_come() -> None:
    async with serving() as app, client_of(app, 9) as client:
        with pytest.raises(TimeoutError):
            await client.wait_established(0.2)


async def test_a_sender_waits_when_too_much_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "UNSETTLED_BYTES", 10_000)
    async with two_apps() as (app_a, app_b), client_of(app_a, app_b) as a:
        for _ in range(10):
            await a.send_binary(bytes(1000))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await a.send_binary(bytes(1000))
        async with client_of(app_b, app_a) as b:
            async with asyncio.timeout(10):
                sending = asyncio.create_task(a.send_binary(b"now"))
                for _ in range(10):
                    assert await anext(b) == bytes(1000)
                assert await anext(b) == b"now"
                await sending


# ---- The program -----------------------------------------------------------------------------------------------------------


async def start(app: App, port: int, *options: str) -> asyncio.subprocess.Process:
    """The program as somebody runs it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPROX_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "autoprox.examples.srmudp_websocket_example", "--ws-url", app.url(), "--remote-host", HOST,
        "--remote-port", str(port), "--encryption-key", KEY, *options, env=clean,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_two_programs_talk() -> None:
    async with two_apps() as (app_a, app_b):
        a, b = await start(app_a, app_b.udp_port), await start(app_b, app_a.udp_port)
        assert a.stdin
        assert a.stdout
        assert b.stdin
        assert b.stdout
        async with asyncio.timeout(20):
            a.stdin.write("hello ü\n".encode())
            assert (await b.stdout.readline()).decode() == "hello ü\n"
            b.stdin.write(b"and back\nagain\n")
            assert [await a.stdout.readline() for _ in range(2)] == [b"and back\n", b"again\n"]
            a.stdin.write(b"last\n")
            a.stdin.close()
            assert await b.stdout.readline() == b"last\n"
            _, told = await a.communicate()
            assert a.returncode == 0
            assert "UDP_ESTABLISHED" in told.decode()
            b.stdin.close()
            await b.communicate()
            assert b.returncode == 0


async def test_a_program_without_input_prints_until_it_is_stopped() -> None:
    async with two_apps() as (app_a, app_b), browsing(app_a.to(app_b)) as a:
        program = await start(app_b, app_a.udp_port)
        assert program.stdin
        assert program.stdout
        program.stdin.close()
        await a.status("UDP_ESTABLISHED")
        await a.send_text("one")
        await a.send_binary(bytes(5))
        async with asyncio.timeout(10):
            assert await program.stdout.readline() == b"one\n"
            assert await program.stdout.readline() == b"<5 bytes>\n"
            program.terminate()
            await program.communicate()


async def test_the_program_tells_why_it_could_not() -> None:
    async with serving() as app:
        program = await start(app, 9, "--remote-host", "a b")
        _, told = await program.communicate()
        assert program.returncode == 1
        assert "remote_host" in told.decode()
        assert KEY not in told.decode()
        assert "Traceback" not in told.decode()
