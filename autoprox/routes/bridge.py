"""The life of one bridge: an SRMUDP peer on one side, at most one client at a time on the other.

```
             attach                 client left, not for good            attach
  (opened) ─────────► with client ───────────────────────────► in grace ───────► with client …
                          │  1000, `close`, no client_id           │ grace over
                          ▼                                        ▼
                        ended ◄────────── peer time-out, failure ──┘      drains at most close_timeout
```
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from autoprox import srmudp
from autoprox.routes.client import Client, Tag
from autoprox.routes.outbox import Ack, Control, Doubt, Ending, Finish, Notice, Outbox, Outgoing
from autoprox.routes.parameters import Parameters
from autoprox.routes.protocol import BadFrame, Close, Refused, encode, encode_error
from autoprox.utils.srmudp_manager import ConnectionStatus, SRMUDPManager

if TYPE_CHECKING:
    from autoprox.routes.hub import Hub, Lease

STATUS_TEXTS: Final = {
    ConnectionStatus.CONNECTED: "The bridge is open.",
    ConnectionStatus.UDP_WAITING: "Waiting for the peer; what is sent now is kept for it.",
    ConnectionStatus.UDP_ESTABLISHED: "The peer is there and both keys are confirmed.",
    ConnectionStatus.RECONNECTING: "The peer is not heard of; trying to reach it again, nothing is lost.",
    ConnectionStatus.DISCONNECTED: "The bridge ended.",
    ConnectionStatus.ERROR: "The bridge cannot go on by itself.",
}
REASON_TEXTS: Final = {
    "peer_closed": "The peer said goodbye; waiting for the next one.",
    "peer_restarted": "The peer's process was replaced by a new one.",
    "wrong_key": "Somebody answers at the peer's address but holds another key.",
    "version_mismatch": "The peer speaks another version of SRMUDP; update the older side.",
    "invalid_address": "remote_host stands for no address at the moment; it is looked up again.",
}
_KEY_HINT: Final = "give both sides the same key"
FAILURES: Final = {
    "connection_lost": Ending(
        Close.NO_PATH,
        "the peer was not heard of within the outage limit",
        "check that it runs and that UDP gets through, then connect again",
    ),
    "connect_timeout": Ending(
        Close.PEER_TIMEOUT,
        "no peer proved the key within timeout",
        "check remote_host, remote_port, that the peer runs, and that UDP gets through",
    ),
    "wrong_key": Ending(Close.WRONG_KEY, "the peer answers but holds another encryption_key", _KEY_HINT),
    "policy_denied": Ending(
        Close.NOT_ALLOWED,
        "remote_host stands for no address that is allowed here",
        "see AUTOPROX_ALLOW_TARGETS and AUTOPROX_DENY_TARGETS",
    ),
    "invalid_address": Ending(Close.BAD_PARAMETERS, "remote_host or remote_port cannot be used"),
    "address_busy": Ending(
        Close.TOO_MANY,
        "too many bridges wait for this remote_host and remote_port",
        "give each a label of its own",
    ),
    "peer_busy": Ending(
        Close.NO_PATH,
        "the peer is connected with somebody else who holds this encryption_key and label",
        "end the other connection, or give both sides of this one a label of their own",
    ),
    "protocol_violation": Ending(Close.NO_PATH, "the peer broke the protocol, and the connection was ended"),
    "too_many": Ending(Close.TRY_AGAIN_LATER, "the UDP port carries as many connections as it may"),
}
"""How a bridge ends for each of the engine's reasons; any other is an internal error."""

logger = logging.getLogger("autoprox.bridge")


