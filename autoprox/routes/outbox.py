"""What waits for a bridge's client, in the order things happened, and what of it survives a client's absence.

Messages are bounded by the engine: each holds back credit until it is consumed. Control frames are bounded by
`CONTROL_LIMIT`: beyond it the client is not read until it has read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from autoprox.routes.protocol import encode
from autoprox.srmudp import Message

CONTROL_LIMIT: Final = 1000
THROUGH_AFTER: Final = 16
"""Items that go before the highest acknowledged frame is told, where they don't end."""
DOUBT_SECONDS: Final = 40.0
DOUBT_BYTES: Final = 16 << 20


class Outgoing:
    """A message from the peer. `seq` is its number for this bridge's clients, given when it is first written.

    `maybe_duplicate`: it may have been given before, to a client of the peer's former process or to one that broke off.
    """

    __slots__ = ("maybe_duplicate", "message", "seq")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.maybe_duplicate = message.maybe_duplicate
        self.seq: int | None = None


class Control(NamedTuple):
    """A control frame, ready to be written; of no use to a later client."""

    text: str


class Ack(NamedTuple):
    """The far client was given the message with this id."""

    id: str | int


class Through(NamedTuple):
    """Stands where the highest acknowledged frame is to be written (autoprox.v1): see `Outbox.want_through`."""


@dataclass
class Notice:
    """Something a client must hear of, also one that comes back later."""

    code: str
    count: int
    message: str
    unknown: int | None = None
    ids: list[str | int] | None = None

    def merge(self, later: Notice) -> None:
        """Takes a later notice of the same code in. `wrong_key` counts are totals, the others add up."""
        self.count = later.count if self.code == "wrong_key" else self.count + later.count
        if later.unknown is not None:
            self.unknown = (self.unknown or 0) + later.unknown
        if later.ids:
            self.ids = [*(self.ids or ()), *later.ids]
        self.message = later.message

    def encode(self) -> str:
        """Its frame."""
        return encode(
            "notice",
            code=self.code,
            count=self.count,
            message=self.message,
            unknown=self.unknown,
            ids=self.ids or None,
        )


@dataclass(frozen=True)
class Ending:
    """How a WebSocket ended or is to end. `by_client`: it is over already, there is nobody to tell."""

    code: int
    message: str = ""
    hint: str = ""
    by_client: bool = False


class Finish(NamedTuple):
    """The last item: the WebSocket is to end."""

    ending: Ending


Item = Outgoing | Control | Ack | Through | Notice | Finish


class Outbox:
    """The queue between a bridge and its client's writer: any number of putters, one getter."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._controls = 0
        self._through = False
        self._before_through = 0
        self._getter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Appends."""
        self._items.append(item)
        if self._getter is not None:
            self._wake_getter()
        if not isinstance(item, Outgoing):
            self._controls += 1
            if self._controls >= CONTROL_LIMIT:
                self._room.clear()

    def want_through(self) -> None:
        """One `Through`, behind what waits already and what comes with it: nobody waits for it, but for messages."""
        if not self._through:
            self._through = True
            self._before_through = THROUGH_AFTER
            self._wake_getter()

    def _wake_getter(self) -> None:
        if self._getter is not None and not self._getter.done():
            self._getter.set_result(None)

    async def get(self) -> Item:
        """The oldest item; waits for one. Cancelling takes nothing."""
        while not self._items and not self._through:
            self._getter = asyncio.get_running_loop().create_future()
            try:
                await self._getter
            finally:
                self._getter = None
        if self._through:
            self._before_through -= 1
            if not self._items or self._before_through < 0:
                self._through = False
                return Through()
        item = self._items.popleft()
        if not isinstance(item, Outgoing):
            self._controls -= 1
            if self._controls < CONTROL_LIMIT:
                self._room.set()
        return item

    def has_room(self) -> bool:
        """Whether fewer than `CONTROL_LIMIT` control frames wait."""
        return self._controls < CONTROL_LIMIT

    async def room(self) -> None:
        """Waits for it."""
        await self._room.wait()

    def take_all(self) -> list[Item]:
        """Empties the queue."""
        items = list(self._items)
        self._items.clear()
        self._controls = 0
        self._through = False
        self._room.set()
        return items


class Doubt:
    """How many messages were written so lately that a client whose connection broke may not have had them.

    Nothing on a WebSocket proves that its application read a message. Counted are those of the last `DOUBT_SECONDS`
    (by then a dead connection would have been found) within the last `DOUBT_BYTES` (more than the buffers hold).
    """

    def __init__(self) -> None:
        self._slots: deque[tuple[float, int, int]] = deque()
        self._bytes = 0

    def add(self, size: int, now: float) -> None:
        """A message of `size` bytes was written."""
        if self._slots and now - self._slots[-1][0] < 1.0 and self._slots[-1][2] < DOUBT_BYTES / 16:
            began, messages, held = self._slots.pop()
            self._slots.append((began, messages + 1, held + size))
        else:
            self._slots.append((now, 1, size))
        self._bytes += size
        while self._bytes - self._slots[0][2] >= DOUBT_BYTES or now - self._slots[0][0] > DOUBT_SECONDS:
            self._bytes -= self._slots.popleft()[2]

    def take(self, now: float) -> int:
        """The doubtful count; begins anew."""
        count = sum(messages for began, messages, _ in self._slots if now - began <= DOUBT_SECONDS)
        self._slots.clear()
        self._bytes = 0
        return count
