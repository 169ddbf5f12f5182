"""`SRMUDPManager` alone: statuses, messages, callbacks, losses, and what ends it.

```
  a (manager) ──udp── loopback ──udp── b (manager, or a bare engine)
```
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from autoprox import srmudp
from autoprox.demo_link import LossyLink, Weather
from autoprox.utils.srmudp_manager import PROJECTION, ConnectionStatus, SRMUDPManager, join_address

HOST = "127.0.0.1"
KEY = "a shared secret"
S = ConnectionStatus


class Watched(SRMUDPManager):
    """A manager that keeps what it was told."""

    def __init__(self, endpoint: srmudp.Endpoint, port: int, key: str = KEY, **options: Any) -> None:
        self.statuses: list[tuple[ConnectionStatus, dict[str, Any]]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._moved = asyncio.Condition()
        options = {
            "on_status": self._note_status,
            "on_event": self._note_event,
            "max_reconnect_attempts": None,
        } | options
        super().__init__(HOST, port, key, endpoint=endpoint, **options)

    async def _note_status(self, status: ConnectionStatus, info: dict[str, Any]) -> None:
        async with self._moved:
            self.statuses.append((status, info))
            self._moved.notify_all()

    async def _note_event(self, event: str, info: dict[str, Any]) -> None:
        async with self._moved:
            self.events.append((event, info))
            self._moved.notify_all()

    async def until(self, status: ConnectionStatus, times: int = 1) -> dict[str, Any]:
        """Waits until it was told this status so often; the last one's info."""
        async with asyncio.timeout(10), self._moved:
            await self._moved.wait_for(lambda: sum(one is status for one, _ in self.statuses) >= times)
        return [info for one, info in self.statuses if one is status][times - 1]

    async def event(self, name: str) -> dict[str, Any]:
        """Waits for an event; its info."""
        async with asyncio.timeout(10), self._moved:
            await self._moved.wait_for(lambda: any(event == name for event, _ in self.events))
        return next(info for event, info in self.events if event == name)


def port_of(endpoint: srmudp.Endpoint) -> int:
    """Its UDP port."""
    return endpoint.local_address[1]


@asynccontextmanager
async def two_endpoints(**config: Any) -> AsyncIterator[tuple[srmudp.Endpoint, srmudp.Endpoint]]:
    """Two UDP ports on loopback."""
    kept = srmudp.Config(**{"close_timeout": 1.0} | config)
    async with (
        await srmudp.Endpoint.bind(HOST, config=kept) as a,
        await srmudp.Endpoint.bind(HOST, config=kept) as b,
    ):
        yield a, b


@asynccontextmanager
async def two_managers(**options: Any) -> AsyncIterator[tuple[Watched, Watched]]:
    """Two managers that see each other."""
    async with two_endpoints() as (end_a, end_b):
        a, b = Watched(end_a, port_of(end_b), **options), Watched(end_b, port_of(end_a), **options)
        async with a, b:
            await asyncio.gather(a.until(S.UDP_ESTABLISHED), b.until(S.UDP_ESTABLISHED))
            yield a, b


# ---- Statuses --------------------------------------------------------------------------------------------------------------


def test_every_status_of_the_engine_has_a_word() -> None:
    assert set(PROJECTION) == set(srmudp.Status)


async def test_statuses_in_order() -> None:
    async with two_managers() as (a, b):
        assert a.get_status() is S.UDP_ESTABLISHED
        assert [status for status, _ in a.statuses] == [S.CONNECTED, S.UDP_WAITING, S.UDP_ESTABLISHED]
        established = a.statuses[-1][1]
        assert established == {"remote_address": f"{HOST}:{b.local_port}", "path": "direct"}
        await a.send("hello")
        assert await b.receive(timeout=5) == b"hello"
        await b.stop()
        assert b.get_status() is S.DISCONNECTED
        assert b.statuses[-1][0] is S.DISCONNECTED
        assert await a.until(S.UDP_WAITING, 2) == {"reason": "peer_closed"}


