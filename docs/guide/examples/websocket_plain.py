"""The simple mode with any WebSocket library, here `websockets`: python websocket_plain.py BRIDGE PEER_PORT"""

import asyncio
import json
import sys
from urllib.parse import urlencode

from websockets.asyncio.client import connect


async def main(bridge: str, peer_port: int) -> None:
    target = {"remote_host": "127.0.0.1", "remote_port": peer_port}
    async with connect(f"{bridge}?{urlencode(target)}") as websocket:
        # The key in the first message, so that it is in no address and no log.
        await websocket.send(json.dumps({"type": "open", "encryption_key": "correct horse battery staple"}))
        await websocket.send(json.dumps({"type": "data", "format": "text", "data": "hello", "id": 1}))
        async for text in websocket:
            message = json.loads(text)
            if message["type"] == "status":
                print(message["status"], flush=True)
            elif message["type"] == "ack":
                print("the far client was given message", message["id"])
                break
            elif message["type"] == "error":
                sys.exit(f"{message['message']}: {message['hint']}")
        await websocket.send(json.dumps({"type": "command", "command": "close"}))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
