"""Peers in Python, from the checkout's root:

    python -m bench.peers.python_peer tls|websockets|aioquic server|client HOST:PORT SCENARIO N

``tls`` is the standard library's asyncio over TLS and TCP. TLS and QUIC need a certificate: BENCH_CERTIFICATE names a file
with it and its key. Clients take any.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from contextlib import suppress

from bench.peers import scenarios

MODULES = {"tls": "tls_streams", "websockets": "websocket", "aioquic": "quic"}


async def main(protocol: str, role: str, address: str, scenario: str, n: float) -> None:
    """Plays one role of a scenario."""
    host, _, port = address.rpartition(":")
    module = importlib.import_module(f"bench.peers.{MODULES[protocol]}")
    transport: scenarios.Transport = module.Transport(
        host, int(port), os.environ.get("CLIENT_HOST", "127.0.0.1"), os.environ.get("BENCH_CERTIFICATE", "")
    )
    await (scenarios.serve if role == "server" else scenarios.act)(transport, scenario, n)


if __name__ == "__main__":
    if len(sys.argv) != 6 or sys.argv[1] not in MODULES or sys.argv[2] not in ("server", "client"):
        sys.exit(__doc__)
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5])))
