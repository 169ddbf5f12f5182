"""What we set out to reach, and how far a comparison's figures are from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.figures import BRIDGE, CROWDS, ONE, PLAIN

Median = Callable[[str, str, str], float | None]
"""scenario, peer, figure: its median, or None when it wasn't measured."""


@dataclass(frozen=True)
class Value:
    """A figure, or one as a multiple of another one."""

    scenario: str
    peer: str
    figure: str
    scale: float = 1.0
    over: tuple[str, str, str] | None = None

    def of(self, median: Median) -> float | None:
        """The value, None when something of it wasn't measured."""
        value = median(self.scenario, self.peer, self.figure)
        if value is None or self.over is None:
            return None if value is None else value * self.scale
        base = median(*self.over)
        return value / base if base else None


@dataclass(frozen=True)
class Goal:
    """One line of the table."""

    text: str
    value: Value
    limit: float
    at_least: bool
    unit: str = "×"

    def reached(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit


def _times(scenario: str, figure: str, peer: str, over: str) -> Value:
    return Value(scenario, peer, figure, over=(scenario, over, figure))


def _at_least(text: str, value: Value, limit: float, unit: str = "×") -> Goal:
    return Goal(text, value, limit, True, unit)


def _at_most(text: str, value: Value, limit: float, unit: str = "×") -> Goal:
    return Goal(text, value, limit, False, unit)


C, PYTHON, AEGIS = "srmudp-c", "srmudp-py", "srmudp-aegis"

GOALS: tuple[Goal, ...] = (
    _at_least("64 KiB, C: MB/s of quinn's", _times("bulk", "mb_s", C, "quinn"), 1.6),
    _at_most("64 KiB, C: CPU a GB of quinn's", _times("bulk", "cpu_s_gb", C, "quinn"), 0.6),
    _at_least("64 KiB, C with AEGIS: MB/s of Go TLS's", _times("bulk", "mb_s", AEGIS, "go-tls"), 1),
    _at_most("64 KiB, C with AEGIS: CPU a GB of Go TLS's", _times("bulk", "cpu_s_gb", AEGIS, "go-tls"), 1),
    _at_least("64 KiB, Python: MB/s of C's", _times("bulk", "mb_s", PYTHON, C), 0.8),
    _at_least("64 KiB, Python: MB/s of quinn's", _times("bulk", "mb_s", PYTHON, "quinn"), 1.3),
    _at_most("1 KiB, C: p50 of ENet's", _times("pingpong", "p50_us", C, "enet"), 1),
    _at_most("1 KiB, C: p99 of its p50", Value("pingpong", C, "p99_us", over=("pingpong", C, "p50_us")), 2),
    _at_most("1 KiB, Python: p50 of websockets'", _times("pingpong", "p50_us", PYTHON, "websockets"), 0.45),
    _at_most(
        "1 KiB, Python: p99 of websockets' p50",
        Value("pingpong", PYTHON, "p99_us", over=("pingpong", "websockets", "p50_us")),
        1,
    ),
    _at_least("100 bytes, C: million messages/s", Value("rate", C, "thousand_s", 1e-3), 2, ""),
    _at_least("100 bytes, Python: million messages/s", Value("rate", PYTHON, "thousand_s", 1e-3), 0.3, ""),
    *(
        _at_least(f"100 Mbit/s, {loss} % loss, C", Value(f"link{loss}", C, "mbit_s"), limit, "Mbit/s")
        for loss, limit in ((0, 93), (1, 91), (5, 85), (10, 78))
    ),
    _at_most("5 % loss, C: bytes sent per byte delivered", Value("link5", C, "offered"), 1.15, ""),
    _at_most(
        "small messages at 5 % loss, C: p99 − p50", Value("lat", C, "p99_over_p50"), 10, "ms"
    ),
    _at_most(
        "small messages at 5 % loss, C: p99.9 − p50", Value("lat", C, "p999_over_p50"), 30, "ms"
    ),
    _at_most("small messages at 5 % loss, C: lost", Value("lat", C, "missing"), 0, ""),
    _at_most("small messages at 5 % loss, C: bytes a message", Value("lat", C, "bytes"), 700, ""),
    _at_most("small messages beside bulk, C: p99 − p50", Value("beside", C, "p99_over_p50"), 25, "ms"),
    _at_most("first message through 50 ms, C", Value("connect50", C, "srv_ms", 1 / 50), 1.6, "round trips"),
    _at_most("its answer, C", Value("connect50", C, "reply_ms", 1 / 50), 2.1, "round trips"),
    _at_most("an idle connection, C: server", Value("idle", C, "server_kib"), 8, "KiB"),
    _at_most("an idle connection, C: client", Value("idle", C, "client_kib"), 8, "KiB"),
    _at_most("an idle connection, Python: server", Value("idle", PYTHON, "server_kib"), 14, "KiB"),
    _at_most("an idle connection, Python: client", Value("idle", PYTHON, "client_kib"), 14, "KiB"),
    _at_most("1,000 connects, C", Value("idle", C, "connect_s"), 1, "s"),
    *(
        _at_most(f"{crowd}, C: CPU a GB of one connection's", _times("sockets", "cpu_s_gb", crowd, ONE), limit)
        for crowd, limit in zip(list(CROWDS)[1:], (1.3, 2.5), strict=True)
    ),
    *(
        _at_least(f"{crowd}, C: slowest, of the mean", Value("sockets", crowd, "least_share"), 0.5, "")
        for crowd in list(CROWDS)[1:]
    ),
    _at_least("bridges, 64 KiB: MB/s of a plain hop's", _times("bridge", "mb_s", BRIDGE, PLAIN), 0.8),
    _at_least("bridges, 100 bytes: messages/s of a plain hop's", _times("bridge", "thousand_s", BRIDGE, PLAIN), 0.8),
    _at_most("bridges, 1 KiB there and back: of a plain hop's", _times("bridge", "trip_us", BRIDGE, PLAIN), 1.2),
)  # fmt: skip
