"""``autoprox demo``, and the bad network it has in a box."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from click.testing import CliRunner

from autoprox import demo
from autoprox.cli import main
from autoprox.demo_link import LossyLink, Weather
from tests.python.bridge_support import HOST, process


async def test_check_passes_and_shows_a_line_for_each_step() -> None:
    async with process("autoprox", "demo", "--check") as running:
        async with asyncio.timeout(50):
            assert await running.ended() == 0, running.log
        lines = running.log.splitlines()
        assert [line[:8] for line in lines] == [f"ok   {step}/4" for step in range(1, 5)]


def test_a_link_that_carries_nothing_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "Weather", lambda: Weather(loss=1.0))
    monkeypatch.setattr(demo, "TIME_LIMIT", 3.0)
    result = CliRunner().invoke(main, ["demo", "--check"])
    assert result.exit_code == 1
    assert "FAIL" in result.output
    assert "Traceback" not in result.output


# ---- The link --------------------------------------------------------------------------------------------------------------


class Sink(asyncio.DatagramProtocol):
    """A UDP socket that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def datagram_received(self, data: bytes, _: Any) -> None:
        """Keeps it."""
        self.got.append(data)


async def carry(weather: Weather, seed: int, count: int = 500) -> tuple[list[bytes], LossyLink]:
    """What comes out of a link at B when A sends so many numbers."""
    loop = asyncio.get_running_loop()
    (a, _), (b, sink) = [await loop.create_datagram_endpoint(Sink, local_addr=(HOST, 0)) for _ in range(2)]
    link = LossyLink(weather, seed)
    left, _ = await link.open(a.get_extra_info("sockname"), b.get_extra_info("sockname"))
    for number in range(count):
        a.sendto(str(number).encode(), left)
        if number % 50 == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    link.close()
    a.close()
    b.close()
    return sink.got, link


async def test_a_clear_link_changes_nothing() -> None:
    got, link = await carry(Weather(loss=0, delay=0, duplication=0, reordering=0), 1)
    assert sorted(map(int, got)) == list(range(500))
    assert link.counts.lost == link.counts.duplicated == link.counts.reordered == 0


async def test_bad_weather_loses_doubles_and_reorders() -> None:
    got, link = await carry(Weather(loss=0.2, delay=0.001, duplication=0.1, reordering=0.1), 1)
    assert 300 < len(set(got)) < 470
    assert len(got) > len(set(got))
    assert got != sorted(got, key=int)
    assert link.counts.lost + len(set(got)) == 500
    assert link.counts.carried == len(got)


async def test_the_same_seed_is_the_same_fate() -> None:
    weather = Weather(loss=0.2, delay=0, duplication=0, reordering=0)
    (one, _), (two, _), (other, _) = [await carry(weather, seed, 40) for seed in (7, 7, 8)]
    assert set(one) == set(two) != set(other)


async def test_a_link_that_is_down_carries_nothing() -> None:
    loop = asyncio.get_running_loop()
    transport, sink = await loop.create_datagram_endpoint(Sink, local_addr=(HOST, 0))
    address = transport.get_extra_info("sockname")
    link = LossyLink(Weather(loss=0, delay=0, duplication=0, reordering=0))
    left, _ = await link.open(address, address)
    link.down = True
    transport.sendto(b"x", left)
    await asyncio.sleep(0.05)
    assert (sink.got, link.counts.blocked) == ([], 1)
    link.close()
    transport.close()
