"""Talks to echo_server.py: python echo_client.py HOST PORT"""

import asyncio
import sys

from autoprox import srmudp

KEY = "correct horse battery staple"


async def main(host: str, port: int) -> None:
    async with await srmudp.Endpoint.bind() as endpoint:
        try:
            connection = await endpoint.connect(host, port, key=KEY, timeout=10)
        except (srmudp.ConnectTimeout, srmudp.WrongKey) as error:
            sys.exit(str(error))  # says what happened and what to do
        async with connection:
            for number in range(3):
                await connection.send(f"message {number}")
                print((await connection.receive()).decode())


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
