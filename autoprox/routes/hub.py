"""What the bridges of one app share: the UDP endpoint, the list of bridges, the limits.

A hub belongs to the running event loop and the settings, so a router included twice, or two apps with equal settings on
one loop, share one UDP port. It starts with the app's lifespan, or with the first bridge where no lifespan reaches it (an
app mounted below another), and ends with the lifespan or with the loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import secrets
import socket
import unicodedata
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final
from weakref import WeakKeyDictionary

from autoprox import srmudp
from autoprox.config import Settings
from autoprox.routes.bridge import Bridge
from autoprox.routes.outbox import Ending
from autoprox.routes.parameters import Parameters
from autoprox.routes.protocol import Close, Refused
from autoprox.routes.tcp import TcpConnection
from autoprox.utils.srmudp_manager import ConnectionStatus, engine_config

RESOLVE_TIMEOUT: Final = 5.0
REAP_INTERVAL: Final = 5.0
ABSENT_DRAIN: Final = 1.0
"""Seconds a server that ends waits for a peer that isn't there."""

logger = logging.getLogger("autoprox.bridge")

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, Hub]] = WeakKeyDictionary()


class Lease:
    """One bridge's share of an endpoint."""

    def __init__(self, hub: Hub, endpoint: srmudp.Endpoint, shared: bool) -> None:
        self.endpoint = endpoint
        self.port: int = endpoint.local_address[1]
        self._hub = hub
        self._shared = shared
        self.users = 0

    def release(self) -> None:
        """Gives the share back; an endpoint of its own ends with the last."""
        self.users -= 1
        if self.users == 0 and not self._shared:
            self._hub.drop(self)


