"""Where a bridge may send UDP: networks and ports, as text, and the policy made of them.

A rule is ``NETWORK[:PORTS]``: a CIDR network, a single address or ``*``; ports are ``*``, numbers and ranges joined by
``+``. IPv6 stands in brackets when ports follow::

    203.0.113.0/24:40000-40999     [2001:db8::/32]:443+5000-6000     198.51.100.7     *:40000

This module knows addresses only. Names are resolved by whoever asks, and every address they stand for is checked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1
_CLOUD_METADATA = frozenset(  # link-local 169.254.169.254 is refused with its network
    ipaddress.ip_address(text) for text in ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def embedded(address: Address) -> Address:
    """The address packets really go to: IPv4 inside an IPv4-mapped, 6to4 or NAT64 IPv6 address, else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


@dataclass(frozen=True)
class TargetRule:
    """One network (None: any address) and the port ranges in it, both ends included."""

    network: Network | None
    ports: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> TargetRule:
        """Reads one rule. Raises ValueError with a sentence that names what is wrong."""
        network, ports = _split(text.strip())
        return cls(_parse_network(network), _parse_ports(ports))

    def covers(self, address: Address, port: int) -> bool:
        """Whether the rule is about this address and port."""
        if not any(low <= port <= high for low, high in self.ports):
            return False
        return self.network is None or (address.version == self.network.version and address in self.network)


@dataclass(frozen=True)
class TargetPolicy:
    """What `allow_targets` and `deny_targets` mean together.

    1. What a deny rule covers is refused.
    2. What an allow rule covers is allowed; ``*`` does not reach the addresses of rule 3.
    3. Multicast, broadcast, unspecified, reserved, link-local and cloud metadata addresses are refused.
    4. The rest is allowed with loopback privileges only.
    """

    allow: tuple[TargetRule, ...] = ()
    deny: tuple[TargetRule, ...] = ()

    @classmethod
    def parse(cls, allow: Iterable[str], deny: Iterable[str]) -> TargetPolicy:
        """Reads both lists. Raises ValueError."""
        return cls(tuple(map(TargetRule.parse, allow)), tuple(map(TargetRule.parse, deny)))

    def permits(self, host: str, port: int, *, privileged: bool) -> bool:
        """Whether UDP may go to this address literal. `privileged`: the client has loopback privileges."""
        try:
            outer = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        inner = embedded(outer)
        if any(rule.covers(address, port) for rule in self.deny for address in (outer, inner)):
            return False
        dangerous = is_dangerous(outer) or is_dangerous(inner)
        for rule in self.allow:
            if rule.covers(inner, port) and (rule.network is not None or not dangerous):
                return True
        return privileged and not dangerous


def is_dangerous(address: Address) -> bool:
    """Addresses that are no single peer, or that give a machine's secrets away: never a target by default."""
    return (
        address.is_multicast
        or address.is_unspecified
        or address.is_link_local
        or address == _BROADCAST
        or (isinstance(address, ipaddress.IPv4Address) and (address.is_reserved or int(address) >> 24 == 0))
        or address in _CLOUD_METADATA
    )


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        network, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"target rule {text!r}: write an IPv6 network with ports as [NETWORK]:PORTS")
        return network, rest[1:] or "*"
    if text.count(":") > 1:
        return text, "*"
    network, _, ports = text.partition(":")
    return network, ports or "*"


def _parse_network(text: str) -> Network | None:
    if text == "*":
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(
            f"target rule: {text!r} is no network; write it like 203.0.113.0/24, 2001:db8::/32 or *"
        ) from error


def _parse_ports(text: str) -> tuple[tuple[int, int], ...]:
    if text == "*":
        return ((1, 65535),)
    ranges = []
    for part in text.split("+"):
        low, dash, high = part.partition("-")
        if not (low.isascii() and low.isdigit()) or (dash and not (high.isascii() and high.isdigit())):
            raise ValueError(f"target rule: {part!r} is no port or range; write it like 40000 or 40000-40999")
        first, last = int(low), int(high or low)
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"target rule: ports {part!r} must rise within 1 to 65535")
        ranges.append((first, last))
    return tuple(ranges)
