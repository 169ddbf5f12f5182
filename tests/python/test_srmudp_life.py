"""The life of a connection: opening, waiting, wrong keys, outages, goodbyes, and what is told of each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from autoprox import srmudp
from autoprox.srmudp import Status
from tests.python.srmudp_helpers import HOST, KEY, endpoint, linked_pair, pair, until

BOTH_LOOPS = True


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A UDP port where nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        yield sock.getsockname()[1]


# ---- Endpoints -------------------------------------------------------------------------------------------------------


async def test_bind_everywhere() -> None:
    async with await srmudp.Endpoint.bind() as bound:
        addresses = bound.local_addresses
        assert addresses[0] == bound.local_address == ("0.0.0.0", addresses[0][1])
        assert {port for _, port in addresses} == {addresses[0][1]}
        assert bound.config == srmudp.Config()
        assert bound.stats()["connections"] == 0


async def test_bind_to_a_name() -> None:
    async with await srmudp.Endpoint.bind("localhost") as bound:
        assert bound.local_address[0] in ("127.0.0.1", "::1")


async def test_a_port_in_use_says_so() -> None:
    async with endpoint() as bound:
        with pytest.raises(srmudp.PortInUse, match="in use"):
            await srmudp.Endpoint.bind(*bound.local_address)


@pytest.mark.parametrize(
    ("host", "port"),
    [("192.0.2.1", 0), ("no such name.invalid", 0), ("a\0b", 0), ("", -1), ("", 65536), ("224.0.0.1", 0)],
)
async def test_addresses_nobody_can_bind(host: str, port: int) -> None:
    with pytest.raises(srmudp.InvalidAddress):
        await srmudp.Endpoint.bind(host, port)


async def test_closing_an_endpoint_ends_everything_on_it() -> None:
    async with pair() as (a, b):
        far = b._endpoint
        listener = far.listen(key="other")
        accepting, receiving = asyncio.create_task(listener.accept()), asyncio.create_task(b.receive())
        await asyncio.sleep(0)
        await far.close()
        for task in (accepting, receiving):
            with pytest.raises(srmudp.Closed):
                await task
        assert b.status is Status.CLOSED
        assert not far.is_open
        with pytest.raises(srmudp.Closed):
            far.open(HOST, 9, key=KEY)
        with pytest.raises(srmudp.Closed):
            far.listen(key=KEY)
        await far.close()
        await b.close()
        with pytest.raises(srmudp.Closed):
            await a.receive()


async def test_a_cancelled_endpoint_close_ends_all_at_once() -> None:
    with silent_port() as port:
        bound = await srmudp.Endpoint.bind(HOST, config=srmudp.Config(close_timeout=60))
        connection = bound.open(HOST, port, key=KEY)
        await connection.send(b"x")
        closing = asyncio.create_task(bound.close())
        await asyncio.sleep(0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert not bound.is_open
        assert connection.status is Status.CLOSED
        with pytest.raises(srmudp.Closed, match="the endpoint is closed"):
            await connection.send(b"y")


# ---- Opening ---------------------------------------------------------------------------------------------------------


async def test_open_returns_at_once_and_takes_messages() -> None:
    async with endpoint() as near, endpoint() as far:
        connection = near.open(*far.local_address, key=KEY)
        assert connection.status is Status.WAITING
        assert (connection.remote_address, connection.path, connection.peer_fingerprint) == (None, None, None)
        await connection.send(b"early")
        async with far.listen(key=KEY) as listener:
            accepted = await listener.accept()
        assert await accepted.receive() == b"early"
        await connection.established(5)
        assert {accepted.status, connection.status} == {Status.ESTABLISHED}
        assert connection.path == "direct"
        assert connection.remote_address == far.local_address
        assert accepted.remote_address == near.local_address


async def test_both_sides_connect_to_each_other() -> None:
    async with endpoint() as near, endpoint() as far:
        a, b = await asyncio.gather(
            near.connect(*far.local_address, key=KEY), far.connect(*near.local_address, key=KEY)
        )
        await a.send(b"from a")
        await b.send(b"from b")
        assert (await a.receive(), await b.receive()) == (b"from b", b"from a")


async def test_a_name_is_resolved() -> None:
    async with await srmudp.Endpoint.bind() as near, endpoint() as far, far.listen(key=KEY) as listener:
        connection = await near.connect("localhost", far.local_address[1], key=KEY)
        accepted = await listener.accept()
        await connection.send(b"x")
        assert await accepted.receive() == b"x"


async def test_ipv6() -> None:
    bind = srmudp.Endpoint.bind
    async with await bind("::1") as near, await bind("::1") as far, far.listen(key=KEY) as listener:
        a = await near.connect(*far.local_address, key=KEY)
        b = await listener.accept()
        await a.send(b"six")
        assert await b.receive() == b"six"
        assert a.remote_address == ("::1", far.local_address[1])


async def test_text_keys_count_as_their_nfc_form() -> None:
    async with endpoint() as near, endpoint() as far, far.listen(key="schlu\u0308ssel") as listener:
        a = await near.connect(*far.local_address, key="schlüssel".encode())
        b = await listener.accept()
        assert (a.status, b.status) == (Status.ESTABLISHED, Status.ESTABLISHED)


async def test_labels_and_keys_tell_connections_between_two_ports_apart() -> None:
    async with endpoint() as near, endpoint() as far:
        names = [("k1", ""), ("k2", ""), ("k1", "one"), ("k1", "two"), ("k3", "two")]
        opened = [far.open(*near.local_address, key=key, label=label) for key, label in names]
        answered = [near.open(*far.local_address, key=key, label=label) for key, label in reversed(names)]
        for connection, name in zip(opened, names, strict=True):
            await connection.send(repr(name))
        for connection, name in zip(answered, reversed(names), strict=True):
            assert (await connection.receive()).decode() == repr(name)


async def test_too_many_opens_to_one_address() -> None:
    with silent_port() as port:
        async with endpoint() as near:
            waiting = [near.open(HOST, port, key=f"key {number}") for number in range(8)]
            with pytest.raises(srmudp.AddressBusy, match="label"):
                near.open(HOST, port, key="one more")
            waiting.append(near.open(HOST, port, key="one more", label="another"))
            await asyncio.gather(*(connection.close() for connection in waiting))


async def test_connect_timeout() -> None:
    with silent_port() as port:
        async with endpoint() as near:
            began = time.monotonic()
            with pytest.raises(srmudp.ConnectTimeout, match="No peer proved the key") as caught:
                await near.connect(HOST, port, key=KEY, timeout=0.3)
            assert isinstance(caught.value, TimeoutError)
            assert 0.25 < time.monotonic() - began < 2
            await until(lambda: near.stats()["connections"] == 0)


async def test_wrong_key_is_an_event_and_then_the_error_of_connect() -> None:
    async with endpoint() as near, endpoint() as far, far.listen(key="another"):
        events: list[srmudp.Event] = []
        connection = near.open(*far.local_address, key=KEY)
        connection.set_callbacks(on_event=events.append)
        await until(lambda: events, timeout=3)
        assert events[0].name == "wrong_key"
        assert events[0].count == 1
        assert connection.status is Status.WAITING
        with pytest.raises(srmudp.WrongKey, match="another key"):
            await connection.established(0.1)
        await connection.close()
        with pytest.raises(srmudp.WrongKey):
            await near.connect(*far.local_address, key="a third", timeout=2)


async def test_the_right_peer_comes_after_a_wrong_one() -> None:
    async with endpoint() as near, endpoint() as far:
        connection = near.open(*far.local_address, key=KEY)
        wrong = far.open(*near.local_address, key="wrong")
        with pytest.raises(srmudp.WrongKey):
            await wrong.established(3)
        await wrong.close()
        async with far.listen(key=KEY):
            await connection.established(15)


async def test_cancelling_connect_leaves_nothing() -> None:
    with silent_port() as port:
        async with endpoint() as near:
            task = asyncio.create_task(near.connect(HOST, port, key=KEY))
            await until(lambda: near.stats()["connections"] == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: near.stats()["connections"] == 0)


async def test_two_hundred_connections_on_one_port() -> None:
    async with endpoint() as far, far.listen(key=KEY) as listener:
        others = [await srmudp.Endpoint.bind(HOST) for _ in range(50)]
        opened = [other.open(*far.local_address, key=KEY, label="") for other in others for _ in range(4)]
        for number, connection in enumerate(opened):
            await connection.send(str(number))
        accepted = [await listener.accept() for _ in opened]
        assert sorted([int(await connection.receive()) for connection in accepted]) == list(range(200))
        assert far.stats()["connections"] == 200
        await asyncio.gather(*(other.close() for other in others))
        await asyncio.gather(*(connection.close() for connection in accepted))


# ---- Listening -------------------------------------------------------------------------------------------------------


async def test_listener_iteration_and_close() -> None:
    async with endpoint() as near, endpoint() as far:
        listener = far.listen(key=KEY)
        seen: list[bytes] = []

        async def serve() -> None:
            async for connection in listener:
                async with connection:
                    seen.extend([data async for data in connection])

        serving = asyncio.create_task(serve())
        for number in range(3):
            async with await near.connect(*far.local_address, key=KEY, label="") as connection:
                await connection.send(str(number))
                await connection.drain(5)
        await listener.close()
        await serving
        assert seen == [b"0", b"1", b"2"]
        with pytest.raises(srmudp.Closed):
            await listener.accept()
        listener.close()


async def test_connections_nobody_accepted_are_closed_with_the_listener() -> None:
    async with endpoint() as near, endpoint() as far:
        listener = far.listen(key=KEY)
        connection = await near.connect(*far.local_address, key=KEY)
        await until(lambda: listener._accepted)
        listener.close()
        with pytest.raises(srmudp.Closed) as caught:
            await asyncio.wait_for(connection.receive(), 5)
        assert caught.value.reason == "peer_closed"


async def test_a_cancelled_accept_takes_nothing() -> None:
    async with endpoint() as near, endpoint() as far, far.listen(key=KEY) as listener:
        first, second = asyncio.create_task(listener.accept()), asyncio.create_task(listener.accept())
        await asyncio.sleep(0)
        first.cancel()
        connection = await near.connect(*far.local_address, key=KEY)
        await connection.send(b"x")
        assert await (await second).receive() == b"x"


# ---- Closing ---------------------------------------------------------------------------------------------------------


async def test_close_delivers_first() -> None:
    async with pair() as (a, b):
        await a.send(bytes(3_000_000))
        closing = asyncio.create_task(a.close(10))
        assert len(await b.receive()) == 3_000_000
        await closing
        assert (a.status, a.reason) == (Status.CLOSED, None)
        with pytest.raises(srmudp.Closed):
            await a.send(b"x")
        await a.close()


async def test_close_tells_what_was_not_consumed() -> None:
    async with pair() as (a, b):
        for text in ("one", "two", "three"):
            await a.send(text, channel=len(text))
        await b.receive()
        with pytest.raises(srmudp.Undelivered) as caught:
            await a.close(0.2)
        assert [(message.data, message.is_text, message.channel) for message in caught.value.messages] == [
            (b"two", True, 3),
            (b"three", True, 5),
        ]
        assert a.status is Status.CLOSED
        await a.close()  # told once


async def test_what_came_before_the_goodbye_can_still_be_received() -> None:
    async with pair() as (a, b):
        await a.send(b"1")
        await a.send(b"2")
        await until(lambda: b._handle.pending == 2)
        with pytest.raises(srmudp.Undelivered):
            await a.close(0)
        await until(lambda: b.status is Status.CLOSED)
        assert [data async for data in b] == [b"1", b"2"]


async def test_the_peers_goodbye_tells_what_was_not_consumed() -> None:
    async with pair() as (a, b):
        events: list[srmudp.Event] = []
        a.set_callbacks(on_event=events.append)
        await a.send(b"nobody reads this")
        await until(lambda: b._handle.pending)
        await b.close()
        with pytest.raises(srmudp.Undelivered) as caught:
            await a.drain(5)
        assert [message.data for message in caught.value.messages] == [b"nobody reads this"]
        assert [event.name for event in events] == ["peer_closed", "undelivered"]
        assert events[1].messages == caught.value.messages
        assert events[1].places == ((0, 1),)
        with pytest.raises(srmudp.Closed) as ended:
            await a.send(b"x")
        assert ended.value.reason == "peer_closed"


async def test_a_connection_as_context() -> None:
    async with pair() as (a, b):
        with pytest.raises(srmudp.Undelivered):
            async with a:
                await a.send(b"x")
        with pytest.raises(ZeroDivisionError) as caught:
            async with b:
                raise ZeroDivisionError
        assert not hasattr(caught.value, "__notes__")


async def test_an_exception_in_the_body_is_not_replaced() -> None:
    async with pair() as (a, _):

        async def body() -> None:
            async with a:
                await a.send(b"x")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError) as caught:
            await body()
        assert "1 messages" in caught.value.__notes__[0]


async def test_a_cancelled_close_goes_on() -> None:
    async with pair() as (a, b):
        await a.send(b"x")
        closing = asyncio.create_task(a.close(10))
        await asyncio.sleep(0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(srmudp.Closed):
            await a.send(b"y")
        assert await b.receive() == b"x"
        await until(lambda: a.status is Status.CLOSED)


async def test_waiters_hear_of_the_end() -> None:
    async with pair(send_buffer=1000) as (a, b):
        await a.send(bytes(2000))
        tasks = [asyncio.create_task(work) for work in (a.send(b"x"), a.receive(), a.drain())]
        with silent_port() as port:
            waiting = a._endpoint.open(HOST, port, key=KEY)
            tasks.append(asyncio.create_task(waiting.established()))
            await asyncio.sleep(0.05)
            await waiting.close()
            await b.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = [type(result) for result in results]
        assert kinds == [srmudp.Closed, srmudp.Closed, srmudp.Undelivered, srmudp.Closed]


# ---- Outages ---------------------------------------------------------------------------------------------------------


async def test_an_outage_loses_nothing() -> None:
    config = {"liveness": 1.0, "liveness_in_flight": 0.5, "keepalive_interval": 0.5, "reconnect_delay": 0.1}
    async with linked_pair(**config) as (a, b, link):
        changes: list[srmudp.StatusChange] = []
        a.set_callbacks(on_status=changes.append)
        link.cut = True
        for number in range(50):
            await a.send(str(number))
            await b.send(str(-number))
        await until(lambda: a.status is Status.RECONNECTING)
        assert a.reason == "liveness"
        await asyncio.sleep(1)
        link.cut = False
        assert [int(await b.receive()) for _ in range(50)] == list(range(50))
        assert [-int(await a.receive()) for _ in range(50)] == list(range(50))
        await a.established(5)
        assert [change.status for change in changes][::2] == [Status.RECONNECTING] * (len(changes) // 2)
        assert changes[-1] == Status.ESTABLISHED


async def test_an_outage_beyond_the_limit_fails_the_connection() -> None:
    config = {"liveness": 1.0, "liveness_in_flight": 0.5, "keepalive_interval": 0.5, "outage_limit": 0.5}
    async with linked_pair(**config) as (a, _, link):
        events: list[srmudp.Event] = []
        changes: list[srmudp.StatusChange] = []
        a.set_callbacks(on_event=events.append, on_status=changes.append)
        link.cut = True
        await a.send(b"lost")
        with pytest.raises(srmudp.ConnectionLost) as caught:
            await asyncio.wait_for(a.receive(), 10)
        assert [message.data for message in caught.value.undelivered] == [b"lost"]
        assert caught.value.reason == "connection_lost"
        assert (a.status, a.reason) == (Status.FAILED, "connection_lost")
        assert [event.name for event in events] == ["undelivered"]
        assert changes[-1] == srmudp.StatusChange(
            Status.FAILED, "connection_lost", changes[-1].attempt, changes[-1].remote_address
        )
        with pytest.raises(srmudp.ConnectionLost):
            async for _ in a:
                pass
        with pytest.raises(srmudp.ConnectionLost):
            await a.send(b"x")
        await a.close()  # what was lost has been told


async def test_reconnect_at_will_loses_nothing() -> None:
    async with pair() as (a, b):
        for number in range(20):
            await a.send(str(number))
            if number % 5 == 4:
                a.reconnect()
                await a.established(5)
        assert [int(await b.receive()) for _ in range(20)] == list(range(20))


async def test_identity_is_shown_to_the_peer() -> None:
    async with (
        endpoint(identity=bytes(range(32))) as near,
        endpoint() as far,
        far.listen(key=KEY) as listener,
    ):
        a = await near.connect(*far.local_address, key=KEY)
        b = await listener.accept()
        assert a.peer_fingerprint is None
        assert b.peer_fingerprint == "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"


async def test_stats() -> None:
    async with pair() as (a, b):
        await a.send(b"12345")
        await b.receive()
        await a.drain(5)
        stats = a.stats()
        assert stats["status"] == "ESTABLISHED"
        assert stats["path"] == "direct"
        assert stats["remote_address"] == b._endpoint.local_address
        assert (stats["messages_sent"], stats["bytes_sent"], stats["messages_unconsumed"]) == (1, 5, 0)
        assert (b.stats()["messages_received"], b.stats()["bytes_received"]) == (1, 5)
        assert stats["rtt_ms"] > 0
        assert stats["aead"] in ("AEGIS-128L", "AES-256-GCM", "ChaCha20-Poly1305")
        await a.close()
        assert a.stats()["messages_sent"] == 1
        assert a.stats()["status"] == "CLOSED"
