"""Callbacks: in order, one at a time, functions or coroutines, and what they raise ends nothing."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from autoprox import srmudp
from autoprox.srmudp import Status
from tests.python.srmudp_helpers import HOST, KEY, endpoint, pair, take_events, until

BOTH_LOOPS = True


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What reached the loop's exception handler."""
    caught: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context))
    return caught


async def test_messages_go_to_a_plain_function() -> None:
    async with pair() as (a, b):
        seen: list[bytes] = []
        b.set_callbacks(on_message=lambda message: seen.append(message.data))
        for number in range(500):
            await a.send(str(number))
        await a.drain(5)
        assert seen == [str(number).encode() for number in range(500)]
        with pytest.raises(RuntimeError, match="on_message"):
            await b.receive()


async def test_a_coroutine_is_awaited_before_the_next_message() -> None:
    async with pair() as (a, b):
        running = 0
        seen: list[int] = []

        async def on_message(message: srmudp.Message) -> None:
            nonlocal running
            running += 1
            assert running == 1
            await asyncio.sleep(0.001)
            seen.append(int(message.data))
            running -= 1

        b.set_callbacks(on_message=on_message)
        for number in range(100):
            await a.send(str(number))
        await a.drain(5)
        assert seen == list(range(100))


async def test_some_messages_are_awaited_and_some_are_not() -> None:
    async with pair() as (a, b):
        seen: list[int] = []

        async def later(number: int) -> None:
            await asyncio.sleep(0)
            seen.append(number)

        def on_message(message: srmudp.Message) -> Any:
            number = int(message.data)
            if number % 5 == 3:
                return later(number)
            seen.append(number)
            return None

        b.set_callbacks(on_message=on_message)
        for number in range(100):
            await a.send(str(number))
        await a.drain(5)
        assert seen == list(range(100))


async def test_a_callback_that_takes_itself_away_leaves_the_rest() -> None:
    async with pair() as (a, b):
        seen: list[bytes] = []

        def on_message(message: srmudp.Message) -> None:
            seen.append(message.data)
            if message.data == b"3":
                b.set_callbacks(on_message=None)

        b.set_callbacks(on_message=on_message)
        for number in range(10):
            await a.send(str(number))
        await until(lambda: len(seen) == 4)
        seen += [await b.receive() for _ in range(6)]
        assert seen == [str(number).encode() for number in range(10)]


async def test_a_message_is_consumed_when_its_callback_is_through() -> None:
    async with pair() as (a, b):
        go_on = asyncio.Event()

        async def on_message(_: srmudp.Message) -> None:
            await go_on.wait()

        b.set_callbacks(on_message=on_message)
        await a.send(b"x")
        with pytest.raises(TimeoutError):
            await a.drain(0.1)
        go_on.set()
        await a.drain(5)


async def test_waiting_messages_go_to_a_callback_set_later_and_back() -> None:
    async with pair() as (a, b):
        for number in range(10):
            await a.send(str(number))
        await until(lambda: b._handle.pending == 10)
        seen: list[int] = []

        def on_message(message: srmudp.Message) -> None:
            seen.append(int(message.data))
            if len(seen) == 4:
                b.set_callbacks(on_message=None)

        b.set_callbacks(on_message=on_message)
        assert seen == []
        await until(lambda: len(seen) == 4)
        assert [int(await b.receive()) for _ in range(6)] == list(range(4, 10))
        assert seen == list(range(4))


async def test_setting_on_message_ends_waiting_receives() -> None:
    async with pair() as (_, b):
        receiving = asyncio.create_task(b.receive())
        await asyncio.sleep(0)
        b.set_callbacks(on_message=print)
        with pytest.raises(RuntimeError, match="on_message"):
            await receiving


async def test_everything_comes_in_the_order_it_happened() -> None:
    async with endpoint() as near, endpoint() as far:
        seen: list[str] = []

        async def on_message(message: srmudp.Message) -> None:
            await asyncio.sleep(0.01)
            seen.append(message.data.decode())

        async def on_status(change: srmudp.StatusChange) -> None:
            await asyncio.sleep(0)
            seen.append(str(change))

        a = near.open(*far.local_address, key=KEY)
        a.set_callbacks(
            on_message=on_message, on_status=on_status, on_event=lambda event: seen.append(event.name)
        )
        b = far.open(*near.local_address, key=KEY)
        await b.send("1")
        await b.send("2")
        await b.send("3")
        await b.close(5)
        await until(lambda: seen[-1:] == ["CLOSED (peer_closed)"])
        assert seen == ["ESTABLISHED", "1", "2", "3", "peer_closed", "CLOSED (peer_closed)"]


async def test_failures_are_the_loops_and_end_nothing(complaints: list[dict[str, Any]]) -> None:
    async with pair() as (a, b):
        seen: list[int] = []

        def on_message(message: srmudp.Message) -> Any:
            number = int(message.data)
            seen.append(number)
            return {0: fail_later, 1: fail, 2: cancelled}.get(number, fine)()

        def fail() -> None:
            raise ZeroDivisionError("now")

        def fine() -> None:
            pass

        async def fail_later() -> None:
            raise ZeroDivisionError("later")

        async def cancelled() -> None:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

        b.set_callbacks(on_message=on_message)
        for number in range(5):
            await a.send(str(number))
        await a.drain(5)
        assert seen == list(range(5))
        assert [repr(context["exception"]) for context in complaints] == [
            "ZeroDivisionError('later')", "ZeroDivisionError('now')", "CancelledError()",
        ]  # fmt: skip
        assert all(context["connection"] is b for context in complaints)


