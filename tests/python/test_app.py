"""The whole app and its parts in other apps: HTTP routes, prefixes, twice, mounted below, workers, signals, logs."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import HTTPConnection

import autoprox
from autoprox.routes.hub import Hub
from autoprox.routes.protocol import CLOSE_CODES, PARAMETERS
from autoprox.routes.websocket import create_router, router
from tests.python.bridge_support import (
    HOST,
    KEY,
    App,
    Browser,
    Elsewhere,
    autoprox_serve,
    browsing,
    establish,
    make_settings,
    process,
    serving,
    two_apps,
)


async def converse(url_a: str, url_b: str) -> None:
    """Two bridges by their addresses: they meet, and text goes both ways."""
    async with browsing(url_a) as a, browsing(url_b) as b:
        await establish(a, b)
        await a.send_text("there")
        assert await b.data() == "there"
        await b.send_text("and back")
        assert await a.data() == "and back"


# ---- HTTP ----------------------------------------------------------------------------------------------------------------


async def test_health() -> None:
    async with serving() as app:
        answer = await app.get("/v0/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_info_documents_everything() -> None:
    async with serving() as app:
        info = (await app.get("/v0/ws/info")).json()
        assert info["websocket_url"] == "/v0/ws/proxy"
        assert info["parameters"] == PARAMETERS
        assert info["udp_connection_info"] == f"udp://{HOST}:{app.udp_port}"
        assert info["limits"]["max_message_size"] == app.settings.max_message_size
        assert info["limits"]["websocket_max_size"] == app.settings.websocket_max_size
        documentation = info["documentation"]
        assert set(documentation["close_codes"]) == {str(int(code)) for code in CLOSE_CODES}
        assert {"status", "data", "ack", "notice", "error", "stats"} <= documentation[
            "server_to_client"
        ].keys()
        assert {"data", "command", "received", "open"} <= documentation["client_to_server"].keys()


async def test_info_tells_those_who_may_not_use_the_bridge_no_address() -> None:
    async with serving(token="t") as app:
        assert (await app.get("/v0/ws/info")).json()["udp_connection_info"] is None
        shown = (await app.get("/v0/ws/info", authorization="Bearer t")).json()
        assert shown["udp_connection_info"] == f"udp://{HOST}:{app.udp_port}"


async def test_connections_show_each_bridge_and_never_a_key() -> None:
    async with two_apps() as (app_a, app_b):
        assert await app_a.connections() == []
        async with browsing(app_a.to(app_b, client_id="alice")) as a, browsing(app_b.to(app_a)) as b:
            await establish(a, b)
            await a.send_text("12345", id=1)
            await a.until("ack")
            answer = await app_a.get("/v0/ws/connections")
            (shown,) = answer.json()
            assert shown["connection_id"] == f"alice_{HOST}_{app_b.udp_port}"
            assert (shown["remote_host"], shown["remote_port"]) == (HOST, app_b.udp_port)
            assert (shown["status"], shown["path"]) == ("UDP_ESTABLISHED", "direct")
            assert shown["rtt_ms"] > 0
            assert (shown["messages_sent"], shown["bytes_sent"]) == (1, 5)
            assert (shown["messages_received"], shown["bytes_received"]) == (0, 0)
            assert shown["dropped_forged"] == shown["dropped_replayed"] == shown["dropped_malformed"] == 0
            assert KEY not in answer.text
            assert KEY.split()[1] not in answer.text


async def test_connections_need_the_token() -> None:
    async with serving(token="t") as app:
        denied = await app.get("/v0/ws/connections")
        assert (denied.status_code, denied.json()["code"]) == (401, "not_authorised")
        assert (await app.get("/v0/ws/connections", authorization="Bearer t")).json() == []
        assert (await app.get("/v0/ws/connections", host="evil.example")).status_code == 403


async def test_openapi_and_docs() -> None:
    async with serving() as app:
        document = (await app.get("/v0/openapi.json")).json()
        assert set(document["paths"]) == {"/v0/health", "/v0/ws/info", "/v0/ws/connections"}
        assert all(
            operation["description"] for path in document["paths"].values() for operation in path.values()
        )
        assert document["info"]["version"]
        assert "swagger" in (await app.get("/v0/docs")).text


# ---- In other apps ---------------------------------------------------------------------------------------------------------


async def test_the_router_below_a_prefix() -> None:
    settings = make_settings()
    host_app = FastAPI()
    host_app.include_router(create_router(settings), prefix="/bridge")
    async with serving(host_app, settings=settings) as app, serving() as other:
        info = (await app.get("/bridge/v0/ws/info")).json()
        assert info["websocket_url"] == "/bridge/v0/ws/proxy"
        url = app.to(other).replace("/v0/", "/bridge/v0/", 1)
        await converse(url, other.to(app))
        assert (await app.get("/v0/health")).status_code == 404


async def test_the_router_twice_shares_one_port() -> None:
    settings = make_settings()
    host_app = FastAPI()
    host_app.include_router(create_router(settings), prefix="/one")
    host_app.include_router(create_router(settings), prefix="/two")
    async with serving(host_app, settings=settings) as app, serving() as other:
        one, two = [(await app.get(f"/{name}/v0/ws/info")).json() for name in ("one", "two")]
        assert one["udp_connection_info"] == two["udp_connection_info"] == f"udp://{HOST}:{app.udp_port}"
        async with browsing(app.to(other).replace("/v0/", "/one/v0/", 1)) as a:
            await a.status("UDP_WAITING")
            assert len((await app.get("/two/v0/ws/connections")).json()) == 1


async def test_the_same_router_twice_and_in_a_router() -> None:
    settings = make_settings()
    ours, outer, host_app = create_router(settings), APIRouter(), FastAPI()
    outer.include_router(ours, prefix="/deep")
    host_app.include_router(outer, prefix="/er")
    host_app.include_router(ours)
    async with serving(host_app, settings=settings) as app, serving() as other:
        await converse(app.to(other).replace("/v0/", "/er/deep/v0/", 1), other.to(app))
        await converse(app.to(other), other.to(app))


async def test_mounted_below_another_app_it_starts_with_the_first_bridge() -> None:
    settings = make_settings()
    outer = FastAPI()
    outer.mount("/sub", autoprox.create_app(settings))
    async with serving(outer, settings=settings) as app, serving() as other:
        assert app.hub.udp_addresses == []
        assert (await app.get("/sub/v0/health")).json() == {"status": "ok"}
        async with browsing(app.to(other).replace("/v0/", "/sub/v0/", 1)) as a:
            port = (await a.status("CONNECTED"))["local_port"]
            info = (await app.get("/sub/v0/ws/info")).json()
            assert info["websocket_url"] == "/sub/v0/ws/proxy"
            assert info["udp_connection_info"] == f"udp://{HOST}:{port}"
            async with browsing(other.to(port)) as b:
                await establish(a, b)
        await app.hub.close()  # what the loop's end does: see the next test


def test_mounted_below_another_app_it_ends_with_the_loop() -> None:
    settings = make_settings()

    async def main() -> int:
        hub = Hub.current(settings)
        await hub.start()
        return hub.udp_addresses[0][1]

    port = asyncio.run(main())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, port))


async def test_a_host_apps_own_authorisation() -> None:
    def authorize(connection: HTTPConnection) -> bool:
        return connection.headers.get("x-user") == "alice"

    settings = make_settings()
    host_app = FastAPI()
    host_app.include_router(create_router(settings, authorize=authorize))
    async with serving(host_app, settings=settings) as app:
        assert (await app.get("/v0/ws/connections")).status_code == 401
        assert (await app.get("/v0/ws/connections", **{"x-user": "alice"})).json() == []
        async with browsing(app.to(9), additional_headers={"X-User": "alice"}) as a:
            await a.status("UDP_WAITING")


async def test_a_host_apps_own_limit_is_shown_and_kept() -> None:
    settings = make_settings()
    host_app = FastAPI()
    host_app.include_router(create_router(settings))
    async with serving(host_app, settings=settings) as app:
        app.server.config.ws_max_size = 1000
        assert (await app.get("/v0/ws/info")).json()["limits"]["websocket_max_size"] == 1000
        async with browsing(app.to(9)) as a:
            await a.status("UDP_WAITING")
            await a.send("x" * 2000)
            assert (await a.closed())[0] == 1009


def test_the_ready_made_router_reads_the_environment_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it neither binds a port nor reads a setting."""
    monkeypatch.setenv("AUTOPROX_GRACE", "nonsense")
    assert [route.path for route in router.routes] == ["/v0/ws/proxy", "/v0/ws/info", "/v0/ws/connections"]  # type: ignore[attr-defined]
    create_router()
    autoprox.create_app()


