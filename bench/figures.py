"""The scenarios of the comparison, and what is read off a run of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.rig import Link, Run

WARM_UP = 500
"""Rounds of a ping-pong that are not timed."""

Figures = dict[str, float]


@dataclass(frozen=True)
class Column:
    """One figure of a table."""

    key: str
    title: str
    digits: int
    more_is_better: bool = False


@dataclass(frozen=True)
class Scenario:
    """One table."""

    title: str
    task: str
    """What the programs are asked for."""
    n: float
    quick: float
    read: Callable[[Run], Figures]
    columns: tuple[Column, ...]
    link: dict[str, float] | None = None
    """Settings of bench/link.c; None: loopback."""
    base: str = "srmudp-c"
    """Whom the table's last column compares with."""
    limit: float = 90
    """Seconds that a run may take."""
    once: bool = False
    """In the first round only: one run is long enough for its figures."""
    peers: frozenset[str] | None = None
    """Who takes part; None: whoever can."""

    def link_command(self, program: str, seed: int) -> Link | None:
        """The link of one round: each has losses of its own, the same for every peer as far as its packets are."""
        if self.link is None:
            return None
        settings = {**self.link, "seed": seed}
        return Link((program, *(f"{name}={value:g}" for name, value in settings.items())))


# ---- Reading a run


def _cpu(run: Run) -> float:
    """Both processes' own figures, over the transfer."""
    return float(run.server["cpu"] + run.client["cpu"])


def _read_bulk(run: Run) -> Figures:
    size, seconds = run.server["bytes"], run.server["secs"]
    return {"mb_s": size / seconds / 1e6, "cpu_s_gb": _cpu(run) / size * 1e9}


def _read_rate(run: Run) -> Figures:
    count, seconds = run.server["msgs"], run.server["secs"]
    return {"thousand_s": count / seconds / 1e3, "cpu_us": _cpu(run) / count * 1e6}


def _read_many(run: Run) -> Figures:
    return {**_read_bulk(run), "least_share": run.server.get("least_share", float("nan"))}


def _read_pingpong(run: Run) -> Figures:
    rounds = run.client["n"] + WARM_UP  # their processor time counts, too
    used = run.client["cpu"] + run.server_cpu
    return {
        "p50_us": run.client["p50_us"],
        "p99_us": run.client["p99_us"],
        "p999_us": run.client["p999_us"],
        "cpu_us": used / rounds * 1e6,
    }


def _read_connect(run: Run) -> Figures:
    return {name: run.client[name] for name in ("srv_ms", "reply_ms")}


def _read_idle(run: Run) -> Figures:
    return dict(run.idle)


def _read_link(run: Run) -> Figures:
    size = run.server["bytes"]
    return {"mbit_s": size * 8 / run.server["secs"] / 1e6, "offered": run.link["up"]["bytes"] / size}


def _read_beside(run: Run) -> Figures:
    return {name: run.server[f"{name}_us"] / 1e3 for name in ("p50", "p99", "p999")}


def _read_lat(run: Run) -> Figures:
    count = run.server["n"]
    carried = run.link["up"]["bytes"] + run.link["down"]["bytes"]
    return {**_read_beside(run), "missing": run.client["sent"] - count, "bytes": carried / count}


def read_bridge(works: dict[str, Figures]) -> Figures:
    """One path of what bench/bridge.py prints."""
    large, small, trip = works["65536 B"], works["100 B"], works["round trip"]
    return {
        "mb_s": large["per_second"] * large["bytes"] / 1e6,
        "cpu_s_gb": large["processor_seconds"] / large["bytes"] * 1e9,
        "thousand_s": small["per_second"] / 1e3,
        "cpu_us": small["processor_seconds"] * 1e6,
        "trip_us": 1e6 / trip["per_second"],
    }


# ---- The tables

BRIDGE = "two bridges"
PLAIN = "a plain hop"

_CPU_GB = Column("cpu_s_gb", "CPU s/GB", 2)


def _link(loss: float) -> Scenario:
    return Scenario(
        title=f"100 Mbit/s, 50 ms round trip, a queue of 50 ms, {loss:g} % lost each way",
        task="bulk",
        n=6,
        quick=1,
        read=_read_link,
        columns=(
            Column("mbit_s", "Mbit/s", 1, more_is_better=True),
            Column("offered", "bytes sent per byte delivered", 2),
        ),
        link={"delay": 25, "rate": 100, "queue": 50, "loss": loss},
    )