class Bridge:
    """One bridge, known by (client_id, remote_host, remote_port) when it has a client_id.

    1. The hub creates it and opens its manager; `finish` ends it, once, from whichever side comes first.
    2. Clients come by `admit` and `attach` (together, without an await between) and go by `detach`.
    3. Messages from the peer stay in `outbox`, unconsumed, until they were written, or confirmed with receipts; a
       client that leaves gives back what it did not finish.

    `address` is the client's, for the limits; `host` what the engine is to look for, a name or one of its addresses.
    """

    def __init__(
        self, hub: Hub, parameters: Parameters, key: str, lease: Lease, address: str, host: str
    ) -> None:
        self.hub = hub
        self.parameters = parameters
        self.address = address
        self.connection_id = "_".join(
            (
                parameters.client_id or secrets.token_hex(16),
                parameters.remote_host,
                str(parameters.remote_port),
            )
        )
        self.outbox = Outbox()
        self.client: Client | None = None
        self.ended = False
        self._key_digest = hub.digest(key)
        self._lease = lease
        self._unconfirmed: deque[Outgoing] = deque()
        self._given = 0
        self._doubt = Doubt()
        self._notices: dict[str, Notice] = {}
        self._acks: list[Ack] = []
        self._grace: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._wrong_keys = 0
        self._failed = False
        self._had_client = False
        self._frames_taken = 0
        self._confirmed = 0
        self._status: dict[str, Any] = {"status": ConnectionStatus.CONNECTED}
        self.manager = SRMUDPManager(
            host,
            parameters.remote_port,
            key,
            max_reconnect_attempts=None,
            endpoint=lease.endpoint,
            label=parameters.label,
            on_message=self._on_message,
            on_delivered=self._on_delivered,
            on_status=self._on_status,
            on_event=self._on_event,
        )

    def __repr__(self) -> str:
        return f"<Bridge {self.connection_id} {self._status['status']}>"

    @property
    def status(self) -> ConnectionStatus:
        """What the bridge's UDP side is doing."""
        return self.manager.get_status()

    # ---- Clients come and go -----------------------------------------------------------------------------------------

    def admit(self, parameters: Parameters, key: str) -> None:
        """Whether another client may take this bridge now. Raises Refused."""
        if (
            not hmac.compare_digest(self._key_digest, self.hub.digest(key))
            or parameters.label != self.parameters.label
        ):
            raise Refused(
                Close.CLIENT_ID_IN_USE,
                "client_id is in use for this target with another encryption_key or label",
                "give the same key and label, or another client_id",
            )
        if self.client is not None and not parameters.takeover and not self.client.tcp.is_gone():
            raise Refused(
                Close.CLIENT_ID_IN_USE,
                "client_id is in use: its client is still connected",
                "close that client, give takeover=1 to replace it, or give another client_id",
            )

    def attach(self, client: Client) -> None:
        """Makes this the bridge's client: it gets CONNECTED, the present status, and what waits for it."""
        resumed, self._had_client = self._had_client, True
        if self.client is not None:
            self.client.leave(Ending(Close.TAKEN_OVER, "another client took this bridge over"))
            self._release_client()
        waiting = self.outbox.take_all()
        self.client = client
        self._put_status(
            {
                "status": ConnectionStatus.CONNECTED,
                "local_port": self._lease.port,
                "resumed": resumed or None,
                "next_seq": self._next_seq(waiting) if client.receipts else None,
                "frames_taken": self._frames_taken if resumed else None,
            }
        )
        self._put_status(self._status)
        for kept in (*self._notices.values(), *self._acks, *waiting):
            self.outbox.put(kept)
        self._notices, self._acks = {}, []
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def detach(self, client: Client, ending: Ending) -> None:
        """The client's WebSocket is over, or about to be. The bridge ends with it, or lives on for `grace`."""
        if self.client is not client:
            return
        for_good = ending.by_client and ending.code == Close.NORMAL
        self._release_client(content=for_good)
        if self.ended:
            return
        grace = self.hub.settings.grace
        if for_good or self.parameters.client_id is None or grace == 0:
            self.hub.forget(self)
            server_ends = ending.code == Close.SERVICE_RESTART
            drain = self.hub.last_drain(self) if server_ends else self.hub.settings.close_timeout
            self.hub.spawn(self.finish(Ending(Close.NORMAL, by_client=True), drain))
            return
        self._grace = asyncio.get_running_loop().call_later(grace, self._grace_is_over)
        logger.info("bridge %s lives on for %g s without its client", self.connection_id, grace)

    def _release_client(self, *, content: bool = False) -> None:
        """Takes back what the client did not finish; sorts what later clients may want from what they may not.

        `content`: the client itself ended in good order, so what it was given it had.
        """
        client, self.client = self.client, None
        assert client is not None
        messages = [*self._unconfirmed]
        self._unconfirmed.clear()
        if client.in_flight is not None:
            client.in_flight.maybe_duplicate = not client.receipts
            messages.append(client.in_flight)
        for item in self.outbox.take_all():
            match item:
                case Outgoing():
                    messages.append(item)
                case Notice():
                    self._keep_notice(item)
                case Ack():
                    self._acks.append(item)
                case _:
                    pass
        for message in messages:
            self.outbox.put(message)
        doubtful = self._doubt.take(asyncio.get_running_loop().time())
        if doubtful and not content:
            self._keep_notice(
                Notice("maybe_lost", doubtful, "Written to a client whose connection broke; maybe unread.")
            )
        self._frames_taken += client.frames

    def _grace_is_over(self) -> None:
        self._grace = None
        ending = Ending(Close.NORMAL, "no client came back in time")
        self.hub.spawn(self.finish(ending, drain=self.hub.settings.close_timeout))

    # ---- Its end -----------------------------------------------------------------------------------------------------

    async def finish(self, ending: Ending, drain: float) -> None:
        """Ends the bridge: delivers for at most `drain` seconds, tells the client what was lost and why. Once."""
        if self.ended:
            return
        self.ended = True
        self.hub.forget(self)
        for timer in (self._grace, self._patience):
            if timer is not None:
                timer.cancel()
        try:
            await self.manager.stop(drain)
        finally:
            self.outbox.put(Finish(ending))
            if self.client is None:
                self._log_losses()
            self._lease.release()
            logger.info("bridge %s ended", self.connection_id)

    def _log_losses(self) -> None:
        for item in self.outbox.take_all():
            if isinstance(item, Notice):
                self._keep_notice(item)
        for notice in self._notices.values():
            self.hub.count_loss(notice.code, notice.count)
            logger.warning(
                "bridge %s: %s %d and no client to tell: %s",
                self.connection_id,
                notice.code,
                notice.count,
                notice.message,
            )
        self._notices.clear()

    # ---- From the client ---------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes, channel: int, tag: Tag | None) -> None:
        """Sends; waits while the send buffer is full. Raises BadFrame. On a bridge that ends it waits for the end."""
        try:
            await self.manager.send(data, channel=channel, tag=tag)
        except srmudp.MessageTooLarge as error:
            raise BadFrame("too_large", str(error)) from error
        except (srmudp.Closed, srmudp.ConnectionLost):
            await asyncio.Event().wait()  # whoever ended the bridge ends this client

    def command(self, command: str) -> None:
        """Answers a client's command."""
        match command:
            case "status":
                self._put_status(self._status)
            case "stats":
                self.outbox.put(Control(encode("stats", **self.describe())))
            case "reconnect":
                self.manager.reset_connection()
                self.outbox.put(Control(encode("reconnect", accepted=True)))
            case "close":
                ending = Ending(Close.NORMAL, "closed as asked")
                self.hub.spawn(self.finish(ending, drain=self.hub.settings.close_timeout))

    def confirm(self, seq: int) -> bool:
        """A receipt up to `seq`: consumes these messages. False when `seq` was never written.

        A client that came back may confirm what is still to be written to it once more: see `written`.
        """
        if seq > self._given:
            return False
        self._confirmed = max(self._confirmed, seq)
        unconfirmed = self._unconfirmed
        while unconfirmed:
            first = unconfirmed[0].seq
            if first is None or first > seq:
                break
            unconfirmed.popleft().message.consume()
        return True

    def has_unconfirmed(self) -> bool:
        """Whether written messages wait for their receipt."""
        return bool(self._unconfirmed)

    # ---- To the client -----------------------------------------------------------------------------------------------

    def number(self, item: Outgoing) -> int:
        """The message's `seq`: counted over all clients of the bridge, so that one given again is known as such."""
        if item.seq is None:
            self._given += 1
            item.seq = self._given
        return item.seq

    def written(self, client: Client, item: Outgoing, now: float) -> None:
        """The client's WebSocket took the message."""
        if client is not self.client:
            return
        if client.receipts and (item.seq or 0) > self._confirmed:
            self._unconfirmed.append(item)
            return
        if not client.receipts:
            self._doubt.add(len(item.message), now)
        item.message.consume()

    def _next_seq(self, waiting: list[Any]) -> int:
        for item in waiting:
            if isinstance(item, Outgoing) and item.seq is not None:
                return item.seq
        return self._given + 1

    def _put_status(self, fields: dict[str, Any]) -> None:
        if self.client is None:
            return
        status = fields["status"]
        self.outbox.put(
            Control(
                encode(
                    "status",
                    connection_id=self.connection_id,
                    message=REASON_TEXTS.get(fields.get("reason", ""), STATUS_TEXTS[status]),
                    **fields,
                )
            )
        )

    def _put_notice(self, notice: Notice) -> None:
        if self.client is None:
            self._keep_notice(notice)
        else:
            self.outbox.put(notice)

    def _keep_notice(self, notice: Notice) -> None:
        kept = self._notices.setdefault(notice.code, notice)
        if kept is not notice:
            kept.merge(notice)

    # ---- From the manager --------------------------------------------------------------------------------------------

    def _on_message(self, message: srmudp.Message) -> None:
        self.outbox.put(Outgoing(message))

    def _on_delivered(self, tags: list[Tag]) -> None:
        for tag in tags:
            if tag.client is self.client:
                tag.client.settle(tag.frame)
            if tag.id is not None:
                ack = Ack(tag.id)
                if self.client is None:
                    self._acks.append(ack)
                else:
                    self.outbox.put(ack)

    def _on_status(self, status: ConnectionStatus, info: dict[str, Any]) -> None:
        if status is ConnectionStatus.DISCONNECTED and self._failed:
            return  # ERROR was the last word
        self._status = {"status": status} | info
        self._put_status(self._status)
        if status is ConnectionStatus.UDP_WAITING:
            self._wrong_keys = 0
            self._wait_for_peer()
        elif status is ConnectionStatus.UDP_ESTABLISHED and self._patience is not None:
            self._patience.cancel()
            self._patience = None
        elif status is ConnectionStatus.ERROR:
            self._fail(info.get("reason", ""))

    def _on_event(self, event: str, info: dict[str, Any]) -> None:
        match event:
            case "wrong_key":
                self._on_wrong_key(info["count"])
            case "peer_restarted":
                text = "The peer's process was replaced; what it had not consumed was sent again."
                self._put_notice(Notice("peer_restarted", info["resent"], text, unknown=info["unknown"]))
            case "undelivered":
                ids = [tag.id for tag in info["tags"] if tag.id is not None]
                text = "Accepted from the client, and will not arrive."
                self._put_notice(Notice("undelivered", info["count"], text, ids=ids))
            case "path_changed":
                if self._status["status"] is ConnectionStatus.UDP_ESTABLISHED:
                    self._status |= info  # for those who ask; nothing else changed
            case _:
                pass  # peer_closed shows in the status

    def _on_wrong_key(self, count: int) -> None:
        if not self._wrong_keys and self.client is not None:
            message = "somebody answers at the peer's address but holds another encryption_key"
            hint = f"{_KEY_HINT}; this bridge goes on waiting"
            self.outbox.put(Control(encode_error("wrong_key", message, hint, self.connection_id)))
        self._wrong_keys += 1
        self._put_notice(Notice("wrong_key", count, "Completed tries with another key so far."))

    def _wait_for_peer(self) -> None:
        if self.parameters.timeout is not None and self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(self.parameters.timeout, self._peer_did_not_come)

    def _peer_did_not_come(self) -> None:
        self._patience = None
        reason = "wrong_key" if self._wrong_keys else "connect_timeout"
        self._on_status(ConnectionStatus.ERROR, {"reason": reason})

    def _fail(self, reason: str) -> None:
        self._failed = True
        self.hub.forget(self)
        unknown = Ending(Close.INTERNAL_ERROR, f"the connection failed: {reason or 'the reason is unknown'}")
        self.hub.spawn(self.finish(FAILURES.get(reason, unknown), drain=0))

    # ---- For lists and stats -----------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What ``/v0/ws/connections`` and ``stats`` show; never a key."""
        return self.manager.stats() | {
            "connection_id": self.connection_id,
            "remote_host": self.parameters.remote_host,
            "remote_port": self.parameters.remote_port,
            "local_port": self._lease.port,
            "label": self.parameters.label,
            "client": self.client is not None,
            "status": self._status["status"],
        }