class Hub:
    """The bridges of one event loop and one `Settings`; methods belong to that loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.losses: Counter[str] = Counter()
        """Messages lost with no client left to tell, by notice code."""
        self.lifespans = 0
        self._policy = settings.target_policy()
        self._secret = secrets.token_bytes(32)
        self._bridges: dict[Bridge, None] = {}  # an ordered set: their public ids may be alike
        self._by_identity: dict[tuple[str, str, int], Bridge] = {}
        self._per_client: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reapers: set[asyncio.Task[None]] = set()
        self._ending: dict[int, asyncio.Task[None]] = {}
        self._binding = asyncio.Lock()
        self._shared: Lease | None = None
        self._own: dict[int, Lease] = {}
        self._guard: AsyncGenerator[None, None] | None = None
        self._closed = False
        self._leaving = False

    @staticmethod
    def find_running(settings: Settings) -> Hub | None:
        """The running loop's hub for these settings, if there is one."""
        hub = _hubs.get(asyncio.get_running_loop(), {}).get(settings)
        return None if hub is None or hub._closed else hub

    @staticmethod
    def current(settings: Settings) -> Hub:
        """The same; a new one if there is none."""
        hub = Hub.find_running(settings)
        if hub is None:
            hub = _hubs.setdefault(asyncio.get_running_loop(), {})[settings] = Hub(settings)
        return hub

    # ---- Endpoints ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Binds the shared UDP port, if it isn't yet. Raises srmudp.PortInUse and other srmudp.Error."""
        async with self._binding:
            if self._shared is None:
                self._shared = Lease(self, await self._bind_shared(), shared=True)
                self._guard = self._until_the_loop_ends()
                await anext(self._guard)

    async def _bind(self, port: int) -> srmudp.Endpoint:
        return await srmudp.Endpoint.bind(self.settings.udp_host, port, config=engine_config(self.settings))

    async def _bind_shared(self) -> srmudp.Endpoint:
        port = self.settings.udp_port
        try:
            return await self._bind(port)
        except srmudp.PortInUse:
            raise srmudp.PortInUse(
                f"UDP port {port} is in use, by another program or another worker of this server: each worker process "
                "is a bridge of its own. Use one worker, another AUTOPROX_UDP_PORT, or 0 for any free port"
            ) from None

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        """Closes the hub when the loop shuts its asynchronous generators down, for apps no lifespan reaches."""
        try:
            yield
        finally:
            self._guard = None
            await self.close()

    async def lease(self, local_port: int | None) -> Lease:
        """A share of the endpoint on `local_port` (None: the shared one; 0: one of its own). Raises Refused, srmudp.Error."""
        try:
            await self.start()
        except srmudp.PortInUse as error:  # the server's own mistake, not a parameter of the client
            raise Refused(Close.INTERNAL_ERROR, str(error)) from error
        assert self._shared is not None
        lease = self._shared
        if local_port is not None and local_port != lease.port:
            async with self._binding:
                if (ending := self._ending.pop(local_port, None)) is not None:
                    await asyncio.wait((ending,))
                own = self._own.get(local_port)
                if own is None:
                    own = Lease(self, await self._bind(local_port), shared=False)
                    self._own[own.port] = own
                lease = own
        lease.users += 1
        return lease

    def drop(self, lease: Lease) -> None:
        """Ends an endpoint nobody uses any more."""
        self._own.pop(lease.port, None)
        self._ending[lease.port] = task = self.spawn(lease.endpoint.close())
        task.add_done_callback(lambda _: self._ending.pop(lease.port, None))

    @property
    def udp_addresses(self) -> list[tuple[str, int]]:
        """Where the shared endpoint is bound; empty before it is."""
        return (
            []
            if self._shared is None
            else [(address[0], address[1]) for address in self._shared.endpoint.local_addresses]
        )

    async def close(self) -> None:
        """Ends every bridge and every endpoint. Bridges deliver for at most `close_timeout`, without a peer `ABSENT_DRAIN`."""
        if self._closed:
            return
        self._closed = True
        going_away = Ending(Close.GOING_AWAY, "the server is going away")
        bridges = list(self._bridges)
        await asyncio.gather(*(bridge.finish(going_away, self.last_drain(bridge)) for bridge in bridges))
        for reaper in self._reapers:
            reaper.cancel()
        await _end(self._tasks, self.settings.close_timeout + 1)
        leases = [*self._own.values(), *([self._shared] if self._shared else [])]
        self._own, self._shared = {}, None
        await asyncio.gather(*(lease.endpoint.close() for lease in leases))
        if self._guard is not None:
            await self._guard.aclose()

    async def farewell(self) -> None:
        """The server is about to end: bridges deliver what they still can, and their clients hear what was lost and why.

        Clients that read nothing are left behind after a moment.
        """
        self._leaving = True
        ending = Ending(Close.SERVICE_RESTART, "the server is restarting or going away")
        await asyncio.gather(*(self._part(bridge, ending) for bridge in list(self._bridges)))

    async def _part(self, bridge: Bridge, ending: Ending) -> None:
        client = bridge.client
        await bridge.finish(ending, self.last_drain(bridge))
        if client is not None:
            await client.see_off(ending)

    def last_drain(self, bridge: Bridge) -> float:
        """Seconds the bridge may deliver for when the server ends."""
        most = self.settings.close_timeout
        return most if bridge.status is ConnectionStatus.UDP_ESTABLISHED else min(most, ABSENT_DRAIN)

    # ---- Bridges -----------------------------------------------------------------------------------------------------

    def find(self, parameters: Parameters) -> Bridge | None:
        """The living bridge of the same client_id and target."""
        return None if parameters.identity is None else self._by_identity.get(parameters.identity)

    def is_full(self) -> bool:
        """Whether `max_bridges` are there."""
        return len(self._bridges) >= self.settings.max_bridges

    async def bridge(self, parameters: Parameters, key: str, address: str, *, privileged: bool) -> Bridge:
        """The bridge for a client: the living one, or a new one. The caller attaches its client before it awaits anything.

        Raises Refused and srmudp.Error.
        """
        if self.find(parameters) is None:
            host = await self._choose_host(parameters, privileged)
            lease = await self.lease(parameters.local_port)
            try:
                if self.find(parameters) is None:
                    self._check_limits(address)
                    bridge = Bridge(self, parameters, key, lease, address, host)
                    bridge.manager.open()
                    return self._register(bridge)
            except BaseException:
                lease.release()
                raise
            lease.release()
        living = self.find(parameters)
        assert living is not None
        living.admit(parameters, key)
        return living

    def _register(self, bridge: Bridge) -> Bridge:
        self._bridges[bridge] = None
        self._per_client[bridge.address] += 1
        if bridge.parameters.identity is not None:
            self._by_identity[bridge.parameters.identity] = bridge
        return bridge

    def forget(self, bridge: Bridge) -> None:
        """The bridge leaves the list, at once."""
        if bridge not in self._bridges:
            return
        del self._bridges[bridge]
        self._per_client -= Counter((bridge.address,))
        if bridge.parameters.identity is not None:
            del self._by_identity[bridge.parameters.identity]

    def describe(self) -> list[dict[str, Any]]:
        """All bridges, for ``/v0/ws/connections``."""
        return [bridge.describe() for bridge in self._bridges]

    def _check_limits(self, address: str) -> None:
        if self._leaving:
            raise Refused(Close.SERVICE_RESTART, "the server is restarting or going away", "try again later")
        if self.is_full():
            raise Refused(
                Close.TRY_AGAIN_LATER, "this server carries as many bridges as it may", "try again later"
            )
        if self._per_client[address] >= self.settings.max_bridges_per_client:
            raise Refused(Close.TOO_MANY, "this client has as many bridges as it may", "close some of them")

    async def _choose_host(self, parameters: Parameters, privileged: bool) -> str:
        """What the engine is to look for. Raises Refused when no address of it is allowed.

        With loopback privileges a name goes to the engine as it is: it may resolve later, or to something else, and the
        engine holds each address against the same rules. Without, what is allowed is not the engine's rule, so it gets
        the name's first allowed address and never asks again.
        """
        host, port = parameters.remote_host, parameters.remote_port
        addresses = await resolve(host, port)
        allowed = [one for one in addresses if self._policy.permits(one, port, privileged=privileged)]
        if addresses and not allowed:
            raise Refused(
                Close.NOT_ALLOWED,
                f"remote_host {host} port {port} is not a target allowed here",
                "see AUTOPROX_ALLOW_TARGETS and AUTOPROX_DENY_TARGETS on the server",
            )
        if privileged:
            return host
        if not allowed:
            raise Refused(
                Close.NO_PATH, f"remote_host {host} does not resolve", "check the name, or try again later"
            )
        return allowed[0]

    # ---- Small services ----------------------------------------------------------------------------------------------

    def digest(self, key: str) -> bytes:
        """What keys are compared by: a keyed hash of the key's NFC form."""
        return hashlib.blake2b(unicodedata.normalize("NFC", key).encode(), key=self._secret).digest()

    def count_loss(self, code: str, count: int) -> None:
        """Messages were lost and no client was left to tell."""
        self.losses[code] += count

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something that outlives its caller; the hub owns the task."""
        return self._own_task(work, self._tasks)

    def _own_task(
        self, work: Coroutine[Any, Any, None], owned: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        owned.add(task)
        task.add_done_callback(owned.discard)
        task.add_done_callback(self._log_failure)
        return task

    def _log_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a bridge did not end cleanly", exc_info=error)

    def reap(self, tcp: TcpConnection, interval: float = REAP_INTERVAL) -> None:
        """Sees to it that a WebSocket's connection really ends after its handler did."""
        self._own_task(self._hang_up_later(tcp, interval), self._reapers)

    async def _hang_up_later(self, tcp: TcpConnection, interval: float) -> None:
        """ASGI leaves a connection whose buffer is full standing for ever: end it once it makes no progress."""
        before = -1
        await asyncio.sleep(interval)
        while (acknowledged := tcp.bytes_acknowledged()) is not None:
            if acknowledged == before:
                tcp.hang_up()
                return
            before = acknowledged
            await asyncio.sleep(interval)


async def _end(tasks: set[asyncio.Task[None]], patience: float) -> None:
    """Waits for the tasks, cancels those that take longer."""
    if waiting := set(tasks):
        _, late = await asyncio.wait(waiting, timeout=patience)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses a host stands for; none when it does not resolve in `RESOLVE_TIMEOUT`."""
    try:
        ipaddress.ip_address(host)
        return [host]
    except ValueError:
        pass
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError, UnicodeError):
        return []
    return [str(address[0]) for _, _, _, _, address in found]
