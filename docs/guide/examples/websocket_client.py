"""Two bridges, two clients that come back by themselves: python websocket_client.py BRIDGE_A UDP_A BRIDGE_B UDP_B

BRIDGE_A and BRIDGE_B are WebSocket addresses such as ws://127.0.0.1:8000/v0/ws/proxy, UDP_A and UDP_B the UDP ports
they print when they start.
"""

import asyncio
import sys

from autoprox.examples.srmudp_websocket_example import SRMUDPWebSocketClient

KEY = "correct horse battery staple"


async def main(bridge_a: str, udp_a: int, bridge_b: str, udp_b: int) -> None:
    a = SRMUDPWebSocketClient(bridge_a, "127.0.0.1", udp_b, KEY)
    b = SRMUDPWebSocketClient(bridge_b, "127.0.0.1", udp_a, KEY)
    async with a, b:
        await a.send_text("hello")
        await a.send_binary(bytes(3))
        async for message in b:
            print(repr(message))
            if isinstance(message, bytes):
                break


asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
