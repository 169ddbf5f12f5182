"""A small message on a low channel does not wait behind a large one on a higher channel."""

import asyncio

from autoprox import srmudp

KEY = "correct horse battery staple"
URGENT, BULK = 0, 7


async def main() -> None:
    async with (
        await srmudp.Endpoint.bind("127.0.0.1") as here,
        await srmudp.Endpoint.bind("127.0.0.1") as there,
        there.listen(key=KEY) as listener,
    ):
        near = here.open(*there.local_address, key=KEY)
        await near.send(bytes(8 << 20), channel=BULK)  # before the peer is there: both wait
        await near.send("stop!", channel=URGENT)
        far = await listener.accept()
        for _ in range(2):
            message = await far.receive_message()
            print(f"channel {message.channel}: {len(message)} bytes")
        await near.close()


asyncio.run(main())
