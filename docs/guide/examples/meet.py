"""The same program on both sides, both behind NATs: python meet.py LOCAL_PORT HOST PORT

Each side is told the other's public address and UDP port. Neither is a server: both send at once and keep sending,
which opens both NATs.
"""

import asyncio
import sys

from autoprox import srmudp

KEY = "correct horse battery staple"


async def main(local_port: int, host: str, port: int) -> None:
    async with await srmudp.Endpoint.bind("", local_port) as endpoint:
        connection = endpoint.open(host, port, key=KEY)  # returns at once
        await connection.send(
            f"greetings from port {local_port}"
        )  # accepted already, kept until the peer is there
        await connection.established(timeout=60)
        print((await connection.receive()).decode(), flush=True)
        await connection.drain(timeout=10)  # ours was consumed too


asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
