"""Every error of `autoprox.srmudp`, from the table of ``srmudp.h``: what happened, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NoReturn

from autoprox._engine.native import native

if TYPE_CHECKING:
    from autoprox._srmudp import Message


class Error(Exception):
    """Base of all errors of the transport.

    Attributes:
        reason: the error's name in lower case, as ``"wrong_key"``; what ``StatusChange.reason`` says too.
        undelivered: messages that were accepted here and that the peer's application did not consume, oldest first.
            After an outage the peer may have consumed the first few all the same.
    """

    reason: str = "error"
    undelivered: tuple[Message, ...] = ()

    def __init__(
        self, text: str = "", *, reason: str | None = None, undelivered: Iterable[Message] = ()
    ) -> None:
        name = reason or type(self).reason
        super().__init__(text or _TEXTS.get(name, ""))
        self.reason = name
        self.undelivered = tuple(undelivered)


class InvalidAddress(Error, ValueError):
    """A host or port that cannot be used."""

    reason = "invalid_address"


class InvalidKey(Error, ValueError):
    """A key that has not 1 to 4096 bytes."""

    reason = "invalid_key"


class PortInUse(Error):
    """Another program has the UDP port."""

    reason = "port_in_use"


class AddressBusy(Error):
    """Too many connections to one address with one label wait for their peer."""

    reason = "address_busy"


class ConnectTimeout(Error, TimeoutError):
    """Nobody proved the key in time."""

    reason = "connect_timeout"


class WrongKey(Error):
    """Somebody answers at the peer's address and holds another key."""

    reason = "wrong_key"


class ConnectionLost(Error):
    """An established connection has ended for good, and not by a goodbye."""

    reason = "connection_lost"


class Undelivered(Error):
    """Not everything that was sent has been consumed by the peer's application; ``messages`` says what not."""

    reason = "undelivered"

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages, oldest first."""
        return self.undelivered


class Closed(Error, RuntimeError):
    """The connection, listener or endpoint is closed, by either side; or the process is a fork of its owner."""

    reason = "closed"


class MessageTooLarge(Error, ValueError):
    """A message larger than one of the two sides takes."""

    reason = "message_too_large"


class PolicyDenied(Error):
    """The endpoint's policy forbids the address."""

    reason = "policy_denied"


PUBLIC: Final[tuple[type[Error], ...]] = (
    Error, InvalidAddress, InvalidKey, PortInUse, AddressBusy, ConnectTimeout, WrongKey, ConnectionLost, Undelivered,
    Closed, MessageTooLarge, PolicyDenied,
)  # fmt: skip

# The first sentence is what happened, the rest what to do.
_TEXTS: Final = {name: text[:1].upper() + text[1:] for name, _, text in native.ERRORS}
_CLASSES: Final = {cls.__name__: cls for cls in PUBLIC}
_CODES: Final = {name: code for code, (name, _, _) in enumerate(native.ERRORS)}

OK: Final = _CODES["ok"]
AGAIN: Final = _CODES["again"]
CLOSED: Final = _CODES["closed"]
PEER_CLOSED: Final = _CODES["peer_closed"]
SYSTEM: Final = _CODES["system"]


def reason_of(code: int) -> str | None:
    """The name of an engine's error; None for no error."""
    return None if code == OK else native.ERRORS[code][0]


def make(code: int, *, errno: int = 0, undelivered: Iterable[Message] = ()) -> Exception:
    """The exception for an engine's error."""
    name, python, _ = native.ERRORS[code]
    text = _TEXTS[name]
    if python == "ValueError":
        return ValueError(text)
    if python == "MemoryError":
        return MemoryError()
    if code == SYSTEM and errno:
        text = f"The operating system refused: {os.strerror(errno)}"
    return _CLASSES.get(python, Error)(text, reason=name, undelivered=undelivered)


def raise_failure(failure: native.Failure) -> NoReturn:
    """Raises what the engine's Failure stands for."""
    code, errno = failure.args
    raise make(code, errno=errno) from None