async def test_the_next_peer_is_a_new_session() -> None:
    async with two_endpoints() as (end_a, end_b), Watched(end_a, port_of(end_b)) as a:
        for turn in range(1, 4):
            async with Watched(end_b, port_of(end_a)) as b:
                await a.until(S.UDP_ESTABLISHED, turn)
                await a.send(f"to number {turn}")
                assert await b.receive(timeout=5) == f"to number {turn}".encode()
            assert (await a.until(S.UDP_WAITING, turn + 1))["reason"] == "peer_closed"


async def test_wrong_keys_are_counted_and_the_manager_waits_on() -> None:
    async with two_endpoints() as (end_a, end_b), Watched(end_a, port_of(end_b)) as a:
        async with Watched(end_b, port_of(end_a), key="wrong"):
            assert (await a.event("wrong_key"))["count"] >= 1
            assert a.get_status() is S.UDP_WAITING
        async with Watched(end_b, port_of(end_a)):
            await a.until(S.UDP_ESTABLISHED)


async def test_a_reset_connects_anew_and_loses_nothing() -> None:
    async with two_managers() as (a, b):
        for number in range(50):
            await a.send(str(number))
            if number % 10 == 5:
                assert await a.reset_connection() is True
        assert [await b.receive(timeout=5) for _ in range(50)] == [
            str(number).encode() for number in range(50)
        ]


async def test_lost_cycles_are_limited() -> None:
    """A link between the two that fails again and again, as an endpoint's configuration finds it quickly."""
    quick = {"liveness": 1.0, "liveness_in_flight": 0.5, "keepalive_interval": 0.5, "reconnect_delay": 0.1}
    async with two_endpoints(**quick) as (end_a, end_b):
        link = LossyLink(Weather(loss=0, duplication=0, reordering=0, delay=0))
        (_, left), (_, right) = await link.open((HOST, port_of(end_a)), (HOST, port_of(end_b)))
        a = Watched(end_a, left, max_reconnect_attempts=1)
        async with a, Watched(end_b, right):
            for turn in (1, 2):
                await a.until(S.UDP_ESTABLISHED, turn)
                link.down = True
                if turn == 1:
                    assert (await a.until(S.RECONNECTING))["reason"] == "liveness"
                    link.down = False
            assert (await a.until(S.ERROR))["reason"] == "max_reconnect_attempts"
            with pytest.raises(srmudp.ConnectionLost):
                await a.send("x")
            with pytest.raises(srmudp.ConnectionLost):
                await a.receive(timeout=5)
            link.down = False
            assert await a.reset_connection() is True
            await a.until(S.UDP_ESTABLISHED, 3)
        link.close()


async def test_starting_and_stopping_twice() -> None:
    manager = SRMUDPManager(HOST, 9, KEY)
    assert manager.get_status() is S.DISCONNECTED
    await manager.stop()
    await manager.start()
    port = manager.get_public_connection_info()["port"]
    assert port == manager.local_port != 0
    await manager.start()
    assert manager.get_public_connection_info()["port"] == port
    await manager.stop()
    await manager.stop()
    assert manager.get_status() is S.DISCONNECTED
    await manager.start()
    assert manager.get_status() is S.UDP_WAITING
    await manager.stop()


async def test_a_port_of_its_own() -> None:
    async with SRMUDPManager(HOST, 9, KEY) as other:
        with pytest.raises(srmudp.PortInUse):
            await SRMUDPManager(HOST, 9, KEY, local_port=other.local_port).start()


@pytest.mark.parametrize(
    ("host", "port", "key", "error"),
    [
        ("", 9, KEY, srmudp.InvalidAddress),
        (HOST, 0, KEY, srmudp.InvalidAddress),
        (HOST, 9, "", srmudp.InvalidKey),
    ],
)
async def test_bad_arguments(host: str, port: int, key: str, error: type[Exception]) -> None:
    async with two_endpoints() as (endpoint, _):
        with pytest.raises(error):
            await SRMUDPManager(host, port, key, endpoint=endpoint).start()


# ---- Messages ----------------------------------------------------------------------------------------------------------------