SCENARIOS: dict[str, Scenario] = {
    "bulk": Scenario(
        "Messages of 64 KiB, loopback", "bulk", 3, 0.3, _read_bulk,
        (Column("mb_s", "MB/s", 0, more_is_better=True), _CPU_GB),
    ),
    "rate": Scenario(
        "Messages of 100 bytes, loopback", "rate", 3, 0.3, _read_rate,
        (Column("thousand_s", "thousand/s", 0, more_is_better=True), Column("cpu_us", "CPU µs a message", 2)),
    ),
    "pingpong": Scenario(
        "1 KiB there and back, loopback", "pingpong", 10_000, 300, _read_pingpong,
        (
            Column("p50_us", "p50 µs", 0), Column("p99_us", "p99 µs", 0), Column("p999_us", "p99.9 µs", 0),
            Column("cpu_us", "CPU µs a round", 0),
        ),
    ),
    "connect": Scenario(
        "A new connection, loopback", "connect", 20, 3, _read_connect,
        (Column("srv_ms", "first message there, ms", 2), Column("reply_ms", "answer here, ms", 2)),
    ),
    "idle": Scenario(
        "1,000 idle connections", "idle", 1000, 20, _read_idle,
        (
            Column("server_kib", "KiB each, server", 1), Column("client_kib", "KiB each, client", 1),
            Column("connect_s", "all connected, s", 2),
            Column("server_ms_s", "CPU ms/s idle, server", 1), Column("client_ms_s", "CPU ms/s idle, client", 1),
        ),
    ),
    "many": Scenario(
        "1,000 connections that all send messages of 64 KiB", "many", 1000, 5, _read_many,
        (
            Column("mb_s", "MB/s", 0, more_is_better=True), _CPU_GB,
            Column("least_share", "slowest, of the mean", 2, more_is_better=True),
        ),
    ),
    "connect50": Scenario(
        "A new connection through 50 ms of round trip", "connect", 10, 2, _read_connect,
        (Column("srv_ms", "first message there, ms", 1), Column("reply_ms", "answer here, ms", 1)),
        link={"delay": 25, "rate": 100, "queue": 50, "loss": 0},
    ),
    "link0": _link(0),
    "link1": _link(1),
    "link5": _link(5),
    "link10": _link(10),
    "lat": Scenario(
        "200 messages of 200 bytes a second, 50 ms round trip, 5 % lost each way: one way", "lat", 310, 1, _read_lat,
        (
            Column("p50", "p50 ms", 1), Column("p99", "p99 ms", 1), Column("p999", "p99.9 ms", 1),
            Column("missing", "lost", 0), Column("bytes", "bytes a message, both ways", 0),
        ),
        link={"delay": 25, "rate": 100, "queue": 50, "loss": 5},
        limit=400,
        once=True,
    ),
    "beside": Scenario(
        "The same beside bulk that fills the send buffer on another channel, nothing lost: one way", "beside", 60, 1,
        _read_beside,
        (Column("p50", "p50 ms", 1), Column("p99", "p99 ms", 1), Column("p999", "p99.9 ms", 1)),
        link={"delay": 25, "rate": 100, "queue": 50, "loss": 0},
        peers=frozenset({"srmudp-c"}),
    ),
}  # fmt: skip

BRIDGES = Scenario(
    "WebSocket to WebSocket: two bridges, and the same path with a plain WebSocket hop in their place",
    "", 0, 0, lambda run: {},
    (
        Column("mb_s", "64 KiB: MB/s", 0, more_is_better=True), Column("cpu_s_gb", "CPU s/GB", 2),
        Column("thousand_s", "100 bytes: thousand/s", 1, more_is_better=True), Column("cpu_us", "CPU µs a message", 1),
        Column("trip_us", "1 KiB there and back, µs", 0),
    ),
    base=BRIDGE,
)  # fmt: skip
"""Measured by a program of its own, bench/bridge.py."""

ONE = "1 connection"
CROWDS: dict[str, tuple[str, ...]] = {
    ONE: ("1", "3"),
    "1,000 on one socket a side": ("1000", "3"),
    "1,000 sockets a side": ("1000", "3", "1000"),
}
"""Arguments of bench/many.c."""

SOCKETS = Scenario(
    "Ours from C: one connection, many on one socket, and as many sockets (an engine's thread each)",
    "", 0, 0, lambda run: {},
    (
        Column("cpu_s_gb", "CPU s/GB", 2), Column("mb_s", "MB/s", 0, more_is_better=True),
        Column("least_share", "slowest, of the mean", 2, more_is_better=True),
        Column("connect_s", "all connected, s", 2),
    ),
    base=ONE,
)  # fmt: skip
"""Measured by a program of its own, bench/many.c."""


def read_sockets(line: Figures) -> Figures:
    """What it prints."""
    names = {
        "cpu_s_gb": "cpu_per_gb",
        "mb_s": "mb_per_s",
        "least_share": "least_share",
        "connect_s": "connect_s",
    }
    return {key: line[name] for key, name in names.items()}


ALL: dict[str, Scenario] = {**SCENARIOS, "sockets": SOCKETS, "bridge": BRIDGES}
