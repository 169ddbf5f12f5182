"""One peer for as long as it takes, here with both sides in one program: python manager.py PORT_A PORT_B"""

import asyncio
import sys
from typing import Any

from autoprox.utils.srmudp_manager import ConnectionStatus, SRMUDPManager

KEY = "correct horse battery staple"


async def main(port_a: int, port_b: int) -> None:
    established = asyncio.Event()

    def on_status(status: ConnectionStatus, info: dict[str, Any]) -> None:
        print(status)
        if status is ConnectionStatus.UDP_ESTABLISHED:
            established.set()

    a = SRMUDPManager("127.0.0.1", port_b, KEY, local_port=port_a, on_status=on_status)
    b = SRMUDPManager("127.0.0.1", port_a, KEY, local_port=port_b)
    async with a, b:
        await established.wait()
        await a.send(b"hello")
        print(await b.receive(timeout=10))
        await a.stop()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
