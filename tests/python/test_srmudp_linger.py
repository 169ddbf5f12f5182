"""Answers of a near peer are waited for without sleeping: that it happens, and that nobody else pays for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from autoprox import srmudp
from tests.python.srmudp_helpers import HOST, KEY, endpoint, start_script

if sys.platform != "linux":
    pytest.skip("elsewhere the engine lends no sockets", allow_module_level=True)

ROUNDS = 1600
LINGERS_A_TURN = 16

ECHO = """
    import asyncio, sys
    from autoprox import srmudp

    async def main():
        async with await srmudp.Endpoint.bind("127.0.0.1") as endpoint, endpoint.listen(key=sys.argv[1]) as listener:
            print(endpoint.local_address[1], flush=True)
            connection = await listener.accept()
            async for data in connection:
                await connection.send(data)

    asyncio.run(main())
"""


@asynccontextmanager
async def echo_in_another_process() -> AsyncIterator[int]:
    with start_script(ECHO, KEY) as process:
        assert process.stdout is not None
        yield int(await asyncio.to_thread(process.stdout.readline))
        process.kill()


async def play(connection: srmudp.Connection, rounds: int) -> None:
    for number in range(rounds):
        await connection.send(str(number))
        assert await connection.receive() == str(number).encode()


class Turns:
    """Counts the turns of asyncio's loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        select = selector.select

        def counted(timeout: float | None = None) -> Any:
            self.count += 1
            return select(timeout)

        monkeypatch.setattr(selector, "select", counted)


async def test_answers_that_come_at_once_need_no_turn_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async with echo_in_another_process() as port, endpoint() as near:
        connection = await near.connect(HOST, port, key=KEY)
        await play(connection, 100)
        turns = Turns(monkeypatch)
        await play(connection, ROUNDS)
        assert turns.count < ROUNDS  # two a round by way of the loop
        assert turns.count >= ROUNDS // LINGERS_A_TURN - 1  # it still has its own


async def test_what_the_loop_has_to_do_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async with echo_in_another_process() as port, endpoint() as near:
        connection = await near.connect(HOST, port, key=KEY)
        lingered: list[bool] = []
        linger = srmudp.Endpoint._linger

        def noted(self: srmudp.Endpoint) -> bool:
            lingered.append(not self._ready)
            return linger(self)

        monkeypatch.setattr(srmudp.Endpoint, "_linger", noted)
        busy = asyncio.create_task(never_idle())
        await play(connection, 200)
        busy.cancel()
        assert lingered
        assert not any(lingered)


async def never_idle() -> None:
    while True:  # noqa: ASYNC110
        await asyncio.sleep(0)