async def test_messages_both_ways() -> None:
    async with two_managers() as (a, b):
        await a.send(b"bytes")
        await a.send("text ü")
        await a.send(b"")
        assert [await b.receive(timeout=5) for _ in range(3)] == [b"bytes", "text ü".encode(), b""]
        await b.send(b"back")
        assert await a.receive(timeout=None) == b"back"


async def test_receive_with_and_without_time() -> None:
    async with two_managers() as (a, b):
        assert await a.receive() is None
        assert await a.receive(timeout=0.05) is None
        waiting = asyncio.create_task(a.receive(timeout=5))
        await b.send("x")
        assert await waiting == b"x"


async def test_receiving_when_there_is_nothing_to_wait_for() -> None:
    manager = SRMUDPManager(HOST, 9, KEY)
    assert await manager.receive() is None
    with pytest.raises(srmudp.Closed):
        await manager.receive(timeout=None)
    await manager.start()
    waiting = asyncio.create_task(manager.receive(timeout=None))
    await asyncio.sleep(0)
    await manager.stop()
    with pytest.raises(srmudp.Closed):
        await waiting


async def test_on_data_gets_bytes_and_their_kind_in_order() -> None:
    got: list[tuple[bytes, bool]] = []
    done = asyncio.Event()

    async def on_data(data: bytes, is_text: bool) -> None:
        await asyncio.sleep(0)
        got.append((data, is_text))
        if data == b"last":
            done.set()

    async with two_managers(on_data=on_data) as (a, _):
        await a.send("text")
        for number in range(100):
            await a.send(str(number).encode())
        await a.send("last")
        async with asyncio.timeout(5):
            await done.wait()
        assert got == [
            (b"text", True),
            *((str(number).encode(), False) for number in range(100)),
            (b"last", True),
        ]


async def test_plain_functions_are_callbacks_too() -> None:
    got: list[bytes] = []
    seen: list[ConnectionStatus] = []
    async with two_endpoints() as (end_a, end_b):
        options: dict[str, Any] = {"endpoint": end_a, "on_status": lambda status, _: seen.append(status)}
        async with (
            SRMUDPManager(HOST, port_of(end_b), KEY, on_data=lambda data, _: got.append(data), **options),
            Watched(end_b, port_of(end_a)) as b,
        ):
            await b.send("x")
            await b._session.connection.drain(5)  # type: ignore[union-attr]
    assert got == [b"x"]
    assert (seen[:3], seen[-1]) == ([S.CONNECTED, S.UDP_WAITING, S.UDP_ESTABLISHED], S.DISCONNECTED)


async def test_a_callback_that_fails_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "autoprox.manager")
    got: list[bytes] = []

    def on_data(data: bytes, is_text: bool) -> None:
        got.append(data)
        if data == b"bad":
            raise ValueError("a mistake of the application")

    async with two_managers(on_data=on_data) as (a, _):
        await a.send(b"bad")
        await a.send(b"good")
        await a._session.connection.drain(5)  # type: ignore[union-attr]
    assert got == [b"bad", b"good"]
    assert "a mistake of the application" in caplog.text
    assert KEY not in caplog.text


async def test_slow_on_data_holds_its_peer_back() -> None:
    """A message is consumed when `on_data` is through with it."""
    release = asyncio.Event()
    delivered: list[Any] = []

    async def on_data(data: bytes, is_text: bool) -> None:
        await release.wait()

    async with (
        two_endpoints() as (end_a, end_b),
        Watched(end_a, port_of(end_b), on_delivered=delivered.extend) as a,
        Watched(end_b, port_of(end_a), on_data=on_data) as b,
    ):
        await b.until(S.UDP_ESTABLISHED)
        await a.send("x", tag="the tag")
        await asyncio.sleep(0.3)
        assert delivered == []
        release.set()
        await a._session.connection.drain(5)  # type: ignore[union-attr]
        assert delivered == ["the tag"]


# ---- Losses --------------------------------------------------------------------------------------------------------------------


