"""The documentation says what the code does: its tables, its examples, the files and tests that it names."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import click
import pytest
from fastapi import FastAPI

from autoprox import cli, srmudp
from autoprox.config import Settings
from autoprox.examples.srmudp_websocket_example import main as talk
from autoprox.routes.protocol import CLOSE_CODES, DOCUMENTATION
from autoprox.utils.srmudp_manager import ConnectionStatus
from docs import tables
from tests.python.bridge_support import HOST, KEY, browsing, make_settings, serving, two_apps

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TOP = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "csrc/README.md")

NAMED_PATH = re.compile(r"`((?:csrc|autoprox|tests|docs|bench)/[\w./-]+)`")
# What a build makes is named too.
MADE = re.compile(r"csrc/build|bench/build|docs/_build")
NAMED_TEST = re.compile(r"`([\w/.]+\.(?:c|h|py))`:\s+((?:`\w+`(?:,\s+)?)+)")
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REQUIREMENT = re.compile(r"\[(R[0-9]+)\]")


# ---- Tables and pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [pytest.param(p, id=str(p.relative_to(DOCS))) for p in tables.pages()])
def test_tables_and_examples_are_those_of_the_code(page: Path) -> None:
    text = page.read_text()
    assert tables.filled(text) == text, "run: python docs/tables.py"


def test_every_table_and_example_is_shown() -> None:
    shown = {match[2] for page in tables.pages() for match in tables.BLOCK.finditer(page.read_text())}
    there = {*tables.TABLES, *(path.name for path in tables.EXAMPLES.iterdir() if path.is_file())}
    assert shown == there


def test_a_block_that_is_never_closed_is_noticed() -> None:
    for page in PAGES:
        text = page.read_text()
        marks = len(re.findall(r"<!-- (?:table|example):", text))
        assert (marks, len(tables.BLOCK.findall(text))) == (text.count("<!-- end -->"), marks), page


def test_a_page_that_is_behind_is_told_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: statuses -->\nold\n<!-- end -->\nbehind\n")
    monkeypatch.setattr(tables, "DOCS", tmp_path)
    assert tables.main(["--check"]) == 1
    assert tables.main([]) == 0
    assert tables.main(["--check"]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("behind\n")
    assert "old" not in text
    assert "`UDP_WAITING`" in text


def test_cells_keep_what_markdown_would_take_for_markup() -> None:
    assert tables.prose("a | b, * or `x*y` <z>") == r"a \| b, \* or `x*y` \<z\>"


# ---- What the tables are made of -----------------------------------------------------------------------------------------


def test_every_status_is_documented() -> None:
    assert set(DOCUMENTATION["server_to_client"]["status"]["statuses"]) == set(ConnectionStatus)


def test_every_setting_is_in_the_guide() -> None:
    page = (DOCS / "guide" / "settings.md").read_text()
    assert {name for name in Settings.model_fields if f"`AUTOPROX_{name.upper()}`" not in page} == set()
    named = set(re.findall(r"AUTOPROX_([A-Z_]+)", page)) - {"HOST", "PORT"}
    assert {name for name in named if name.lower() not in Settings.model_fields} == set()


@pytest.mark.parametrize("page", [pytest.param(p, id=p.stem) for p in sorted((DOCS / "guide").glob("*.md"))])
def test_every_variable_and_code_named_in_the_guide_exists(page: Path) -> None:
    text = page.read_text()
    others = {"HOST", "PORT", "KEY"}  # of the server and the example client
    variables = set(re.findall(r"AUTOPROX_([A-Z_]+)", text)) - others
    assert {name for name in variables if name.lower() not in Settings.model_fields} == set()
    codes = {int(code) for code in re.findall(r"\b(44\d\d|45\d\d)\b", text)}
    assert codes <= set(CLOSE_CODES)


def test_every_option_of_the_commands_shown_exists() -> None:
    commands: tuple[click.Command, ...] = (cli.serve, cli.demo, talk)
    parameters = [item for command in commands for item in command.get_params(click.Context(command))]
    known = {option for item in parameters for option in item.opts}
    shown = {
        option
        for page in (DOCS / "guide").glob("*.md")
        for block in SHELL.findall(page.read_text())
        for line in block.replace("\\\n", " ").splitlines()
        if re.search(r"\bautoprox\b", line)
        for option in re.findall(r"--[a-z][a-z-]+", line)
    }
    assert "--udp-port" in shown
    assert shown - known == set()


def test_the_rule_example_of_the_settings_is_one() -> None:
    page = (DOCS / "guide" / "settings.md").read_text()
    (rules,) = re.findall(r"^AUTOPROX_ALLOW_TARGETS='(.*)'$", page, re.MULTILINE)
    settings = Settings(allow_targets=tuple(rules.split(",")))
    assert settings.target_policy().permits("2001:db8::7", 5500, privileged=False)
    assert not settings.target_policy().permits("203.0.113.9", 39999, privileged=False)


async def test_every_figure_is_in_the_guide() -> None:
    section = (DOCS / "guide" / "python.md").read_text().partition("## Figures")[2].partition("\n## ")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in section.splitlines() if "|" in line]
    async with await srmudp.Endpoint.bind(HOST) as endpoint:
        connection = endpoint.open(HOST, free_udp_port(), key=KEY)
        shown = sorted(name for row in rows for name in row)
        assert shown == sorted([*connection.stats(), *endpoint.stats()])
        await connection.close(0)


# ---- What it names -------------------------------------------------------------------------------------------------------


def all_pages() -> list[Path]:
    return [*PAGES, *(ROOT / name for name in TOP)]


def test_every_file_named_exists() -> None:
    wrong = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in all_pages()
        for name in NAMED_PATH.findall(page.read_text())
        if not MADE.match(name) and not (ROOT / name.rstrip("/")).exists()
    ]
    assert wrong == []


def test_every_test_and_function_named_exists() -> None:
    wrong = []
    for page in all_pages():
        for name, words in NAMED_TEST.findall(page.read_text()):
            source = (ROOT / name).read_text()
            wrong += [
                f"{page.name}: {word} in {name}"
                for word in re.findall(r"\w+", words)
                if not re.search(rf"\b{word}\b", source)
            ]
    assert wrong == []


def test_every_invariant_names_its_place() -> None:
    page = (DOCS / "architecture.md").read_text()
    section = page.partition("## Invariants")[2].partition("\n## ")[0]
    items = re.split(r"^\d+\. ", section, flags=re.MULTILINE)[1:]
    assert len(items) >= 15
    assert [item for item in items if not NAMED_PATH.search(item)] == []


def test_requirements_are_numbered_once_and_cited_as_they_are() -> None:
    text = (DOCS / "protocol.md").read_text()
    numbers = re.findall(r"^(?:- )?\*\*\[(R[0-9]+)\]", text, re.MULTILINE)
    assert sorted(numbers) == sorted(set(numbers))
    assert sorted(int(number[1:]) for number in numbers) == list(range(1, len(numbers) + 1))
    sources = [*ROOT.glob("csrc/*/*.[ch]"), *ROOT.glob("tests/*/*.[ch]"), *all_pages()]
    cited = {number for source in sources for number in REQUIREMENT.findall(source.read_text())}
    assert cited - set(numbers) == set()


def test_the_reading_order_has_every_header() -> None:
    page = (ROOT / "csrc" / "README.md").read_text()
    headers = [
        path.relative_to(ROOT / "csrc")
        for path in ROOT.glob("csrc/*/*.h")
        if path.parent.name in ("include", "core", "nat", "driver", "binding")
    ]
    assert [str(path) for path in headers if f"{path.name}" not in page] == []
    named = set(re.findall(r"`(\w+\.[ch])`", page))
    assert {name for name in named if not list(ROOT.glob(f"csrc/*/{name}"))} == set()


def test_every_decision_is_listed_and_has_its_parts() -> None:
    listed = re.findall(r"^(\d{4}-[\w-]+)$", (DOCS / "adr" / "index.md").read_text(), re.MULTILINE)
    there = sorted(path.stem for path in (DOCS / "adr").glob("0*.md") if not path.stem.startswith("0000"))
    assert listed == there
    for stem in there:
        text = (DOCS / "adr" / f"{stem}.md").read_text()
        assert text.startswith(f"# {stem[:4]}. "), stem
        parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert parts == ["Context", "Options", "Decision", "Price", "Revisit"], stem


# ---- Examples ------------------------------------------------------------------------------------------------------------


def free_udp_port() -> int:
    """A UDP port that nobody has at this moment."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


