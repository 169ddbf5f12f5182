"""Sends back whatever comes, to everybody who proves the key: python echo_server.py PORT"""

import asyncio
import sys

from autoprox import srmudp

KEY = "correct horse battery staple"


async def echo(connection: srmudp.Connection) -> None:
    async with connection:
        async for data in connection:  # ends when the peer says goodbye
            await connection.send(data)


async def main(port: int) -> None:
    async with await srmudp.Endpoint.bind("", port) as endpoint, endpoint.listen(key=KEY) as listener:
        print("listening on UDP port", endpoint.local_address[1], flush=True)
        async with asyncio.TaskGroup() as group:
            async for connection in listener:
                group.create_task(echo(connection))


asyncio.run(main(int(sys.argv[1])))