# ---- Processes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["reading", "stuck", "idle"])
async def test_sigterm_ends_the_server_fast_with_clients_connected(way: str) -> None:
    async with autoprox_serve() as (server, app), browsing(app.to(9, receipts=1), max_queue=1) as a:
        await a.status("UDP_WAITING")
        if way == "stuck":  # its data waits for a peer that isn't there, so the server reads it no more
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    while True:
                        await a.send(bytes(1 << 20))
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        if way == "reading":
            assert (await a.closed())[0] == 1012
        await server.ended()
        limit = 5 if way == "stuck" else 3  # what it had accepted is still tried to be delivered
        assert time.monotonic() - began < limit


async def test_a_server_that_ends_tells_its_clients_what_was_lost() -> None:
    async with autoprox_serve() as (server, app), browsing(app.to(9)) as a:
        await a.status("UDP_WAITING")
        for number in range(3):
            await a.send({"type": "data", "format": "text", "data": "nobody gets this", "id": number})
        await a.send({"type": "command", "command": "stats"})
        await a.until("stats")
        server.process.send_signal(signal.SIGTERM)
        notice = await a.until("notice")
        assert (notice["code"], notice["count"], notice["ids"]) == ("undelivered", 3, [0, 1, 2])
        assert (await a.closed())[0] == 1012
        await server.ended()


