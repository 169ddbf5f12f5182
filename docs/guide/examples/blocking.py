"""Without asyncio: a blocking socket, here with its peer on another thread."""

import threading

from autoprox import srmudp

KEY = "correct horse battery staple"


def answer(sock: srmudp.SecureReliableSocket, address: str) -> None:
    with sock:
        sock.connect(address)
        received = sock.receive(timeout=10)
        if received is not None:
            _sender, data, _public_key = received
            sock.send(b"you said " + data)


def main() -> None:
    near = srmudp.SecureReliableSocket(timeout=10, key=KEY)
    far = srmudp.SecureReliableSocket(timeout=10, key=KEY)
    port_of = {sock: sock.getsockname().rpartition(":")[2] for sock in (near, far)}
    peer = threading.Thread(target=answer, args=(far, f"127.0.0.1:{port_of[near]}"))
    peer.start()
    with near:
        near.connect(("127.0.0.1", int(port_of[far])))
        near.send("hello")
        received = near.receive(timeout=10)
        if received is not None:
            print(received[1].decode())
    peer.join()


main()
