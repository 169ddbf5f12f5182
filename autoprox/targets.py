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
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2
_6TO4 = ipaddress.IPv6Network("2002::/16")  # RFC 3056 section 2
_EVERYTHING = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))

_NEVER: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "::"),  # this host, unspecified
            *("224.0.0.0/4", "ff00::/8"),  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            *("169.254.0.0/16", "fe80::/10"),  # link-local, where most clouds keep their metadata
            *("100.100.100.200", "192.0.0.192", "fd00:ec2::254"),  # metadata of the others
        ),
    )
)
"""Addresses that are no single peer, or that give a machine's secrets away."""


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

    def networks(self) -> list[Network]:
        """The networks it is about, IPv4 ones also in their forms inside IPv6."""
        return list(_EVERYTHING) if self.network is None else _forms(self.network)


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

    def engine_rules(self) -> list[tuple[bool, Network, tuple[int, int]]]:
        """The same for a client with loopback privileges, as (allow, network, ports), of which the first one that covers
        an address decides and what none covers is allowed. The engine asks them for each address a name stands for."""
        every = ((1, 65535),)
        rules = [(False, network, rule.ports) for rule in self.deny for network in rule.networks()]
        rules += [
            (True, network, rule.ports) for rule in self.allow if rule.network for network in rule.networks()
        ]
        rules += [(False, network, every) for never in _NEVER for network in _forms(never)]
        return [(allow, network, ports) for allow, network, ranges in rules for ports in ranges]


def is_dangerous(address: Address) -> bool:
    """Whether it is in `_NEVER`: no target by default."""
    return any(address.version == network.version and address in network for network in _NEVER)


def _forms(network: Network) -> list[Network]:
    """The network, and for IPv4 its places inside IPv6."""
    if isinstance(network, ipaddress.IPv6Network):
        return [network]
    low, bits = int(network.network_address), network.prefixlen
    wrapped = [
        ipaddress.IPv6Network((int(outer.network_address) | low, 96 + bits)) for outer in (_MAPPED, _NAT64)
    ]
    return [network, *wrapped, ipaddress.IPv6Network((int(_6TO4.network_address) | low << 80, 16 + bits))]


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