async def test_what_stop_could_not_deliver_is_told_before_the_end() -> None:
    async with two_endpoints() as (end_a, _):
        a = Watched(end_a, 9)
        await a.start()
        await a.send("one", tag=1)
        await a.send("two")
        await a.send("three", tag=3, channel=5)
        await a.stop(timeout=0.1)
        assert a.statuses[-1][0] is S.DISCONNECTED
        assert a.events == [("undelivered", {"count": 3, "tags": [1, 3]})] or sorted(
            a.events[0][1]["tags"]
        ) == [1, 3]


async def test_a_message_the_peer_does_not_take_is_told_and_the_rest_arrives() -> None:
    small = srmudp.Config(max_message_size=1000, receive_buffer=10_000)
    async with (
        await srmudp.Endpoint.bind(HOST) as end_a,
        await srmudp.Endpoint.bind(HOST, config=small) as end_b,
    ):
        delivered: list[Any] = []
        async with (
            Watched(end_a, port_of(end_b), on_delivered=delivered.extend) as a,
            Watched(end_b, port_of(end_a)) as b,
        ):
            await a.until(S.UDP_ESTABLISHED)
            await a.send("before", tag="before")
            try:
                await a.send(b"x" * 1001, tag="too large")
            except srmudp.MessageTooLarge:
                pass
            else:
                assert await a.event("undelivered") == {"count": 1, "tags": ["too large"]}
            await a.send("after", tag="after")
            assert [await b.receive(timeout=5) for _ in range(2)] == [b"before", b"after"]
            async with asyncio.timeout(5):
                while delivered != ["before", "after"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


async def test_tags_of_many_messages_come_back_once_and_in_order() -> None:
    delivered: list[int] = []
    async with two_endpoints() as (end_a, end_b):
        a = Watched(end_a, port_of(end_b), on_delivered=delivered.extend)
        async with Watched(end_b, port_of(end_a), on_data=lambda data, is_text: None) as b:
            await a.start()
            await b.until(S.UDP_ESTABLISHED)
            for number in range(3000):
                await a.send(b"x", tag=number)
            await a.stop(timeout=10)
            assert delivered == list(range(3000))


async def test_sending_on_through_a_peers_goodbye() -> None:
    """A sender that waits for room while the peer says goodbye goes on with the next peer."""
    config = srmudp.Config(max_message_size=1000, send_buffer=2000, receive_buffer=2000, close_timeout=0.2)
    async with (
        await srmudp.Endpoint.bind(HOST, config=config) as end_a,
        await srmudp.Endpoint.bind(HOST, config=config) as end_b,
        Watched(end_a, port_of(end_b)) as a,
    ):
        async with Watched(end_b, port_of(end_a)) as b:
            await b.until(S.UDP_ESTABLISHED)

            async def send_all() -> None:
                for number in range(20):
                    await a.send(f"{number} {'x' * 900}")

            sending = asyncio.create_task(send_all())
            assert await b.receive(timeout=5)
        lost = (await a.event("undelivered"))["count"]
        assert lost >= 1
        async with Watched(end_b, port_of(end_a)) as b:
            numbers: list[int] = []
            while not sending.done() or len(numbers) == 0 or numbers[-1] != 19:
                data = await b.receive(timeout=5)
                assert data is not None
                numbers.append(int(data.split()[0]))
            assert numbers == list(range(numbers[0], 20))
        await sending


async def test_sending_when_stopped() -> None:
    manager = SRMUDPManager(HOST, 9, KEY)
    with pytest.raises(srmudp.Closed):
        await manager.send("x")
    await manager.start()
    await manager.stop()
    with pytest.raises(srmudp.Closed):
        await manager.send("x")


# ---- Words ---------------------------------------------------------------------------------------------------------------------


async def test_the_key_is_nowhere() -> None:
    async with two_managers() as (a, _):
        assert KEY not in f"{a!r} {a.stats()} {a.get_public_connection_info()}"
        assert a.stats()["path"] == "direct"


def test_addresses_are_joined() -> None:
    assert join_address((HOST, 5)) == "127.0.0.1:5"
    assert join_address(("::1", 5)) == "[::1]:5"
