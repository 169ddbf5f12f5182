"""Messages: what goes in comes out, once, in order, and nobody waits longer than needed."""

from __future__ import annotations

import array
import asyncio
import hashlib
import random

import pytest

from autoprox import srmudp
from tests.python.srmudp_helpers import linked_pair, pair, take_events, until

BOTH_LOOPS = True
MIB = 1 << 20


async def test_all_kinds_of_data() -> None:
    async with pair() as (a, b):
        for data in (b"bytes", bytearray(b"array"), memoryview(b"a view")[2:], array.array("H", [1, 2])):
            await a.send(data)
            assert await b.receive() == bytes(data)
        await a.send("text: ü𝄞")
        message = await b.receive_message()
        assert message == srmudp.Message("text: ü𝄞".encode(), is_text=True, number=4)
        assert not message.maybe_duplicate


async def test_empty_messages_are_messages() -> None:
    async with pair() as (a, b):
        await a.send(b"")
        await a.send("")
        first, second = await b.receive_message(), await b.receive_message()
        assert (first.data, first.is_text, first.number) == (b"", False, 0)
        assert (second.data, second.is_text, second.number) == (b"", True, 1)


async def test_what_is_no_message() -> None:
    async with pair() as (a, b):
        with pytest.raises(TypeError, match="str or bytes-like"):
            await a.send(5)  # type: ignore[arg-type]
        with pytest.raises(BufferError):
            await a.send(memoryview(b"abcd")[::2])
        with pytest.raises(UnicodeEncodeError):
            await a.send("\ud800")
        for channel in (-1, 256):
            with pytest.raises(ValueError, match="channel must be from 0 to 255"):
                await a.send(b"x", channel=channel)
        await a.send(b"still there")
        assert await b.receive() == b"still there"


async def test_sizes_up_to_the_limit() -> None:
    source = random.Random(7)
    sizes = [1, 1100, 1500, 65_535, 65_536, 262_143, 262_144, MIB, 16 * MIB]
    async with pair() as (a, b):
        for size in sizes:
            data = source.randbytes(size)
            await a.send(data)
            assert hashlib.sha256(await b.receive()).digest() == hashlib.sha256(data).digest()
        await a.drain(10)


async def test_a_message_too_large_changes_nothing() -> None:
    async with pair(max_message_size=1000, receive_buffer=100_000) as (a, b):
        with pytest.raises(srmudp.MessageTooLarge, match="max_message_size"):
            await a.send(bytes(1001))
        await a.send(bytes(1000))
        assert len(await b.receive()) == 1000


async def test_order_within_each_channel() -> None:
    async with pair() as (a, b):
        for number in range(2000):
            await a.send(str(number), channel=number % 256)
        seen: dict[int, list[int]] = {}
        for _ in range(2000):
            message = await b.receive_message()
            seen.setdefault(message.channel, []).append(int(message.data))
            assert message.number == len(seen[message.channel]) - 1
        assert seen == {channel: list(range(channel, 2000, 256)) for channel in range(256)}


async def test_both_directions_at_once() -> None:
    async def talk(me: srmudp.Connection) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(speak(me))
            for number in range(5000):
                assert int(await me.receive()) == number

    async def speak(me: srmudp.Connection) -> None:
        for number in range(5000):
            await me.send(str(number))
        await me.drain(20)

    async with pair() as (a, b):
        await asyncio.gather(talk(a), talk(b))


async def test_over_a_bad_link_everything_arrives_once_and_in_order() -> None:
    async with linked_pair() as (a, b, link):
        link.loss, link.duplication = 0.05, 0.02
        sent = [random.Random(n).randbytes(n % 3000) for n in range(1500)]

        async def speak() -> None:
            for data in sent:
                await a.send(data)

        async with asyncio.TaskGroup() as group:
            group.create_task(speak())
            assert [await b.receive() for _ in sent] == sent
        await a.drain(10)
        assert link.dropped > 10


async def test_iteration_ends_with_the_peers_goodbye() -> None:
    async with pair() as (a, b):
        for number in range(100):
            await a.send(str(number))
        closing = asyncio.create_task(a.close())
        assert [int(data) async for data in b] == list(range(100))
        await closing
        assert [data async for data in b] == []
        with pytest.raises(srmudp.Closed) as caught:
            await b.receive()
        assert caught.value.reason == "peer_closed"


async def test_several_receivers_share_the_messages() -> None:
    async with pair() as (a, b):
        receivers = [asyncio.create_task(b.receive()) for _ in range(3)]
        await asyncio.sleep(0)
        for text in ("1", "2", "3"):
            await a.send(text)
        assert sorted(await asyncio.gather(*receivers)) == [b"1", b"2", b"3"]


