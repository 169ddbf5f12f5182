"""Which of the messages sent on a connection are settled: consumed by the peer's application, or known not to arrive."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping


class Delivery:
    """Counts by channel, as the engine numbers accepted messages: 1, 2, 3, …

    A channel's messages are consumed in order, so one number says it all, but for those that will not arrive (larger
    than the peer takes): they are skipped.
    """

    __slots__ = ("_consumed", "_skipped")

    def __init__(self) -> None:
        self._consumed: dict[int, int] = {}
        self._skipped: dict[int, list[int]] = {}

    def consumed(self, channel: int, sequence: int) -> None:
        """The peer's application consumed the channel's messages up to this one."""
        self._consumed[channel] = sequence
        skipped = self._skipped.get(channel)
        while skipped and skipped[0] <= sequence:
            skipped.pop(0)

    def skip(self, places: Iterable[tuple[int, int]]) -> None:
        """These (channel, sequence) will not arrive."""
        for channel, sequence in places:
            if sequence > self._consumed.get(channel, 0):
                insort(self._skipped.setdefault(channel, []), sequence)

    def settled(self, targets: Mapping[int, int]) -> bool:
        """Whether nothing up to each channel's target is on its way any more."""
        return all(self._settled(channel, target) for channel, target in targets.items())

    def _settled(self, channel: int, target: int) -> bool:
        missing = target - self._consumed.get(channel, 0)
        if missing <= 0:
            return True
        skipped = self._skipped.get(channel, ())
        return missing <= len(skipped) and missing == sum(sequence <= target for sequence in skipped)
