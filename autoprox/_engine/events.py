"""What a connection is doing, and what else happens to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from autoprox._srmudp import Message

Address = tuple[str, int]


class Status(StrEnum):
    """What a connection is doing: WAITING → ESTABLISHED ⇄ RECONNECTING → CLOSED or FAILED."""

    WAITING = "WAITING"
    """No peer has proved the key yet. Sending is accepted."""
    ESTABLISHED = "ESTABLISHED"
    """Both sides have confirmed the key; messages flow."""
    RECONNECTING = "RECONNECTING"
    """Nothing authentic was heard for the liveness time, or the peer's process was replaced. Nothing is lost."""
    CLOSED = "CLOSED"
    """One of the two sides closed it."""
    FAILED = "FAILED"
    """It will not go on by itself; the reason says why."""

    @property
    def is_end(self) -> bool:
        """Whether nothing comes after it."""
        return self in (Status.CLOSED, Status.FAILED)


STATUSES: Final = (Status.WAITING, Status.ESTABLISHED, Status.RECONNECTING, Status.CLOSED, Status.FAILED)
"""By the engine's number."""


@dataclass(frozen=True, slots=True, eq=False)
class StatusChange:
    """What ``on_status`` is given. Equal to its status, so that it can be compared like one.

    Attributes:
        status: what the connection does from now on.
        reason: an error's name such as ``"liveness"``, ``"peer_restarted"``, ``"peer_closed"``; None for nothing special.
        attempt: tries to reach the peer since it was last there.
        remote_address: where packets go, or None before that is known.
    """

    status: Status
    reason: str | None = None
    attempt: int = 0
    remote_address: Address | None = None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StatusChange):
            return (self.status, self.reason, self.attempt, self.remote_address) == (
                other.status, other.reason, other.attempt, other.remote_address,
            )  # fmt: skip
        return self.status == other

    def __hash__(self) -> int:
        return hash(self.status)

    def __str__(self) -> str:
        return self.status if self.reason is None else f"{self.status} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Event:
    """What ``on_event`` is given; ``name`` says which of the other attributes mean something.

    ==================  ====================================================================================
    ``peer_restarted``  the peer's process was replaced; ``resent`` messages go to the new one, of which the
                        dead one may have consumed ``unknown`` already (they arrive marked `maybe_duplicate`)
    ``peer_closed``     the peer said goodbye
    ``wrong_key``       somebody with another key answered, ``count`` times so far
    ``path_changed``    packets now go to ``remote_address``
    ``undelivered``     ``messages`` were accepted here and will not arrive; ``places`` are their (channel, count) as
                        ``on_consumed`` counts
    ==================  ====================================================================================
    """

    name: str
    count: int = 0
    resent: int = 0
    unknown: int = 0
    remote_address: Address | None = None
    messages: tuple[Message, ...] = ()
    places: tuple[tuple[int, int], ...] = ()
