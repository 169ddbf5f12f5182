"""The classic blocking socket, used as its users do: threads, no loop."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from autoprox import srmudp
from autoprox.srmudp import SecureReliableSocket
from tests.python.srmudp_helpers import HOST, KEY, run_script


def port_of(sock: SecureReliableSocket) -> int:
    return int(sock.getsockname().rpartition(":")[2])


def connect(a: SecureReliableSocket, b: SecureReliableSocket) -> None:
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(a.connect, (HOST, port_of(b))), pool.submit(b.connect, f"{HOST}:{port_of(a)}")]
        for future in futures:
            future.result(30)


def test_messages_both_ways() -> None:
    with SecureReliableSocket(key=KEY) as a, SecureReliableSocket(key=KEY) as b:
        assert a.getsockname() == f"0.0.0.0:{port_of(a)}"
        with pytest.raises(OSError, match="not connected"):
            a.getpeername()
        assert (a.is_closed, a.established) == (False, False)
        connect(a, b)
        assert a.established
        assert a.getpeername() == f"{HOST}:{port_of(b)}"
        assert a.send(b"hello") == 5
        a.sendall(bytearray(100_000))
        assert b.receive() == (f"{HOST}:{port_of(a)}", b"hello", None)
        received = b.receive(timeout=5)
        assert received is not None
        assert len(received[1]) == 100_000
        assert b.receive(timeout=0.05) is None
        assert b.send("tëxt") == 5
        assert a.receive(timeout=None) == (f"{HOST}:{port_of(b)}", "tëxt".encode(), None)
        assert "ESTABLISHED" in repr(a)
    assert a.is_closed
    a.close()
    for call in (a.getsockname, a.getpeername):
        with pytest.raises(OSError, match="closed"):
            call()
    with pytest.raises(srmudp.Closed):
        a.send(b"x")
    assert a.receive() is None


def test_receive_while_another_thread_sends() -> None:
    with SecureReliableSocket(key=KEY) as a, SecureReliableSocket(key=KEY) as b:
        connect(a, b)
        seen: list[bytes] = []

        def listen() -> None:
            while (received := b.receive(timeout=5)) is not None and received[1] != b"end":
                seen.append(received[1])

        listening = threading.Thread(target=listen)
        listening.start()
        for number in range(300):
            a.send(str(number).encode())
        a.send(b"end")
        listening.join(20)
        assert seen == [str(number).encode() for number in range(300)]


def test_the_message_hook() -> None:
    with SecureReliableSocket(key=KEY) as a, SecureReliableSocket(key=KEY) as b:
        seen: list[tuple[bytes, tuple[str, int], SecureReliableSocket]] = []
        both = threading.Event()

        def hook(message: srmudp.Message, address: tuple[str, int], sock: SecureReliableSocket) -> None:
            seen.append((message.data, address, sock))
            for call in (sock.close, lambda: sock.send(b"from within")):
                with pytest.raises(RuntimeError, match="hook"):
                    call()
            if len(seen) == 2:
                both.set()

        b.message_hook = hook
        connect(a, b)
        a.send(b"1")
        a.send(b"2")
        assert both.wait(10)
        assert seen == [(b"1", (HOST, port_of(a)), b), (b"2", (HOST, port_of(a)), b)]
        b.message_hook_fnc = None
        a.send(b"3")
        received = b.receive(timeout=5)
        assert received is not None
        assert received[1] == b"3"


def test_the_peers_end() -> None:
    with SecureReliableSocket(key=KEY) as a, SecureReliableSocket(key=KEY) as b:
        connect(a, b)
        a.send(b"last")
        closing = threading.Thread(target=a.close)
        closing.start()
        received = b.receive(timeout=5)
        assert received is not None
        assert received[1] == b"last"
        assert b.receive(timeout=5) is None
        assert b.is_closed
        closing.join(10)
        with pytest.raises(srmudp.Closed):
            b.send(b"x")


def test_errors_of_connect() -> None:
    with SecureReliableSocket(key=KEY, timeout=0.3) as a:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind((HOST, 0))
            with pytest.raises(srmudp.ConnectTimeout):
                a.connect(silent.getsockname())
        for address in ("nowhere", "host:", "host:1x", f"{HOST}:0"):
            with pytest.raises(srmudp.InvalidAddress):
                a.connect(address)
        with pytest.raises(srmudp.Closed, match="connect"):
            a.send(b"x")
        assert a.receive() is None
    with pytest.raises(srmudp.Closed):
        a.connect((HOST, 9))


def test_arguments() -> None:
    with pytest.raises(TypeError):
        SecureReliableSocket()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="family"):
        SecureReliableSocket(family=socket.AF_UNIX, key=KEY)
    with SecureReliableSocket(family=socket.AF_INET6, key=KEY) as six:
        assert six.getsockname().startswith("[::]:")
        with pytest.raises(srmudp.PortInUse):
            SecureReliableSocket(port_of(six), socket.AF_INET6, key=KEY)
        with pytest.raises(ValueError, match="flags"):
            six.receive(flags=1)
        with pytest.raises(srmudp.InvalidAddress):
            six.connect("[::1]:0")


def test_undelivered_is_raised_by_close() -> None:
    with SecureReliableSocket(key=KEY) as a:
        b = SecureReliableSocket(key=KEY, timeout=0.3)
        connect(a, b)
        b.send(b"x")
        with pytest.raises(srmudp.Undelivered):
            b.close()
        assert b.is_closed


def test_a_forgotten_socket_is_closed_with_a_warning() -> None:
    sock = SecureReliableSocket(key=KEY)
    port = port_of(sock)
    with pytest.warns(ResourceWarning, match="never closed"):
        del sock
    with SecureReliableSocket(port, key=KEY):
        pass


def test_nothing_is_left_behind() -> None:
    def counts() -> int:
        return len(os.listdir("/proc/self/fd")) + len(os.listdir("/proc/self/task"))

    before = counts()
    for _ in range(20):
        with SecureReliableSocket(key=KEY) as a, SecureReliableSocket(key=KEY) as b:
            connect(a, b)
            a.send(b"x")
            b.receive()
    deadline = time.monotonic() + 5  # Python's join() returns a moment before the kernel's thread is gone
    while counts() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counts() <= before


def test_leaving_and_forking_with_open_sockets() -> None:
    source = """
        import os, threading
        from autoprox import srmudp
        a, b = srmudp.SecureReliableSocket(key="k"), srmudp.SecureReliableSocket(key="k")
        port = lambda s: int(s.getsockname().rpartition(":")[2])
        thread = threading.Thread(target=a.connect, args=(("127.0.0.1", port(b)),))
        thread.start()
        b.connect(("127.0.0.1", port(a)))
        thread.join()
        child = os.fork()
        if child == 0:
            for call in (lambda: a.send(b"x"), lambda: a.connect(("127.0.0.1", 9))):
                try:
                    call()
                except srmudp.Error as error:
                    print(type(error).__name__, flush=True)
            a.close()
            with srmudp.SecureReliableSocket(key="k") as own:
                print("bound", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        a.send(b"x")
        print(b.receive()[1])
        """
    began = time.monotonic()
    result = run_script(source)
    assert (result.returncode, result.stdout) == (0, "Closed\nClosed\nbound\nb'x'\n"), result.stderr
    assert time.monotonic() - began < 10
