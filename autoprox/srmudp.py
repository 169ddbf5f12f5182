"""SRMUDP: secure reliable messages over UDP, with hole punching.

Two programs that share a key and know each other's address, or one of which listens, get a connection on which whole
messages travel, encrypted, each exactly once, in order within a channel, whatever the network does in between:

    from autoprox import srmudp

    async with await srmudp.Endpoint.bind() as endpoint:
        async with await endpoint.connect("203.0.113.5", 40000, key="…") as connection:
            await connection.send(b"hello")
            async for data in connection:
                print(data)

Everything runs on asyncio (also uvloop's loop); the engine is C on a thread of its own. Nothing starts at import. For
blocking programs there is `SecureReliableSocket`.
"""

from autoprox._engine.classic import SecureReliableSocket
from autoprox._engine.config import Config, Rule
from autoprox._engine.connection import Connection
from autoprox._engine.endpoint import Endpoint, Listener
from autoprox._engine.errors import (
    AddressBusy,
    Closed,
    ConnectionLost,
    ConnectTimeout,
    Error,
    InvalidAddress,
    InvalidKey,
    MessageTooLarge,
    PolicyDenied,
    PortInUse,
    Undelivered,
    WrongKey,
)
from autoprox._engine.events import Event, Status, StatusChange
from autoprox._engine.native import native

Message = native.Message
BUILD_INFO = native.BUILD_INFO
"""The engine's version, the libraries in use and the ciphers they have."""

__all__ = [
    "BUILD_INFO",
    "AddressBusy",
    "Closed",
    "Config",
    "ConnectTimeout",
    "Connection",
    "ConnectionLost",
    "Endpoint",
    "Error",
    "Event",
    "InvalidAddress",
    "InvalidKey",
    "Listener",
    "Message",
    "MessageTooLarge",
    "PolicyDenied",
    "PortInUse",
    "Rule",
    "SecureReliableSocket",
    "Status",
    "StatusChange",
    "Undelivered",
    "WrongKey",
]

# Users meet these names in tracebacks and reprs; where they are defined is no business of theirs.
for _class in (globals()[_name] for _name in __all__):
    if isinstance(_class, type) and _class is not Message:
        _class.__module__ = __name__
