"""The engine's figures from Python: the scenarios and the output of srmudp_c.c, on the public API.

python bench/srmudp_py.py server|client HOST:PORT bulk|rate|pingpong|lat|connect|idle N

SRMUDP_LOOP=uvloop runs it on uvloop, where that is installed.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Coroutine
from typing import Any

from autoprox import srmudp

KEY = "a passphrase for the benchmark"
SIZES = {"bulk": 65536, "rate": 100}
WARM_UP = 500

now = time.time_ns


def cpu() -> float:
    """What this process used so far, in seconds, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


def percentiles(times: list[int]) -> dict[str, float]:
    times.sort()
    if not times:
        return {"n": 0}

    def at(share: float) -> float:
        return times[min(len(times) - 1, int(share * len(times)))] / 1e3

    return {"n": len(times), "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1)}


# ---- Server


async def count(connection: srmudp.Connection) -> None:
    size = messages = first = last = 0
    used = 0.0
    while (data := await connection.receive()) != b"END":
        last = now()
        if not messages:
            first, used = last, cpu()
        size += len(data)
        messages += 1
    say(role="server", bytes=size, msgs=messages, secs=(last - first) / 1e9, cpu=cpu() - used)


async def one_way_times(connection: srmudp.Connection) -> None:
    times = []
    while (data := await connection.receive()) != b"END":
        times.append(now() - int.from_bytes(data[:8], "big"))
    say(role="server", **percentiles(times))


async def answer_age(connection: srmudp.Connection) -> None:
    age = now() - int.from_bytes((await connection.receive())[:8], "big")
    await connection.send(age.to_bytes(8, "big"))


async def echo(connection: srmudp.Connection) -> None:
    async for data in connection:
        await connection.send(data)


async def serve(endpoint: srmudp.Endpoint, scenario: str) -> None:
    handler = {"bulk": count, "rate": count, "lat": one_way_times, "connect": answer_age}.get(scenario, echo)
    ends = scenario in ("bulk", "rate", "lat")
    running = set()
    async with endpoint.listen(key=KEY) as listener:
        print("READY", flush=True)
        while True:
            connection = await listener.accept()
            if ends:
                await handler(connection)
                async for _ in connection:  # until the client has closed
                    pass
                return
            task = asyncio.create_task(handler(connection))
            running.add(task)
            task.add_done_callback(running.discard)


# ---- Client


async def stream(connection: srmudp.Connection, size: int, seconds: float) -> None:
    data, used, sent = bytes(size), cpu(), 0
    end = time.monotonic() + seconds
    while sent % 16 or time.monotonic() < end:
        await connection.send(data)
        sent += 1
    await connection.send(b"END")
    await connection.close(timeout=30)
    say(role="client", sent=sent, cpu=cpu() - used)


async def ping_pong(connection: srmudp.Connection, rounds: int) -> None:
    data, times, used = bytes(1024), [], cpu()
    for index in range(rounds + WARM_UP):
        start = now()
        await connection.send(data)
        await connection.receive()
        if index >= WARM_UP:
            times.append(now() - start)
    say(role="client", **percentiles(times), cpu=cpu() - used)


async def paced(connection: srmudp.Connection, seconds: float) -> None:
    start, total = time.monotonic(), int(seconds * 200)
    for index in range(total):
        await asyncio.sleep(start + index * 0.005 - time.monotonic())
        await connection.send(now().to_bytes(8, "big") + bytes(192))
    await connection.send(b"END")
    await connection.close(timeout=30)
    say(role="client", sent=total)


async def connect_anew(endpoint: srmudp.Endpoint, address: tuple[str, int], tries: int) -> None:
    ages, answers = [], []
    for _ in range(tries):
        start = now()
        connection = endpoint.open(*address, key=KEY)
        await connection.send(start.to_bytes(8, "big"))
        ages.append(int.from_bytes(await connection.receive(), "big"))
        answers.append(now() - start)
        await connection.close()
        await asyncio.sleep(0.1)
    age, answer = percentiles(ages), percentiles(answers)
    say(
        role="client",
        srv_ms=age["p50_us"] / 1e3,
        reply_ms=answer["p50_us"] / 1e3,
        reply_max_ms=answer["max_us"] / 1e3,
    )


async def idle(endpoint: srmudp.Endpoint, address: tuple[str, int], count: int) -> None:
    print("BASE", flush=True)
    await asyncio.sleep(0.5)
    connections = []
    for _ in range(count):
        connections.append(endpoint.open(*address, key=KEY))
        await connections[-1].send(b"hi")
        await connections[-1].receive()
    print("IDLE", flush=True)
    await asyncio.sleep(15)
    say(role="client", n=len(connections))


async def act_as_client(endpoint: srmudp.Endpoint, address: tuple[str, int], scenario: str, n: float) -> None:
    if scenario == "connect":
        await connect_anew(endpoint, address, int(n))
    elif scenario == "idle":
        await idle(endpoint, address, int(n))
    elif scenario in SIZES:
        await stream(endpoint.open(*address, key=KEY), SIZES[scenario], n)
    elif scenario == "pingpong":
        await ping_pong(endpoint.open(*address, key=KEY), int(n))
    elif scenario == "lat":
        await paced(endpoint.open(*address, key=KEY), n)
    else:
        sys.exit(__doc__)


async def main(role: str, address: str, scenario: str, n: float) -> None:
    host, _, port = address.rpartition(":")
    if role == "server":
        async with await srmudp.Endpoint.bind(host, int(port)) as endpoint:
            await serve(endpoint, scenario)
    else:
        async with await srmudp.Endpoint.bind(os.environ.get("CLIENT_HOST", "127.0.0.1"), 0) as endpoint:
            await act_as_client(endpoint, (host, int(port)), scenario, n)


def run(program: Coroutine[Any, Any, None]) -> None:
    if os.environ.get("SRMUDP_LOOP") == "uvloop":
        import uvloop

        uvloop.run(program)
    else:
        asyncio.run(program)


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[1] not in ("server", "client"):
        sys.exit(__doc__)
    run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
