"""Who gets no bridge, and how that is told: one `error` and a close code after accepting, a JSON denial before."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from typing import Any

import pytest
from fastapi import FastAPI
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from autoprox import create_app
from autoprox.routes.protocol import CLOSE_CODES, Close
from tests.python.bridge_support import HOST, KEY, App, browsing, make_settings, serving, two_apps


async def refused(url: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """The close code and the one frame of a bridge that is refused after accepting."""
    async with browsing(url, **options) as browser:
        code, reason = await browser.closed()
    (error,) = browser.frames
    assert error["type"] == "error"
    assert error["close_code"] == code
    assert error["code"] == Close(code).text
    assert error["message"].startswith(reason[:50])
    assert "connection_id" in error
    return code, error


async def denied(url: str, **options: Any) -> tuple[int, dict[str, Any], Any]:
    """The status, body and headers of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with browsing(url, **options):
            pass
    response = caught.value.response
    body: dict[str, Any] = json.loads(response.body)
    assert response.headers["content-type"] == "application/json"
    assert response.status_code == CLOSE_CODES[Close(body["close_code"])].http_status
    assert {"type", "code", "message", "hint"} <= body.keys()
    return response.status_code, body, response.headers


class Silence:
    """A UDP port that no packet may reach."""

    def __enter__(self) -> Silence:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.port: int = self.socket.getsockname()[1]
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.socket.setblocking(False)
        try:
            if kind is None:
                with pytest.raises(BlockingIOError):
                    self.socket.recv(2048)
        finally:
            self.socket.close()


# ---- Parameters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("remote_host", None),
        ("remote_host", ""),
        ("remote_host", "a b"),
        ("remote_port", None),
        ("remote_port", "0"),
        ("remote_port", "70000"),
        ("remote_port", "-1"),
        ("remote_port", "abc"),
        ("encryption_key", ""),
        ("encryption_key", "x" * 4097),
        ("client_id", "a b"),
        ("local_port", "70000"),
        ("label", "x" * 256),
        ("timeout", "0"),
        ("receipts", "maybe"),
        ("takeover", "2"),
    ],
)
async def test_a_bad_parameter_is_refused_by_name_before_any_packet(name: str, value: str | None) -> None:
    with Silence() as peer:
        async with serving() as app:
            code, error = await refused(app.to(peer.port, **{name: value}))
            assert code == 4400
            assert name in error["message"]
            assert error["hint"]
            assert await app.connections() == []


async def test_a_port_somebody_holds_is_a_bad_local_port() -> None:
    with Silence() as other:
        async with serving() as app:
            code, error = await refused(app.to(9, local_port=other.port))
            assert code == 4400
            assert "local_port" in error["message"]


async def test_a_shared_port_that_somebody_holds_is_the_servers_mistake() -> None:
    """Where no lifespan reaches the app, the first bridge finds it out."""
    with Silence() as other:
        settings, outer = make_settings(udp_port=other.port), FastAPI()
        outer.mount("/sub", create_app(settings))
        async with serving(outer, settings=settings) as app:
            code, error = await refused(app.to(9).replace("/v0/", "/sub/v0/", 1))
            assert code == 1011
            assert "another worker" in error["message"]


async def test_a_query_of_many_fields_is_refused() -> None:
    async with serving() as app:
        code, _ = await refused(app.to(9) + "&x=1" * 200)
        assert code == 4400


# ---- The key ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["query", "header", "message"])
async def test_the_key_may_come_three_ways(way: str) -> None:
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a, encryption_key="schlüssel ✓")) as b:
        url = app_a.to(app_b, encryption_key=None)
        options: dict[str, Any] = {}
        if way == "query":
            url = app_a.to(app_b, encryption_key="schlüssel ✓")
        elif way == "header":
            options["additional_headers"] = {"X-Autoprox-Key": "schlüssel ✓".encode().decode("latin-1")}
        async with browsing(url, **options) as a:
            if way == "message":
                await a.send({"type": "open", "encryption_key": "schlüssel ✓"})
            await asyncio.gather(a.status("UDP_ESTABLISHED"), b.status("UDP_ESTABLISHED"))
            assert a.frames[0]["status"] == "CONNECTED"


@pytest.mark.parametrize(
    "first", ["hello", '{"type":"data","format":"text","data":"x"}', b"\0", '{"type":"open"}']
)
async def test_another_first_message_without_a_key_is_refused(first: str | bytes) -> None:
    async with serving() as app, browsing(app.to(9, encryption_key=None)) as browser:
        await browser.send(first)
        assert (await browser.closed())[0] == 4400
        assert "encryption_key" in browser.frames[0]["message"]


