"""Messages, statuses and events by callback, instead of receive()."""

import asyncio

from autoprox import srmudp

KEY = "correct horse battery staple"


async def main() -> None:
    done = asyncio.Event()

    async def on_message(message: srmudp.Message) -> None:
        await asyncio.sleep(0.01)  # work; the message counts as consumed when this is over
        print(f"channel {message.channel}, number {message.number}: {message.data.decode()}")
        if message.number == 2:
            done.set()

    def on_status(change: srmudp.StatusChange) -> None:
        print(change)

    async with (
        await srmudp.Endpoint.bind("127.0.0.1") as here,
        await srmudp.Endpoint.bind("127.0.0.1") as there,
        there.listen(key=KEY) as listener,
    ):
        near = here.open(*there.local_address, key=KEY)
        near.set_callbacks(on_status=on_status)
        far = await listener.accept()
        far.set_callbacks(on_message=on_message)
        for word in ("one", "two", "three"):
            await near.send(word)
        await done.wait()
        await near.close()


asyncio.run(main())
