"""The C extension: what of `autoprox.srmudp` runs for every message. Use that."""

from asyncio import AbstractEventLoop
from typing import Any, Final, final
from weakref import ReferenceType

from typing_extensions import Buffer

VERSION: Final[str]
BUILD_INFO: Final[str]
ERRORS: Final[tuple[tuple[str, str, str], ...]]
"""(name, Python class or "", text) by number."""

NOT_TRIED: Final[int]
PARKED: Final[int]

STATUS: Final[int]
MESSAGE: Final[int]
WRITABLE: Final[int]
CONSUMED: Final[int]
ACCEPTED: Final[int]
WRONG_KEY: Final[int]
PEER_RESTARTED: Final[int]
PEER_CLOSED: Final[int]
PATH_CHANGED: Final[int]
UNDELIVERED: Final[int]
CLOSED: Final[int]

class Failure(Exception):
    """An error of the engine: its number in ERRORS, and errno or 0."""

    args: tuple[int, int]

@final
class Message(Buffer):
    """One whole message. len() gives its bytes, memoryview() looks at them without a copy."""

    def __new__(
        cls,
        data: bytes,
        is_text: bool = False,
        channel: int = 0,
        number: int = 0,
        maybe_duplicate: bool = False,
    ) -> Message: ...
    @property
    def data(self) -> bytes:
        """The message's bytes; for text its UTF-8."""

    @property
    def is_text(self) -> bool:
        """Whether it was sent as text."""

    @property
    def channel(self) -> int:
        """0 to 255."""

    @property
    def number(self) -> int:
        """Its place in its channel, from 0."""

    @property
    def maybe_duplicate(self) -> bool:
        """Whether a process of this side that died may have consumed it already."""

    def consume(self) -> None:
        """Tells the sender that this message is done with; only for callbacks set with consume=False.

        A second time does nothing. On each channel messages count as consumed in order: one that is consumed
        early counts when those before it do. While a memoryview of it exists, with the last of those.
        A message that is dropped without it stays unconsumed, and so do all behind it on its channel.
        """

    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Connection:
    """A connection of the engine."""

    owner: ReferenceType[Any] | None
    """A weak reference to the Connection of autoprox.srmudp."""
    handed: bool
    """Whether messages go to a callback: receive() gives none."""

    @property
    def pending(self) -> int:
        """Messages received and not yet taken."""

    @property
    def tired(self) -> bool:
        """Whether the loop is due before more is sent or received."""

    def send(self, data: str | Buffer, channel: int, /) -> int:
        """0, an error's number in ERRORS, PARKED or NOT_TRIED."""

    def send_waiting(self, data: str | Buffer, channel: int, /) -> int:
        """The same for the sender whose turn it is: what it parked goes first."""

    def unpark(self, channel: int, /) -> None:
        """Forgets the channel's parked message."""

    def line_up(self, channel: int, /) -> None:
        """A sender waits for its turn on the channel: nobody overtakes it."""

    def step_out(self, channel: int, /) -> None:
        """It waits no longer."""

    def sent(self) -> dict[int, int]:
        """How many messages were accepted, by channel."""

    def receive(self) -> bytes | None:
        """The next message's bytes, consumed; None: not at once."""

    def receive_message(self) -> Message | None:
        """The same as a Message."""

    def take(self) -> Message | None:
        """The next message, to be consumed by the caller; None: none is there."""

    def close(self, milliseconds: int, /) -> None:
        """Begins to close."""

    def reconnect(self) -> None:
        """Tries at once to reach the peer."""

    def release(self) -> None:
        """Ends what the engine knows of it; messages that came can still be received."""

    def stats(self) -> dict[str, Any]:
        """Figures of now, or the last ones after release()."""

@final
class Listener:
    """A listener of the engine."""

    owner: ReferenceType[Any] | None
    """A weak reference to the Listener of autoprox.srmudp."""

    def close(self) -> None:
        """Stops accepting."""

@final
class Endpoint:
    """An endpoint of the engine, bound when it is made. Raises Failure."""

    def __new__(
        cls,
        loop: AbstractEventLoop | None,
        host: str,
        port: int,
        liveness: int,
        liveness_in_flight: int,
        keepalive_interval: int,
        outage_limit: int,
        reconnect_delay: int,
        close_timeout: int,
        max_message_size: int,
        send_buffer: int,
        receive_buffer: int,
        congestion_control: int,
        pmtu_discovery: bool,
        gso: bool,
        max_connections: int,
        identity: bytes | None,
        policy: tuple[tuple[bool, bytes, int, int, int], ...],
    ) -> Endpoint: ...
    def open(self, host: str, port: int, key: bytes, label: str, /) -> Connection:
        """A Connection of the engine. Raises Failure."""

    def listen(self, key: bytes, label: str, /) -> Listener:
        """A Listener of the engine. Raises Failure."""

    def poll(self, limit: int, /) -> list[tuple[Any, ...]]:
        """Takes up to `limit` waiting events: (Connection, kind, ...), in the order things happened.

        Messages stay with their Connection; a run of them is one event with their count.
        """

    def linger(self, limit: int, /) -> list[tuple[Any, ...]] | None:
        """The same for an answer that is expected at once: waits for it without sleeping, for at most 50 µs.

        None: none is expected, or came.
        """

    def rest(self) -> None:
        """The loop has run: there may be sent and received again."""

    def fileno(self) -> int:
        """A descriptor that is readable while events wait; -1 when closed."""

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """The bound addresses, IPv4 first."""

    def stats(self) -> dict[str, int]:
        """Figures of now."""

    def close(self) -> None:
        """Ends the engine's thread and all it carries, at once."""

    def forget(self) -> None:
        """The same in a forked child, without touching anything."""