async def test_an_empty_key_in_the_first_message_is_refused() -> None:
    async with serving() as app, browsing(app.to(9, encryption_key=None)) as browser:
        await browser.send({"type": "open", "encryption_key": ""})
        assert (await browser.closed())[0] == 4400


async def test_no_key_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoprox.routes.websocket.OPEN_TIMEOUT", 0.1)
    async with serving() as app:
        code, error = await refused(app.to(9, encryption_key=None))
        assert code == 4400
        assert "encryption_key is missing" in error["message"]


# ---- Waiting for a peer ----------------------------------------------------------------------------------------------------


async def test_a_peer_that_does_not_come_in_time() -> None:
    async with serving() as app, browsing(app.to(9, timeout="0.3")) as browser:
        assert (await browser.status("ERROR"))["reason"] == "connect_timeout"
        code, reason = await browser.closed()
        assert code == 4408
        assert "peer" in reason
        assert browser.frames[-1]["type"] == "error"
        assert browser.frames[-1]["hint"]
        assert await app.connections() == []


async def test_a_peer_with_another_key_when_the_time_ends() -> None:
    async with (
        two_apps() as (app_a, app_b),
        browsing(app_a.to(app_b, timeout=3)) as a,
        browsing(app_b.to(app_a, encryption_key="wrong")),
    ):
        await a.until("error", code="wrong_key")
        assert (await a.closed())[0] == 4409


async def test_timeout_counts_only_while_nobody_is_there() -> None:
    async with (
        two_apps() as (app_a, app_b),
        browsing(app_a.to(app_b, timeout=1)) as a,
        browsing(app_b.to(app_a)) as b,
    ):
        await asyncio.gather(a.status("UDP_ESTABLISHED"), b.status("UDP_ESTABLISHED"))
        await asyncio.sleep(1.2)
        await b.send_text("still here")
        assert await a.data() == "still here"


# ---- Targets ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["224.0.0.1", "255.255.255.255", "169.254.169.254", "0.0.0.0", "ff02::1", "::ffff:169.254.169.254"],
)
async def test_dangerous_targets_are_not_allowed(host: str) -> None:
    async with serving() as app:
        code, error = await refused(app.to(9, remote_host=host))
        assert code == 4403
        assert "remote_host" in error["message"]


async def test_a_name_that_does_not_resolve_may_later() -> None:
    async with serving() as app, browsing(app.to(9, remote_host="no-such-name.invalid")) as browser:
        assert (await browser.status("UDP_WAITING", reason="invalid_address"))["message"]


async def test_denied_targets() -> None:
    with Silence() as peer:
        async with serving(deny_targets=f"127.0.0.0/8:{peer.port}") as app:
            assert (await refused(app.to(peer.port)))[0] == 4403
            assert (await refused(app.to(peer.port, remote_host="localhost")))[0] == 4403


