"""What a sender can know: accepted, consumed, undelivered."""

import asyncio

from autoprox import srmudp

KEY = "correct horse battery staple"


async def main() -> None:
    config = srmudp.Config(close_timeout=0.2)
    async with (
        await srmudp.Endpoint.bind("127.0.0.1", config=config) as here,
        await srmudp.Endpoint.bind("127.0.0.1") as there,
        there.listen(key=KEY) as listener,
    ):
        near = here.open(*there.local_address, key=KEY)
        await near.send("first")  # returned: the engine has it, and keeps it until the peer consumed it
        far = await listener.accept()
        await far.receive()  # this is what consumes
        await near.drain(timeout=5)  # returns when everything sent so far was consumed
        print("consumed")

        await near.send("second")  # nobody receives this one
        try:
            await near.close()
        except srmudp.Undelivered as error:
            print("not consumed:", [message.data for message in error.messages])


asyncio.run(main())
