"""Calls what `Connection.set_callbacks` set: on the loop's thread, one at a time, in the order things happened."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from autoprox._engine.events import Event, StatusChange

if TYPE_CHECKING:
    from autoprox._engine.native import native

OnMessage = Callable[["native.Message"], Awaitable[object] | object]
OnStatus = Callable[[StatusChange], Awaitable[object] | object]
OnEvent = Callable[[Event], Awaitable[object] | object]
OnConsumed = Callable[[int, int], Awaitable[object] | object]

_TURN: Final = 64
"""Calls before the loop gets its turn."""

_MESSAGES, _STATUS, _EVENT, _CONSUMED = range(4)


class Callbacks:
    """One connection's callbacks and what waits for them.

    1. Messages stay with the engine's connection; the queue holds how many there are between other things.
    2. A plain function is called from the loop's reader; what a callback gives that can be awaited is awaited by a
       task, and everything behind it waits.
    3. A message is consumed when its callback is through with it, also when that failed, but not when it was
       cancelled from outside: then no callback is called any more, since the loop is being shut down.
    """

    __slots__ = (
        "_handle", "_loop", "_owner", "_queue", "_scheduled", "_stopped", "_task", "_when_idle", "consume", "on_consumed", "on_event",
        "on_message", "on_status",
    )  # fmt: skip

    def __init__(self, owner: object, handle: native.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.on_message: OnMessage | None = None
        self.on_status: OnStatus | None = None
        self.on_event: OnEvent | None = None
        self.on_consumed: OnConsumed | None = None
        self.consume = True
        self._owner = weakref.ref(owner)
        self._handle = handle
        self._loop = loop
        self._queue: deque[tuple[int, Any]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._scheduled = False
        self._stopped = False
        self._when_idle: Callable[[], None] | None = None

    @property
    def any(self) -> bool:
        """Whether there is anybody to call."""
        every = (self.on_message, self.on_status, self.on_event, self.on_consumed)
        return any(callback is not None for callback in every)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._queue and self._task is None

    # ---- In ----------------------------------------------------------------------------------------------------------

    def messages(self, count: int) -> None:
        """So many messages came."""
        if self.on_message is None:
            return
        if self._is_free and count <= _TURN:
            count = self._call_at_once(count)
        if count:
            self._queue.append((_MESSAGES, count))
            self._run()

    def status(self, change: StatusChange) -> None:
        """The connection does something else now."""
        if self.on_status is not None:
            self._queue.append((_STATUS, change))
            self._run()

    def event(self, event: Event) -> None:
        """Something happened."""
        if self.on_event is not None:
            self._queue.append((_EVENT, event))
            self._run()

    def consumed(self, channel: int, count: int) -> None:
        """The peer's application consumed a channel's messages up to this one."""
        if self.on_consumed is None:
            return
        if not self._is_free:
            self._queue.append((_CONSUMED, (channel, count)))
            self._run()
        elif (awaitable := self._call(self.on_consumed, channel, count)) is not None:
            self._await_by_task(awaitable, None)

    def wait_for(self, count: int) -> None:
        """So many messages wait already."""
        self._queue.append((_MESSAGES, count))
        self.schedule()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Calls `then` once nothing waits and nothing runs."""
        if self.idle:
            then()
        else:
            self._when_idle = then

    def schedule(self) -> None:
        """Goes on when the loop comes round."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._resume)

    def forget_messages(self) -> None:
        """Nobody is called for messages any more; those that wait stay with the connection."""
        self._queue = deque(item for item in self._queue if item[0] != _MESSAGES)

    @property
    def _is_free(self) -> bool:
        """Whether what comes now may be called for now: nothing is before it."""
        return not self._queue and self._task is None and not self._scheduled and not self._stopped

    # ---- Out ---------------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        self._scheduled = False
        self._run()

    def _call_at_once(self, count: int) -> int:
        """Calls for so many messages, before which nothing waits, as long as there is nothing to await.

        Returns how many are left. The queue would do the same, and costs as much as many a callback.
        """
        try:
            while count:
                count -= 1
                awaitable, message = self._call_message()
                if awaitable is not None:
                    self._await_by_task(awaitable, message)
                    break
        except BaseException:  # as in `_run`
            if count:
                self.wait_for(count)
            raise
        return count

    def _run(self) -> None:
        """Calls what waits, until something has to be awaited or the loop is due."""
        if self._task is not None or self._scheduled or self._stopped:
            return
        for _ in range(_TURN):
            if not self._queue:
                return self._idle_now()
            try:
                awaitable, message = self._call_next()
            except (
                BaseException
            ):  # KeyboardInterrupt and the like end the loop's run; whoever runs it again goes on
                self.schedule()
                raise
            if awaitable is not None:
                self._await_by_task(awaitable, message)
                return
        self.schedule()

    def _await_by_task(self, awaitable: Awaitable[object], message: native.Message | None) -> None:
        self._task = self._loop.create_task(self._work(awaitable, message), name="srmudp callback")

    async def _work(self, awaitable: Awaitable[object] | None, message: native.Message | None) -> None:
        """Awaits, and goes on until nothing waits."""
        try:
            for turn in itertools.count(1):
                if awaitable is not None:
                    await self._await(awaitable, message)
                if not self._queue:
                    return
                if turn % _TURN == 0:
                    await asyncio.sleep(0)
                awaitable, message = self._call_next()
        except asyncio.CancelledError:
            self._stopped = True
            raise
        finally:
            self._task = None
            if self._queue:
                self.schedule()
            else:
                self._idle_now()

    def _idle_now(self) -> None:
        if self._when_idle is not None:
            then, self._when_idle = self._when_idle, None
            then()

    async def _await(self, awaitable: Awaitable[object], message: native.Message | None) -> None:
        try:
            await awaitable
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._report(error)  # the callback's own, as of something it waited for
        except Exception as error:  # noqa: BLE001  # a callback's failure is the loop's to tell and ends nothing
            self._report(error)
        if message is not None and self.consume:
            message.consume()

    def _call_next(self) -> tuple[Awaitable[object] | None, native.Message | None]:
        """Calls for the oldest thing that waits; gives what is to be awaited, and the message to consume then."""
        kind, argument = self._queue[0]
        if kind == _MESSAGES and argument > 1:
            self._queue[0] = (_MESSAGES, argument - 1)
            return self._call_message()
        self._queue.popleft()
        if kind == _MESSAGES:
            return self._call_message()
        if kind == _STATUS:
            return self._call(self.on_status, argument), None
        if kind == _EVENT:
            return self._call(self.on_event, argument), None
        return self._call(self.on_consumed, *argument), None

    def _call_message(self) -> tuple[Awaitable[object] | None, native.Message | None]:
        message = self._handle.take() if self.on_message is not None else None
        if message is None:
            return None, None
        awaitable = None
        try:
            awaitable = self._call(self.on_message, message)
        finally:
            if awaitable is None and self.consume:
                message.consume()
        return awaitable, message

    def _call(self, callback: Callable[..., object] | None, *arguments: object) -> Awaitable[object] | None:
        if callback is None:
            return None
        try:
            result = callback(*arguments)
        except Exception as error:  # noqa: BLE001  # as above
            self._report(error)
            return None
        return result if result is not None and inspect.isawaitable(result) else None

    def _report(self, error: BaseException) -> None:
        owner = self._owner()
        self._loop.call_exception_handler(
            {"message": f"A callback of {owner!r} failed", "exception": error, "connection": owner}
        )