async def test_a_client_from_elsewhere_reaches_allowed_targets_only() -> None:
    elsewhere: dict[str, Any] = {
        "additional_headers": {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer t"}
    }
    with Silence() as peer:
        async with serving(token="t") as app:
            assert (await refused(app.to(peer.port), **elsewhere))[0] == 4403
            assert (await refused(app.to(peer.port, remote_host="localhost"), **elsewhere))[0] == 4403
        async with serving(token="t", allow_targets="127.0.0.1:9-10") as app:
            for host in (HOST, "localhost"):
                async with browsing(app.to(9, remote_host=host), **elsewhere) as browser:
                    await browser.status("UDP_WAITING")
            assert (await refused(app.to(9, remote_host="no-such-name.invalid"), **elsewhere))[0] == 4503
            assert (await refused(app.to(peer.port), **elsewhere))[0] == 4403


# ---- Refused before accepting ------------------------------------------------------------------------------------------------


async def test_a_foreign_page_is_denied() -> None:
    async with serving() as app:
        status, body, _ = await denied(app.to(9), origin="http://evil.example")
        assert (status, body["code"]) == (403, "not_allowed")
        assert "evil.example" in body["message"]


async def test_own_and_allowed_pages_are_served() -> None:
    async with serving(allowed_origins="https://app.example") as app:
        for origin in (f"http://{HOST}:{app.port}", f"http://localhost:{app.port}", "https://app.example"):
            async with browsing(app.to(9), origin=origin) as browser:
                await browser.status("UDP_WAITING")


async def test_a_foreign_host_name_is_denied() -> None:
    async with serving() as app:
        url = app.to(9).replace(HOST, "evil.example", 1)
        assert (await denied(url, host=HOST, port=app.port))[0] == 403


async def test_a_missing_token_is_denied() -> None:
    async with serving(token="s3cret") as app:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            status, body, shown = await denied(app.to(9), additional_headers=headers)
            assert (status, body["code"]) == (401, "not_authorised")
            assert shown["www-authenticate"] == "Bearer"
        async with browsing(app.to(9), additional_headers={"Authorization": "Bearer s3cret"}) as browser:
            await browser.status("UDP_WAITING")


@pytest.mark.parametrize("v1", [False, True])
async def test_a_browser_shows_the_token_as_a_subprotocol(v1: bool) -> None:
    bearer = "autoprox.bearer." + base64.urlsafe_b64encode(b"s3cret").decode().rstrip("=")
    offered = [Subprotocol(bearer), *([Subprotocol("autoprox.v1")] if v1 else [])]
    async with serving(token="s3cret") as app, browsing(app.to(9), subprotocols=offered) as browser:
        await browser.status("UDP_WAITING")
        assert browser.websocket.subprotocol == ("autoprox.v1" if v1 else bearer)


async def test_without_a_token_clients_from_elsewhere_are_denied() -> None:
    async with serving() as app:
        status, _, _ = await denied(app.to(9), additional_headers={"X-Forwarded-For": "203.0.113.9"})
        assert status == 401


async def test_an_unknown_subprotocol_is_denied() -> None:
    async with serving() as app:
        status, body, _ = await denied(app.to(9), subprotocols=[Subprotocol("chat")])
        assert (status, body["code"]) == (400, "bad_parameters")


async def test_a_full_server_denies_but_not_those_who_come_back() -> None:
    async with serving(max_bridges=1) as app:
        async with browsing(app.to(9, client_id="a")) as first:
            await first.status("UDP_WAITING")
            status, body, headers = await denied(app.to(9))
            assert (status, body["code"]) == (503, "try_again_later")
            assert "retry-after" in headers
            first.die()
        async with browsing(app.to(9, client_id="a", takeover=1)) as again:
            assert (await again.status("CONNECTED"))["resumed"]
            await again.command("close")
            await again.closed()
        async with browsing(app.to(9)) as another:
            await another.status("UDP_WAITING")


async def test_one_client_may_not_take_all() -> None:
    async with (
        serving(max_bridges_per_client=2) as app,
        browsing(app.to(9)) as first,
        browsing(app.to(9)) as second,
    ):
        await asyncio.gather(first.status("UDP_WAITING"), second.status("UDP_WAITING"))
        assert (await refused(app.to(9)))[0] == 4429
        await first.websocket.close()
        await _until_connections(app, 1)
        async with browsing(app.to(9)) as third:
            await third.status("UDP_WAITING")


async def _until_connections(app: App, count: int) -> None:
    async with asyncio.timeout(5):
        while len(await app.connections()) != count:
            pass


async def test_many_waiting_for_one_peer_need_labels() -> None:
    """The engine tells waiting bridges to one address apart by trying their keys, eight of them."""
    async with serving() as app:
        stack = [browsing(app.to(9)) for _ in range(8)]
        browsers = [await one.__aenter__() for one in stack]
        try:
            await asyncio.gather(*(browser.status("UDP_WAITING") for browser in browsers))
            code, error = await refused(app.to(9))
            assert code == 4429
            assert "label" in error["message"]
            async with browsing(app.to(9, label="ninth")) as ninth:
                await ninth.status("UDP_WAITING")
        finally:
            for one in stack:
                await one.__aexit__(None, None, None)


# ---- client_id ---------------------------------------------------------------------------------------------------------------


async def test_a_client_id_in_use_is_refused_and_its_client_lives() -> None:
    async with (
        two_apps() as (app_a, app_b),
        browsing(app_b.to(app_a)) as b,
        browsing(app_a.to(app_b, client_id="a")) as a,
    ):
        await asyncio.gather(a.status("UDP_ESTABLISHED"), b.status("UDP_ESTABLISHED"))
        assert (await refused(app_a.to(app_b, client_id="a")))[0] == 4412
        for other in ({"encryption_key": "wrong"}, {"label": "other"}):
            code, error = await refused(app_a.to(app_b, client_id="a", takeover=1, **other))
            assert code == 4412
            assert KEY not in error["message"] + error["hint"]
        await a.send_text("alive")
        assert await b.data() == "alive"
