"""What an endpoint can be told: `Config`, frozen and checked, and the rules of whom it may talk to."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

MEBIBYTE: Final = 1 << 20
MESSAGE_COST: Final = 64
"""What one message costs in a send or receive buffer beyond its bytes."""

_FOR_EVER: Final = (1 << 32) - 1
_SECONDS: Final = {
    "liveness": (1.0, 600.0),
    "liveness_in_flight": (0.5, 600.0),
    "keepalive_interval": (0.5, 3600.0),
    "outage_limit": (0.001, (_FOR_EVER - 1) / 1000),
    "reconnect_delay": (0.1, 60.0),
    "close_timeout": (0.0, (_FOR_EVER - 1) / 1000),
}
_COUNTS: Final = {
    "max_message_size": (1, 1 << 30),
    "send_buffer": (1, 1 << 40),
    "receive_buffer": (1, 1 << 40),
    "max_connections": (1, _FOR_EVER),
}
_CONGESTION: Final = ("bbr", "cubic")
_IDENTITY_SIZE: Final = 32

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Rule:
    """Whether an endpoint may talk to a network. See `Config.policy`.

    Args:
        allow: True to allow, False to forbid.
        network: as ``"203.0.113.0/24"``, ``"2001:db8::/32"``, a single address, or an `ipaddress` network.
        ports: the first and last port it is about; all by default.
    """

    allow: bool
    network: str | Network
    ports: tuple[int, int] = (1, 65535)

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", ipaddress.ip_network(self.network, strict=False))
        first, last = self.ports
        if not 0 <= first <= last <= 65535:
            raise ValueError(f"Rule.ports must rise within 0 to 65535, not {first} to {last}")

    def packed(self) -> tuple[bool, bytes, int, int, int]:
        """The form the engine takes."""
        network = self.network
        assert not isinstance(network, str)
        return (self.allow, network.network_address.packed, network.prefixlen, *self.ports)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What an endpoint and its connections keep to. Times are seconds, sizes are bytes.

    A value out of its range is a ValueError that names it, one of another type a TypeError.
    """

    liveness: float = 10.0
    """Silence after which an idle connection is RECONNECTING; 1 to 600. 10: two thirds of a keep-alive interval would
    be hasty on a bad link, and a user wants to know within seconds."""
    liveness_in_flight: float = 3.0
    """The same while data waits for acknowledgement; 0.5 to 600. Shorter, since answers are due at once."""
    keepalive_interval: float = 15.0
    """Silence after which a packet is sent that keeps NATs from forgetting the path; 0.5 to 3600. Most NATs hold a
    UDP mapping for 30 s or more."""
    outage_limit: float | None = 3600.0
    """How long a connection may be RECONNECTING before it is FAILED; None: for ever. An hour outlives a lunch break
    with the lid closed."""
    reconnect_delay: float = 1.0
    """Pause between tries while RECONNECTING; 0.1 to 60."""
    close_timeout: float = 5.0
    """How long close() may take to deliver what was sent, where it is given no time of its own; 0: not at all."""
    max_message_size: int = 16 * MEBIBYTE
    """The largest message taken, from the application and from the peer; 1 to 1 GiB."""
    send_buffer: int = 64 * MEBIBYTE
    """What a connection accepts beyond what the peer has consumed, each message counted with 64 bytes more. An empty
    one takes one message of any size. The last eighth, at most 256 KiB, is for messages of up to 4 KiB, so that they
    never wait for large ones. 64 MiB fill 5 Gbit/s at 100 ms."""
    receive_buffer: int = 64 * MEBIBYTE
    """What a connection holds that the application has not consumed, counted likewise; at least max_message_size
    + 64. The peer is never allowed to send more."""
    congestion_control: Literal["bbr", "cubic"] = "bbr"
    """How the rate is found: "bbr" keeps it up under random loss, "cubic" is what most TCPs do."""
    pmtu_discovery: bool = True
    """Look for the largest packets the path carries (RFC 8899); without, they have 1200 bytes."""
    gso: bool = True
    """Hand many packets to the kernel in one call where it can take them; off helps with broken network drivers."""
    max_connections: int = 10_000
    """How many connections an endpoint carries at a time."""
    identity: bytes | None = field(default=None, repr=False)
    """Seed (32 secret random bytes) of an Ed25519 identity that peers are shown as `Connection.peer_fingerprint`."""
    policy: Sequence[Rule] = ()
    """Whom connections may be opened to: the first rule that covers an address and port decides, what none covers is
    allowed. Names are checked by each address they resolve to, each time they do."""

    def __post_init__(self) -> None:
        for name, seconds in _SECONDS.items():
            if name != "outage_limit" or self.outage_limit is not None:
                _check_number(name, getattr(self, name), seconds, (int, float), " seconds")
        for name, counts in _COUNTS.items():
            _check_number(name, getattr(self, name), counts, (int,), "")
        if self.receive_buffer < self.max_message_size + MESSAGE_COST:
            raise ValueError(
                f"Config.receive_buffer must hold a message of max_message_size and {MESSAGE_COST} bytes, "
                f"{self.max_message_size + MESSAGE_COST} in all, and not only {self.receive_buffer}"
            )
        if self.congestion_control not in _CONGESTION:
            raise ValueError(
                f"Config.congestion_control must be 'bbr' or 'cubic', not {self.congestion_control!r}"
            )
        for name in ("pmtu_discovery", "gso"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"Config.{name} must be True or False")
        self._check_identity()
        object.__setattr__(self, "policy", tuple(self.policy))
        if not all(isinstance(rule, Rule) for rule in self.policy):
            raise TypeError("Config.policy must hold Rules")

    def _check_identity(self) -> None:
        if self.identity is None:
            return
        if not isinstance(self.identity, bytes):
            raise TypeError("Config.identity must be bytes or None")
        if len(self.identity) != _IDENTITY_SIZE:
            raise ValueError(f"Config.identity must have {_IDENTITY_SIZE} bytes, not {len(self.identity)}")

    def for_engine(self) -> dict[str, Any]:
        """The form the engine takes: milliseconds, numbers, packed rules."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in _SECONDS:
            values[name] = milliseconds(values[name])
        values["congestion_control"] = _CONGESTION.index(self.congestion_control)
        values["policy"] = tuple(rule.packed() for rule in self.policy)
        return values


def milliseconds(seconds: float | None) -> int:
    """Rounded to the engine's unit, and at most its longest; None is for ever."""
    if seconds is None:
        return _FOR_EVER
    return max(0, min(round(seconds * 1000), _FOR_EVER - 1))


def _check_number(
    name: str, value: Any, bounds: tuple[float, float], types: tuple[type, ...], unit: str
) -> None:
    number: float = value
    if not isinstance(value, types) or isinstance(value, bool):
        raise TypeError(f"Config.{name} must be {'an int' if types == (int,) else 'a number'}, not {value!r}")
    low, high = bounds
    if not low <= number <= high:
        raise ValueError(f"Config.{name} must be from {low:g} to {high:g}{unit}, not {value!r}")