def test_a_udp_port_in_use_is_one_clear_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((HOST, 0))
        port = holder.getsockname()[1]
        command = ["autoprox", "serve", "--port", "0", "--udp-host", HOST, "--udp-port", str(port)]
        result = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=30, check=False
        )
    assert result.returncode != 0
    assert f"UDP port {port} is in use" in result.stderr
    assert "Traceback" not in result.stderr


async def test_no_key_or_token_is_in_any_log() -> None:
    secret, token = "hunter2-s3cr3t", "t0ken-of-the-app"
    async with autoprox_serve("--log-level", "trace", AUTOPROX_TOKEN=token) as (server, app):
        bearer: dict[str, Any] = {"additional_headers": {"Authorization": f"Bearer {token}"}}
        async with browsing(app.to(9, encryption_key=secret), **bearer) as a:
            await a.status("UDP_WAITING")
        async with browsing(app.to(9, encryption_key=None), additional_headers={
            "Authorization": f"Bearer {token}", "X-Autoprox-Key": secret,
        }) as a:  # fmt: skip
            await a.status("UDP_WAITING")
        async with browsing(app.to(9, encryption_key=None), **bearer) as a:
            await a.send({"type": "open", "encryption_key": secret})
            await a.status("UDP_WAITING")
            await a.send({"type": "open", "encryption_key": secret})
            await a.until("error")
        async with browsing(app.to(9, encryption_key=secret, remote_port="0"), **bearer) as a:
            await a.closed()
        await server.until(r"remote_port=0")
        server.process.send_signal(signal.SIGTERM)
        await server.ended()
        assert "/v0/ws/proxy?" in server.log  # it does log queries
        assert "[redacted]" in server.log
        assert secret not in server.log
        assert token not in server.log


async def test_two_workers_are_two_bridges() -> None:
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    command = ("uvicorn", "autoprox.main:app", "--workers", "2", "--port", str(port), "--host", HOST)
    async with process(*command, AUTOPROX_UDP_HOST=HOST) as server, serving() as other:
        for _ in range(2):
            await server.until(r"(?s)(startup complete.*){2}")
        app = Elsewhere(port, 0)
        ports = set()
        for _ in range(6):
            async with browsing(app.to(other)) as a:
                ports.add((await a.status("CONNECTED"))["local_port"])
                await converse_with(a, other)
        assert 1 <= len(ports) <= 2
        server.process.send_signal(signal.SIGTERM)
        await server.ended()


async def converse_with(a: Browser, other: App) -> None:
    """Text from a bridge whose client is `a`, to a client of the other app."""
    local_port = a.frames[-1]["local_port"]
    async with browsing(other.to(local_port)) as b:
        await establish(a, b)
        await a.send_text("hi")
        assert await b.data() == "hi"


async def test_a_fixed_port_and_a_second_worker() -> None:
    async with serving() as taken:
        command = ("uvicorn", "autoprox.main:app", "--port", "0", "--host", HOST)
        async with process(*command, AUTOPROX_UDP_HOST=HOST, AUTOPROX_UDP_PORT=str(taken.udp_port)) as server:
            told = await server.until(r"PortInUse: (.*)")
            assert "another worker" in told[1]
            assert str(taken.udp_port) in told[1]
            assert await server.ended() == 3


async def test_a_killed_app_and_its_successor() -> None:
    """SIGKILL under load: the other side tells so, and goes on with the process that comes in its place."""
    async with serving() as here, AsyncExitStack() as stack:
        async with autoprox_serve() as (server, there):
            a = await stack.enter_async_context(browsing(here.to(there)))
            b = await stack.enter_async_context(browsing(there.to(here)))
            await establish(a, b)
            for number in range(100):
                await a.send_text(f"before {number}")
            assert await b.data() == "before 0"
            server.process.kill()
            await server.ended()
        await a.send_text("while it is dead")
        async with autoprox_serve("--udp-port", str(there.udp_port)) as (_, again):
            c = await stack.enter_async_context(browsing(again.to(here)))
            await c.status("UDP_ESTABLISHED")
            await a.status("RECONNECTING")
            established = await a.status("UDP_ESTABLISHED")
            assert established["reason"] == "peer_restarted"
            while await c.data() != "while it is dead":
                pass
            await a.send_text("after")
            assert await c.data() == "after"
            notices = [frame for frame in a.frames if frame["type"] == "notice"]
            while not notices:
                notices = [await a.until("notice")]
            assert notices[0]["code"] == "peer_restarted"
            assert notices[0]["count"] >= 1
        texts = [frame["data"] for frame in c.frames if frame["type"] == "data"]
        assert len(texts) == len(set(texts))
        assert [text for text in texts if text.startswith("before")] == sorted(
            (text for text in texts if text.startswith("before")), key=lambda text: int(text.split()[1])
        )
