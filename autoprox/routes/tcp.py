"""The TCP connection under a WebSocket, for the three questions ASGI has no words for.

Does a client that takes nothing still make progress? Has it gone while its data holds up what we read? And: end the
connection now, for a close frame cannot pass a full send buffer. The socket is found among the process's descriptors by
its two addresses, while it still has them, and from then on known by its inode; each question duplicates it for a moment.
Where it cannot be found (a proxy in between, another platform) the answers are None and False.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from starlette.types import Scope

Address = tuple[str, int]

_DESCRIPTORS: Final = ("/proc/self/fd", "/dev/fd")
_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
_BYTES_ACKED: Final = struct.Struct("=120xQ")
"""tcpi_bytes_acked in struct tcp_info (Linux 4.1 and later)."""
_RDHUP: Final = getattr(select, "POLLRDHUP", 0)


class TcpConnection:
    """The connection whose two ends a WebSocket's scope names."""

    def __init__(self, scope: Scope) -> None:
        local, remote = _address(scope.get("server")), _address(scope.get("client"))
        self._found = None if local is None or remote is None else _find(local, remote)

    def bytes_acknowledged(self) -> int | None:
        """How many bytes the client's system has taken so far; None: unknown."""
        if _TCP_INFO is None:
            return None
        with self._open() as sock:
            if sock is None:
                return None
            info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 256)
            return int(_BYTES_ACKED.unpack_from(info)[0]) if len(info) >= _BYTES_ACKED.size else None

    def is_gone(self) -> bool:
        """Whether one of the two sides has ended it, even where unread data hides that."""
        with self._open() as sock:
            if sock is None:
                return self._found is not None
            if not _RDHUP:
                return False
            poll = select.poll()
            poll.register(sock, _RDHUP)
            return any(events & (_RDHUP | select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))

    def hang_up(self) -> bool:
        """Ends the connection at once; the server sees an end of file. False: the socket was not found."""
        with self._open() as sock:
            if sock is None:
                return False
            with suppress(OSError):  # it may have ended by itself
                sock.shutdown(socket.SHUT_RDWR)
            return True

    @contextmanager
    def _open(self) -> Iterator[socket.socket | None]:
        duplicate = None if self._found is None else _duplicate(*self._found)
        try:
            yield duplicate
        finally:
            if duplicate is not None:
                duplicate.close()


def _find(local: Address, remote: Address) -> tuple[int, int] | None:
    """Descriptor and inode of the connection between these; the newest descriptors are looked at first."""
    for number in sorted(_descriptors(), reverse=True):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode):
            candidate = _duplicate(number, status.st_ino)
            if candidate is not None:
                with candidate:
                    if _connects(candidate, local, remote):
                        return number, status.st_ino
    return None


def _duplicate(number: int, inode: int) -> socket.socket | None:
    try:
        candidate = socket.socket(fileno=os.dup(number))
    except OSError:
        return None
    if os.fstat(candidate.fileno()).st_ino == inode:
        return candidate
    candidate.close()
    return None


def _connects(candidate: socket.socket, local: Address, remote: Address) -> bool:
    try:
        return (
            candidate.type == socket.SOCK_STREAM
            and candidate.getsockname()[:2] == local
            and candidate.getpeername()[:2] == remote
        )
    except OSError:
        return False


def _address(pair: object) -> Address | None:
    if isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[1], int):
        return str(pair[0]), pair[1]
    return None


def _descriptors() -> list[int]:
    for folder in _DESCRIPTORS:
        try:
            return [int(name) for name in os.listdir(folder) if name.isdigit()]
        except OSError:
            continue
    return []
