"""One side of a long exchange over one connection, for bench/soak.py: bench/soak.c in Python, with the same messages.

python bench/soak_peer.py server|client HOST:PORT MESSAGES
"""

from __future__ import annotations

import asyncio
import json
import sys

from autoprox import srmudp

KEY = "a passphrase for the soak"
CHANNELS = 4
LARGEST = 1 << 20
BUFFER = 4 << 20
SIZES = (8, 100, 100, 100, 300, 1000, 4000, 16000)
RECONNECTS = 20
STALLED = 60.0

# Full at once: what grows later is a leak.
CONFIG = srmudp.Config(max_message_size=LARGEST, send_buffer=BUFFER, receive_buffer=BUFFER)


def message(number: int) -> bytes:
    """The message of that number: mostly small, some that fill packets, few large ones."""
    if number % 10000 == 9999:
        size = LARGEST
    elif number % 500 == 499:
        size = 65536
    else:
        size = SIZES[number * 2654435761 // 128 % len(SIZES)]
    return number.to_bytes(8, "big") + bytes([number % 251]) * (size - 8)


class Side:
    """What one side has sent and got."""

    def __init__(self, connection: srmudp.Connection, total: int, reconnects: bool) -> None:
        self.connection = connection
        self.total = total
        self.every = total // RECONNECTS + 1 if reconnects else 0
        self.sent = self.received = self.size = 0
        self.expected = list(range(CHANNELS))

    async def send(self) -> None:
        """All messages."""
        while self.sent < self.total:
            await self.connection.send(message(self.sent), channel=self.sent % CHANNELS)
            self.sent += 1
            if self.every and self.sent % self.every == 0:
                self.connection.reconnect()

    async def receive(self) -> None:
        """All of the other side's, each checked."""
        while self.received < self.total:
            got = await self.connection.receive_message()
            number = self.expected[got.channel]
            if got.data != message(number):
                raise SystemExit(f"channel {got.channel}: that isn't message {number}")
            self.expected[got.channel] += CHANNELS
            self.received += 1
            self.size += len(got.data)

    async def watch(self) -> None:
        """Ends the exchange when it stands still."""
        before = (-1, -1)
        while before != (self.sent, self.received):
            before = (self.sent, self.received)
            await asyncio.sleep(STALLED)
        raise SystemExit(f"nothing happened for a minute: {self.sent} sent, {self.received} received")

    async def exchange(self) -> None:
        """Both directions at once."""
        watch = asyncio.create_task(self.watch())
        async with asyncio.TaskGroup() as group:
            group.create_task(self.send())
            group.create_task(self.receive())
        watch.cancel()


async def main(role: str, address: str, total: int) -> None:
    """Plays one side."""
    host, _, port = address.rpartition(":")
    if role == "server":
        async with await srmudp.Endpoint.bind(host, int(port), config=CONFIG) as endpoint:
            async with endpoint.listen(key=KEY) as listener:
                print("READY", flush=True)
                side = Side(await listener.accept(), total, reconnects=False)
            await side.exchange()
            async for _ in side.connection:  # until the client has closed
                raise SystemExit("a message too many")
    else:
        async with await srmudp.Endpoint.bind("127.0.0.1", 0, config=CONFIG) as endpoint:
            connection = endpoint.open(host, int(port), key=KEY)
            side = Side(connection, total, reconnects=True)
            await side.exchange()
            await connection.close(timeout=30)
    print(json.dumps({"role": role, "sent": side.sent, "received": side.received, "bytes": side.size}))


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("server", "client"):
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