async def test_many_messages_do_not_starve_the_loop() -> None:
    async with pair() as (a, b):
        turns = 0
        seen = 0

        def on_message(_: srmudp.Message) -> None:
            nonlocal seen
            seen += 1

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        for _ in range(1000):
            await a.send(b"x")
        await until(lambda: b._handle.pending == 1000)
        counting = asyncio.create_task(count_turns())
        b.set_callbacks(on_message=on_message)
        await until(lambda: seen == 1000)
        counting.cancel()
        assert turns >= 1000 // 64


async def test_consuming_by_hand() -> None:
    async with pair() as (a, b):
        kept: list[srmudp.Message] = []
        b.set_callbacks(on_message=kept.append, consume=False)
        consumed: list[tuple[int, int]] = []
        a.set_callbacks(on_consumed=lambda channel, count: consumed.append((channel, count)))
        for number in range(6):
            await a.send(str(number), channel=number % 2)
        await until(lambda: len(kept) == 6)
        by_text = {message.data: message for message in kept}
        with pytest.raises(TimeoutError):
            await a.drain(0.05)
        by_text[b"4"].consume()  # the last of channel 0: those before it come first
        by_text[b"1"].consume()
        await until(lambda: consumed == [(1, 1)])
        by_text[b"0"].consume()
        by_text[b"0"].consume()
        await until(lambda: consumed[-1] == (0, 1))
        by_text[b"2"].consume()
        await until(lambda: consumed[-1] == (0, 3))
        by_text[b"5"].consume()
        by_text[b"3"].consume()
        await a.drain(5)
        assert consumed[-1] == (1, 3)


async def test_a_view_holds_consumption_back() -> None:
    async with pair() as (a, b):
        kept: list[srmudp.Message] = []
        b.set_callbacks(on_message=kept.append, consume=False)
        await a.send(b"seen without a copy")
        await until(lambda: kept)
        with memoryview(kept[0]) as view:
            assert view.readonly
            assert view.tobytes() == b"seen without a copy"
            kept[0].consume()
            with pytest.raises(TimeoutError):
                await a.drain(0.05)
            assert view.tobytes() == b"seen without a copy"
        await a.drain(5)
        assert kept[0].data == b"seen without a copy"
        assert memoryview(kept[0]).tobytes() == kept[0].data


async def test_a_message_dropped_unconsumed_stays_unconsumed() -> None:
    async with pair() as (a, b):
        kept: list[srmudp.Message] = []
        b.set_callbacks(on_message=kept.append, consume=False)
        for number in range(3):
            await a.send(str(number))
        await a.send(b"elsewhere", channel=1)
        await until(lambda: len(kept) == 4)
        kept[0].consume()
        del kept[1]
        for message in kept:
            message.consume()
        await until(lambda: a.stats()["messages_unconsumed"] == 2)
        await asyncio.sleep(0.02)
        assert a.stats()["messages_unconsumed"] == 2


async def test_messages_outlive_their_connection() -> None:
    async with pair() as (a, b):
        kept: list[srmudp.Message] = []
        b.set_callbacks(on_message=kept.append, consume=False)
        for _ in range(3):
            await a.send(bytes(100_000))
        await until(lambda: len(kept) == 3)
        await b.close()
        kept[0].consume()
        await a._endpoint.close()
        await b._endpoint.close()
        kept[1].consume()
        assert [message.data for message in kept] == [bytes(100_000)] * 3


async def test_what_is_left_out_stays_as_it_is() -> None:
    async with pair() as (a, b):
        messages: list[bytes] = []
        events: list[str] = []
        b.set_callbacks(on_message=lambda message: messages.append(message.data))
        b.set_callbacks(on_event=lambda event: events.append(event.name))
        await a.send(b"x")
        await a.close(5)
        await until(lambda: events)
        assert (messages, events) == ([b"x"], ["peer_closed"])


async def test_callbacks_keep_a_connection_alive_until_it_ends() -> None:
    async with endpoint() as near, endpoint() as far, far.listen(key=KEY) as listener:
        a = await near.connect(*far.local_address, key=KEY)
        seen: list[bytes] = []
        b = await listener.accept()
        b.set_callbacks(on_message=lambda message: seen.append(message.data))
        reference = weakref.ref(b)
        del b
        gc.collect()
        await a.send(b"x")
        await a.close(5)
        assert seen == [b"x"]
        await asyncio.sleep(0.05)
        gc.collect()
        assert reference() is None


async def test_an_interrupt_in_a_callback_loses_no_event() -> None:
    async with pair() as (a, b):
        seen: list[str] = []

        def on_message(message: srmudp.Message) -> None:
            seen.append(message.data.decode())
            if seen == ["1"]:
                raise KeyboardInterrupt

        b.set_callbacks(on_message=on_message, on_event=lambda event: seen.append(event.name))
        await a.send("1")
        await a.send("2")
        with pytest.raises(KeyboardInterrupt):
            take_events(b)
        await a.drain(5)
        assert seen == ["1", "2"]


async def test_status_changes_compare_like_their_status() -> None:
    change = srmudp.StatusChange(Status.FAILED, "peer_busy", 2, (HOST, 5))
    assert change == Status.FAILED
    assert change != Status.CLOSED
    assert change in {Status.FAILED}
    assert change == srmudp.StatusChange(Status.FAILED, "peer_busy", 2, (HOST, 5))
    assert change != srmudp.StatusChange(Status.FAILED, "peer_busy", 3, (HOST, 5))
    assert str(change) == "FAILED (peer_busy)"