class Example:
    """An example as a program of its own, with every warning an error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """The next line of its output."""
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            return (await self._process.stdout.readline()).decode().rstrip()

    async def output(self) -> str:
        """What is left of its output, at its end, which must be a good one."""
        async with asyncio.timeout(30):
            output, _ = await self._process.communicate()
        assert self._process.returncode == 0, output.decode()
        return output.decode()


@asynccontextmanager
async def running(name: str, *arguments: object) -> AsyncIterator[Example]:
    """Starts an example; kills it at the end of the block if it still runs."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AUTOPROX_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", tables.EXAMPLES / name, *map(str, arguments),
        env=clean, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


ALONE = {
    "hello.py": "b'hello'\nb'hello yourself'\n",
    "callbacks.py": "ESTABLISHED\nchannel 0, number 0: one\nchannel 0, number 1: two\nchannel 0, number 2: three\n"
    "CLOSED\n",
    "channels.py": "channel 0: 5 bytes\nchannel 7: 8388608 bytes\n",
    "delivery.py": "consumed\nnot consumed: [b'second']\n",
    "blocking.py": "you said hello\n",
}


@pytest.mark.parametrize("name", ALONE)
async def test_an_example_alone(name: str) -> None:
    async with running(name) as example:
        assert await example.output() == ALONE[name]


