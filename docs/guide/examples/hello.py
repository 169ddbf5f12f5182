"""Both sides in one program: one listens, the other connects, a message goes there and back."""

import asyncio

from autoprox import srmudp

KEY = "correct horse battery staple"


async def main() -> None:
    async with (
        await srmudp.Endpoint.bind("127.0.0.1") as here,
        await srmudp.Endpoint.bind("127.0.0.1") as there,
        there.listen(key=KEY) as listener,
    ):
        host, port = there.local_address
        async with await here.connect(host, port, key=KEY, timeout=10) as near:
            far = await listener.accept()
            await near.send("hello")
            print(await far.receive())
            await far.send(b"hello yourself")
            print(await near.receive())


asyncio.run(main())
