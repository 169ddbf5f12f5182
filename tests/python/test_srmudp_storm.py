"""Everything at once: loss, doubled packets, outages, reconnections, cancelled calls, both directions, three channels.

    a ──── Link: loses, doubles, is cut now and then ──── b          each: speaks, hears, may reconnect()

What was accepted arrives once and in order, and nothing else arrives. A seed fixes who does what, not when.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import TypeVar

import pytest

from autoprox import srmudp
from tests.python.srmudp_helpers import Link, linked_pair

SECONDS = 3.0
CHANNELS = range(3)
SIZES = (0, 1, 100, 1400, 5000, 100_000)
END = b"end"
_T = TypeVar("_T")


class Storm:
    """What may happen, and when it is over."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.end = time.monotonic() + SECONDS

    @property
    def rages(self) -> bool:
        return time.monotonic() < self.end

    async def perhaps_cancel(self, task: asyncio.Task[_T], patience: float) -> _T | None:
        """The task's result, or None when it was cancelled."""
        if self.random.random() < 0.1:
            await asyncio.sleep(self.random.random() * patience)
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return None


async def speak(storm: Storm, me: srmudp.Connection) -> Counter[int]:
    """Sends numbered messages; how many were accepted, by channel."""
    accepted: Counter[int] = Counter()
    while storm.rages:
        channel = storm.random.choice(CHANNELS)
        data = b"%d:" % accepted[channel] + bytes(storm.random.choice(SIZES))

        async def send(channel: int = channel, data: bytes = data) -> bool:
            await me.send(data, channel=channel)
            return True

        if await storm.perhaps_cancel(asyncio.create_task(send()), 0.01):
            accepted[channel] += 1
    for channel in CHANNELS:
        await me.send(END, channel=channel)
    return accepted


async def hear(storm: Storm, me: srmudp.Connection) -> Counter[int]:
    """Receives until the end of all channels; how many came, each in its turn."""
    heard: Counter[int] = Counter()
    ends = 0
    while ends < len(CHANNELS):
        message = await storm.perhaps_cancel(asyncio.create_task(me.receive_message()), 0.002)
        if message is None:
            continue
        if message.data == END:
            ends += 1
            continue
        assert int(message.data.partition(b":")[0]) == heard[message.channel]
        heard[message.channel] += 1
    return heard


async def rage(storm: Storm, link: Link, connections: tuple[srmudp.Connection, srmudp.Connection]) -> None:
    while storm.rages:
        link.loss = storm.random.choice((0, 0, 0.02, 0.1))
        link.duplication = storm.random.choice((0, 0.05))
        if storm.random.random() < 0.15:
            link.cut = True
            await asyncio.sleep(storm.random.random() * 1.5)
            link.cut = False
        if storm.random.random() < 0.2:
            storm.random.choice(connections).reconnect()
        await asyncio.sleep(0.2)
    link.loss = link.duplication = 0


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm(seed: int) -> None:
    limits = {"send_buffer": 300_000, "receive_buffer": 300_000, "max_message_size": 200_000}
    haste = {"liveness": 1.0, "liveness_in_flight": 0.5, "keepalive_interval": 0.5, "reconnect_delay": 0.1}
    async with linked_pair(**limits, **haste) as (a, b, link):
        storm = Storm(seed)
        async with asyncio.timeout(SECONDS + 40):
            to_b, to_a, from_a, from_b, _ = await asyncio.gather(
                speak(storm, a), speak(storm, b), hear(storm, b), hear(storm, a), rage(storm, link, (a, b))
            )
        assert (from_a, from_b) == (to_b, to_a)
        await asyncio.gather(a.drain(10), b.drain(10))
