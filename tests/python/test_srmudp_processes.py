"""Two processes: speed as a floor, a peer that is killed and comes back, one that is stopped for a while."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from autoprox import srmudp
from autoprox.srmudp import Status
from tests.python.srmudp_helpers import HOST, KEY, endpoint, start_script, until

# Dials the port in its first argument from the port in its second, and prints each message it receives as hex.
PEER = f"""
    import asyncio, sys
    from autoprox import srmudp

    async def main():
        async with await srmudp.Endpoint.bind("{HOST}", int(sys.argv[2])) as endpoint:
            connection = endpoint.open("{HOST}", int(sys.argv[1]), key="{KEY}")
            print(endpoint.local_address[1], flush=True)
            await connection.send(b"hello from " + sys.argv[3].encode())
            while True:
                message = await connection.receive_message()
                print(message.data.decode(), message.maybe_duplicate, flush=True)
                if message.data == b"stop reading":
                    await asyncio.sleep(60)

    asyncio.run(main())
    """


async def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 20)).rstrip("\n")


@asynccontextmanager
async def peer(
    near: srmudp.Endpoint, name: str, port: int = 0
) -> AsyncIterator[tuple[subprocess.Popen[str], int]]:
    process = start_script(PEER, str(near.local_address[1]), str(port), name)
    try:
        yield process, int(await read_line(process))
    finally:
        process.kill()
        process.communicate()


async def all_arrived(connection: srmudp.Connection) -> None:
    """Waits until the peer's engine has everything, while its application reads nothing."""
    await asyncio.sleep(0.05)
    await until(lambda: connection.stats()["bytes_in_flight"] == 0)


async def test_a_killed_and_restarted_peer_gets_what_it_had_not_consumed() -> None:
    async with endpoint() as near:
        events: list[srmudp.Event] = []
        changes: list[srmudp.StatusChange] = []
        async with peer(near, "first") as (process, port):
            connection = near.open(HOST, port, key=KEY)
            connection.set_callbacks(on_event=events.append, on_status=changes.append)
            await connection.send("seen")
            assert await connection.receive() == b"hello from first"
            assert await read_line(process) == "seen False"
            await connection.drain(5)
            await connection.send("stop reading")
            assert await read_line(process) == "stop reading False"
            await connection.drain(5)
            for number in range(3):
                await connection.send(str(number))
            await all_arrived(connection)
            process.send_signal(signal.SIGKILL)
        async with peer(near, "second", port) as (process, _):
            assert await asyncio.wait_for(connection.receive(), 20) == b"hello from second"
            assert [await read_line(process) for _ in range(3)] == ["0 True", "1 True", "2 True"]
            await connection.send("new")
            assert await read_line(process) == "new False"
            await connection.drain(5)
        restarted = [event for event in events if event.name == "peer_restarted"]
        assert [(event.resent, event.unknown) for event in restarted] == [(3, 3)]
        reasons = [change.reason for change in changes]
        assert reasons.count("peer_restarted") == 2
        assert connection.status is Status.ESTABLISHED
        await connection.close(0)


async def test_a_stopped_peer_comes_back() -> None:
    config = {"liveness": 1.0, "liveness_in_flight": 0.5, "keepalive_interval": 0.5}
    async with endpoint(**config) as near, peer(near, "it") as (process, port):
        connection = near.open(HOST, port, key=KEY)
        assert await connection.receive() == b"hello from it"
        process.send_signal(signal.SIGSTOP)
        await connection.send("while it sleeps")
        await until(lambda: connection.status is Status.RECONNECTING)
        process.send_signal(signal.SIGCONT)
        assert await read_line(process) == "while it sleeps False"
        await connection.established(10)
        await connection.drain(5)


async def test_a_killed_peer_of_a_listener_is_a_new_connection() -> None:
    async with endpoint() as near, near.listen(key=KEY) as listener:
        async with peer(near, "first") as (_, port):
            first = await listener.accept()
            assert await first.receive() == b"hello from first"
            await first.send("stop reading")
            await first.send("never read")
            await all_arrived(first)
        async with peer(near, "second", port):
            second = await asyncio.wait_for(listener.accept(), 20)
            assert await second.receive() == b"hello from second"
            with pytest.raises(srmudp.ConnectionLost) as caught:
                await asyncio.wait_for(first.receive(), 10)
            assert caught.value.reason == "peer_restarted"
            assert [message.data for message in caught.value.undelivered][-1] == b"never read"


RECEIVER = f"""
    import asyncio, sys, time
    from autoprox import srmudp

    async def main():
        async with await srmudp.Endpoint.bind("{HOST}") as endpoint, endpoint.listen(key="{KEY}") as listener:
            print(endpoint.local_address[1], flush=True)
            connection = await listener.accept()
            count = 0
            async for data in connection:
                count += 1
                if count == int(sys.argv[1]):
                    break
            await connection.send(b"done")
            await connection.close()

    asyncio.run(main())
    """


@pytest.mark.parametrize(("size", "count", "floor"), [(65_536, 4000, 50e6), (100, 100_000, 2.5e6)])
async def test_speed_is_not_lost_unnoticed(size: int, count: int, floor: float) -> None:
    """Half of what is promised, since tests share their machine with others."""
    with start_script(RECEIVER, str(count)) as process:
        port = int(await read_line(process))
        async with endpoint() as near, await near.connect(HOST, port, key=KEY) as connection:
            data = bytes(size)
            began = time.perf_counter()
            for _ in range(count):
                await connection.send(data)
            assert await connection.receive() == b"done"
            rate = size * count / (time.perf_counter() - began)
        process.communicate()
    print(f"{size} bytes: {rate / 1e6:.1f} MB/s, {rate / size:.0f} messages/s")
    assert rate > floor


if sys.platform == "win32":
    pytest.skip("no such signals", allow_module_level=True)