async def test_a_cancelled_receive_takes_nothing() -> None:
    async with pair() as (a, b):
        for number in range(200):
            task = asyncio.create_task(b.receive())
            await asyncio.sleep(0)
            await a.send(str(number))
            if number % 2:
                take_events(b)  # cancelled after it was woken, but before it ran …
            task.cancel()  # … or before it was woken
            with pytest.raises(asyncio.CancelledError):
                await task
            assert int(await b.receive()) == number


async def test_a_woken_and_cancelled_receiver_passes_its_message_on() -> None:
    async with pair() as (a, b):
        first, second = asyncio.create_task(b.receive()), asyncio.create_task(b.receive())
        await asyncio.sleep(0)
        await a.send(b"x")
        take_events(b)
        first.cancel()
        assert await asyncio.wait_for(second, 5) == b"x"
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_receive_with_a_timeout() -> None:
    async with pair() as (a, b):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await b.receive()
        await a.send(b"late")
        assert await asyncio.wait_for(b.receive(), 5) == b"late"


async def test_send_waits_while_the_buffer_is_full_and_goes_on_in_order() -> None:
    async with pair(send_buffer=10_000, receive_buffer=2000, max_message_size=1000) as (a, b):
        accepted: list[int] = []

        async def speak(number: int) -> None:
            await a.send(number.to_bytes(2, "big") + bytes(900))
            accepted.append(number)

        tasks = [asyncio.create_task(speak(number)) for number in range(40)]
        await asyncio.sleep(0.2)
        assert 5 < len(accepted) < 20
        assert [int.from_bytes((await b.receive())[:2], "big") for _ in tasks] == list(range(40))
        await asyncio.gather(*tasks)
        assert accepted == list(range(40))


async def test_a_small_message_waits_for_no_large_ones() -> None:
    async with pair(send_buffer=MIB, receive_buffer=MIB, max_message_size=MIB // 2) as (a, b):
        large = [asyncio.create_task(a.send(bytes(64 << 10), channel=9)) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert not all(task.done() for task in large)
        await asyncio.wait_for(a.send("urgent"), 1)
        assert not all(task.done() for task in large)
        received = [await b.receive_message() for _ in range(21)]
        assert [message.data for message in received if message.channel == 0] == [b"urgent"]
        await asyncio.gather(*large)


async def test_a_cancelled_send_sent_nothing() -> None:
    async with pair(send_buffer=4000, receive_buffer=2000, max_message_size=1000) as (a, b):
        tasks = [asyncio.create_task(a.send(bytes([number]) * 1000)) for number in range(20)]
        await asyncio.sleep(0.1)
        cancelled = {number for number, task in enumerate(tasks) if number % 3 == 0 and task.cancel()}
        assert len(cancelled) > 3
        expected = [number for number in range(20) if number not in cancelled]
        assert [(await b.receive())[0] for _ in expected] == expected
        await asyncio.gather(*(tasks[number] for number in expected))
        await a.send(b"end")
        assert await b.receive() == b"end"
        assert all(tasks[number].cancelled() for number in cancelled)


async def test_an_empty_buffer_takes_one_message_of_any_size() -> None:
    async with pair(send_buffer=1000) as (a, b):
        await a.send(bytes(MIB))
        waiting = asyncio.create_task(a.send(b"next"))
        assert len(await b.receive()) == MIB
        assert await b.receive() == b"next"
        await waiting


async def test_a_tight_loop_lets_the_loop_run() -> None:
    async with pair() as (a, b):

        async def speak() -> None:
            while True:
                await a.send(b"x")

        async def listen() -> None:
            while True:
                await b.receive()

        for work in (speak, listen):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(work(), 0.2)


async def test_drain_follows_the_peers_application() -> None:
    async with pair() as (a, b):
        await a.drain(1)
        await a.send(b"1", channel=5)
        await a.send(b"2", channel=6)
        await until(lambda: b._handle.pending == 2)
        with pytest.raises(TimeoutError):
            await a.drain(0.1)
        draining = asyncio.create_task(a.drain(5))
        await b.receive()
        await asyncio.sleep(0.05)
        assert not draining.done()
        await a.send(b"3")  # came after: not waited for
        await b.receive()
        await draining
        assert a.stats()["messages_unconsumed"] == 1
        await b.receive()


async def test_a_slow_receiver_slows_its_sender() -> None:
    async with pair(send_buffer=20_000, receive_buffer=20_000, max_message_size=1000) as (a, b):
        sent = 0

        async def speak() -> None:
            nonlocal sent
            while True:
                await a.send(bytes(1000))
                sent += 1

        speaking = asyncio.create_task(speak())
        await asyncio.sleep(0.3)
        stuck = sent
        assert stuck < 50
        await asyncio.sleep(0.1)
        assert sent == stuck
        for _ in range(stuck):
            await b.receive()
        await until(lambda: sent > stuck)
        speaking.cancel()
