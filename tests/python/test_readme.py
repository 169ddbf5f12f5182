"""README's commands, snippets and tables are what the code does."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi import FastAPI

from autoprox import srmudp
from autoprox.cli import main
from autoprox.routes.protocol import CLOSE_CODES
from tests.python.bridge_support import HOST, App, Browser, browsing, process, serving, two_apps

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KEY = "a shared secret"


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return [code for name, code in BLOCK.findall(README.read_text()) if name == language]


def snippet(marker: str) -> str:
    """The one Python block that holds this."""
    (found,) = [code for code in blocks("python") if marker in code]
    return found


async def run_snippet(code: str) -> str:
    """Runs it as a program; what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPROX_")}
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        code,
        env=clean,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        output, _ = await program.communicate()
    assert program.returncode == 0, output.decode()
    return output.decode()


def aimed(code: str, app: App, peer_port: int) -> str:
    """The snippet, with the test's bridge and peer in place of the example's."""
    for old, new in (
        ("127.0.0.1:8000", f"{HOST}:{app.port}"),
        ("203.0.113.5", HOST),
        ("40000", str(peer_port)),
    ):
        assert old in code
        code = code.replace(old, new)
    return code


async def greet(browser: Browser) -> list[str | bytes]:
    """Answers the first message; what came."""
    first = await browser.data()
    await browser.send_text("answer from the peer")
    return [first]


# ---- The first screen ----------------------------------------------------------------------------------------------------


def test_the_two_commands_come_first() -> None:
    first = shlex.split(blocks("sh")[0], comments=True)
    assert first == ["./dev", "demo", "./dev", "test"]
    assert (README.parent / "dev").stat().st_mode & 0o111


async def test_the_demo_shows_what_is_printed_here() -> None:
    async with process("autoprox", "demo") as running:
        async with asyncio.timeout(50):
            assert await running.ended() == 0, running.log
    assert "\x1b" not in running.log  # no terminal, no cursor movements
    shown = blocks("text")[0]
    assert _without_numbers(running.log) == _without_numbers(shown)


def _without_numbers(text: str) -> list[str]:
    return [re.sub(r"[0-9]+(\.[0-9]+)?", "N", line) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("command", [["--help"], ["serve", "--help"], ["demo", "--help"]])
def test_the_verbs_named_are_there(command: list[str]) -> None:
    assert CliRunner().invoke(main, command).exit_code == 0


# ---- Snippets ------------------------------------------------------------------------------------------------------------


async def test_the_websocket_snippet() -> None:
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a, encryption_key=KEY)) as b:
        program = asyncio.create_task(
            run_snippet(aimed(snippet("additional_headers"), app_a, app_b.udp_port))
        )
        assert await greet(b) == ["hello"]
        assert "answer from the peer" in await program


async def test_the_client_snippet() -> None:
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a, encryption_key=KEY), v1=True) as b:
        program = asyncio.create_task(
            run_snippet(aimed(snippet("SRMUDPWebSocketClient"), app_a, app_b.udp_port))
        )
        assert await b.data() == "hello"
        assert await b.data() == b"\0\1"
        await b.send_text("answer from the peer")
        assert await program == "answer from the peer\n"


async def test_the_program_of_the_shell_snippet() -> None:
    (line,) = [code for code in blocks("sh") if "srmudp_websocket_example" in code]
    async with two_apps() as (app_a, app_b), browsing(app_b.to(app_a, encryption_key=KEY)) as b:
        command = shlex.split(line.replace("203.0.113.5", HOST).replace("40000", str(app_b.udp_port)))
        assert command[0] == "python"
        async with process(*command[2:], "--ws-url", app_a.url()):
            await b.status("UDP_ESTABLISHED")


async def test_the_fastapi_snippet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPROX_UDP_HOST", HOST)
    names: dict[str, object] = {}
    exec(snippet("include_router"), names)  # the README's own code
    host_app = names["app"]
    assert isinstance(host_app, FastAPI)
    async with serving(host_app) as app, serving() as other:
        info = (await app.get("/bridge/v0/ws/info")).json()
        port = int(info["udp_connection_info"].rpartition(":")[2])
        async with (
            browsing(app.to(other).replace("/v0", "/bridge/v0", 1)) as a,
            browsing(other.to(port)) as b,
        ):
            await asyncio.gather(a.status("UDP_ESTABLISHED"), b.status("UDP_ESTABLISHED"))


async def test_the_transport_snippet() -> None:
    async with await srmudp.Endpoint.bind(HOST) as endpoint, endpoint.listen(key=KEY) as listener:
        code = snippet("srmudp.Endpoint.bind").replace("port=40000", "port=0").replace("203.0.113.5", HOST)
        assert "40000" in code
        code = code.replace("40000", str(endpoint.local_address[1]))
        program = asyncio.create_task(run_snippet(code))
        async with asyncio.timeout(20):
            connection = await listener.accept()
            assert await connection.receive() == b"hello"
            await connection.send(b"answer from the peer")
        assert await program == "b'answer from the peer'\n"


# ---- The table -----------------------------------------------------------------------------------------------------------


def test_the_close_codes_are_the_table() -> None:
    lines = re.findall(r"^\| (\d{4}) \| (.*) \| (yes|no) \|$", README.read_text(), re.MULTILINE)
    assert lines == [
        (str(int(code)), info.meaning, "yes" if info.retry else "no") for code, info in CLOSE_CODES.items()
    ]
