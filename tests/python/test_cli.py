"""The command ``autoprox``: its help, its errors, and what ``serve`` prints."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from autoprox.cli import main
from autoprox.config import Settings
from tests.python.bridge_support import HOST, autoprox_serve, browsing, process


def run(*arguments: str, **environment: str) -> Result:
    """Runs the command within this process."""
    return CliRunner().invoke(main, arguments, env=environment)


def test_help_names_the_verbs() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "serve" in result.output
    assert "demo" in result.output


def test_help_of_serve_has_an_option_for_every_setting() -> None:
    result = run("serve", "--help")
    assert result.exit_code == 0
    for name in (*Settings.model_fields, "host", "port", "reload"):
        assert f"--{name.replace('_', '-')}" in result.output


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert re.search(r"\d+\.\d+", result.output)


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (("serve", "--grace", "soon"), {}, ("--grace", "AUTOPROX_GRACE")),
        (("--udp-port", "70000"), {}, ("--udp-port",)),
        ((), {"AUTOPROX_UDP_PORT": "x"}, ("--udp-port", "AUTOPROX_UDP_PORT")),
        (("serve", "--allow-targets", "10.0.0.0/99"), {}, ("--allow-targets", "10.0.0.0/99")),
        (("serve", "--receive-buffer", "5"), {}, ("receive_buffer",)),
        (("serve", "--port", "70000"), {}, ("--port",)),
        (("dance",), {}, ("dance",)),
        (("serve", "--nonsense"), {}, ("--nonsense",)),
    ],
)
def test_a_mistake_is_named(
    arguments: tuple[str, ...], environment: dict[str, str], named: tuple[str, ...]
) -> None:
    result = run(*arguments, **environment)
    assert result.exit_code == 2
    assert all(name in result.output for name in named)


def test_a_token_is_not_repeated() -> None:
    result = run("serve", "--token", "hunter2", "--grace", "soon")
    assert "hunter2" not in result.output


def test_a_taken_tcp_port_is_told() -> None:
    with socket.create_server((HOST, 0)) as taken:
        result = run("serve", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 1
    assert str(taken) not in result.output
    assert "--port" in result.output


def test_help_is_quick() -> None:
    """What a verb needs is imported when it runs."""
    code = "import sys, autoprox.cli; sys.exit(bool({'fastapi', 'uvicorn', 'pydantic', 'autoprox._srmudp'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_serve_prints_where_it_is_and_what_to_do() -> None:
    async with autoprox_serve() as (server, app):
        await server.until(r"Stop with Ctrl-C")
        assert "AUTOPROX_TOKEN" not in server.log
        assert f"ws://{HOST}:{app.port}/v0/ws/proxy" in server.log
        assert f"http://{HOST}:{app.port}/v0/docs" in server.log
        assert f"UDP port    {app.udp_port}" in server.log
        assert "srmudp_websocket_example" in server.log
        assert (await app.get("/v0/health")).json() == {"status": "ok"}
        async with browsing(app.to(9)) as a:
            await a.status("UDP_WAITING")
        server.process.send_signal(signal.SIGINT)
        assert await server.ended() == 0


async def test_without_a_verb_it_serves_and_the_environment_counts() -> None:
    async with process(
        "autoprox", AUTOPROX_PORT="0", AUTOPROX_UDP_HOST=HOST, AUTOPROX_HOST="localhost"
    ) as server:
        await server.until(r"ws://localhost:\d+/v0/ws/proxy")
        server.process.send_signal(signal.SIGTERM)
        await server.ended()


async def test_serving_others_without_a_token_is_warned_about() -> None:
    async with autoprox_serve("--host", "0.0.0.0") as (server, _):
        await server.until(r"Set AUTOPROX_TOKEN")
    async with autoprox_serve("--host", "0.0.0.0", AUTOPROX_TOKEN="t") as (server, _):
        await server.until(r"Stop with")
        assert "Set AUTOPROX_TOKEN" not in server.log


async def test_a_taken_udp_port_ends_the_start_with_words() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        async with process(
            "autoprox", "serve", "--port", "0", "--udp-host", HOST, "--udp-port", str(port)
        ) as server:
            assert await server.ended() == 3
            assert f"UDP port {port} is in use" in server.log


async def test_reload_serves_too() -> None:
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    async with process("autoprox", "serve", "--reload", "--port", str(port), "--udp-host", HOST) as server:
        await server.until(r"Application startup complete")
        server.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            await server.ended()