async def test_the_manager_example() -> None:
    async with running("manager.py", free_udp_port(), free_udp_port()) as example:
        expected = ["CONNECTED", "UDP_WAITING", "UDP_ESTABLISHED", "b'hello'", "DISCONNECTED"]
        assert (await example.output()).splitlines() == expected


async def test_the_echo_examples() -> None:
    async with running("echo_server.py", 0) as server:
        port = (await server.line()).rpartition(" ")[2]
        async with running("echo_client.py", HOST, port) as client:
            assert await client.output() == "message 0\nmessage 1\nmessage 2\n"


async def test_the_meeting_example() -> None:
    a, b = free_udp_port(), free_udp_port()
    async with running("meet.py", a, HOST, b) as one, running("meet.py", b, HOST, a) as other:
        outputs = await asyncio.gather(one.output(), other.output())
    assert list(outputs) == [f"greetings from port {b}\n", f"greetings from port {a}\n"]


async def test_the_websocket_client_example() -> None:
    async with two_apps() as (a, b):
        arguments = (a.url(), a.udp_port, b.url(), b.udp_port)
        async with running("websocket_client.py", *arguments) as example:
            assert await example.output() == "'hello'\nb'\\x00\\x00\\x00'\n"


async def test_the_plain_websocket_example() -> None:
    async with (
        two_apps() as (a, b),
        browsing(b.to(a, encryption_key=KEY)) as far,
        running("websocket_plain.py", a.url(), b.udp_port) as example,
    ):
        assert await far.data() == "hello"
        lines = (await example.output()).splitlines()
    assert lines[0] == "CONNECTED"
    assert lines[-2:] == ["UDP_ESTABLISHED", "the far client was given message 1"]


async def test_the_mounting_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPROX_UDP_HOST", HOST)
    names: dict[str, object] = {"__name__": "mounted"}
    exec((tables.EXAMPLES / "mounted.py").read_text(), names)  # the guide's own code
    app = names["app"]
    assert isinstance(app, FastAPI)
    async with serving(app, settings=make_settings()) as server:
        assert (await server.get("/")).json() == {"bridge": "/bridge/v0/ws/proxy"}
        path = "/bridge/v0/ws/connections"
        assert (await server.get(path)).status_code == 401
        assert (await server.get(path, cookie="session=one that you know")).json() == []


@pytest.mark.timeout(300)
def test_the_c_example(tmp_path: Path) -> None:
    library = Path("build", "pytest", "libsrmudp.a")
    subprocess.run(
        ["make", "--silent", "O=build/pytest", str(library)],
        cwd=ROOT / "csrc",
        check=True,
        capture_output=True,
    )
    libraries = subprocess.run(
        ["pkg-config", "--libs", "libuv", "libsodium"], check=True, capture_output=True, text=True
    ).stdout.split()
    program = tmp_path / "hello"
    source = tables.EXAMPLES / "hello.c"
    include = ROOT / "csrc" / "include"
    command: list[str | Path] = [
        "cc",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{include}",
        source,
        ROOT / "csrc" / library,
    ]
    subprocess.run([*command, *libraries, "-lpthread", "-lm", "-o", program], check=True)
    result = subprocess.run([program], check=True, capture_output=True, text=True, timeout=30)
    assert result.stdout == "somebody proved the key\nhello\n"


def test_every_python_example_is_run() -> None:
    """By name: whoever adds one adds its test."""
    own = Path(__file__).read_text()
    names = {path.name for path in tables.EXAMPLES.iterdir() if path.is_file()}
    assert {name for name in names if f'"{name}"' not in own} == set()
