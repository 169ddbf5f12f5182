"""The grid's figures as plots and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict

from bench import svg

Settings = dict[str, Any]

HEADERS_LEAVE = 0.955
"""Of the link's rate, what the headers of UDP, IP and our packets leave for messages."""
NAMES = {"bbr": "BBR", "cubic": "CUBIC"}


class Record(TypedDict):
    """One run of bench/grid.c."""

    part: str
    """Which plot it belongs to."""
    settings: Settings
    result: dict[str, Any]


# ---- Reading


def share(record: Record) -> float:
    """Goodput as a share of what is possible: the link's rate without headers and without what it loses."""
    asked = record["settings"]
    possible = asked["rate"] * HEADERS_LEAVE * (1 - asked.get("loss", 0) / 100)
    return float(sum(record["result"]["mbps"]) / possible)


def of_part(records: Iterable[Record], part: str, cc: str | None = None) -> list[Record]:
    """Runs that gave figures."""
    return [
        record
        for record in records
        if record["part"] == part
        and "mbps" in record["result"]
        and (cc is None or record["settings"].get("cc") == cc)
    ]


def settings_of(records: Iterable[Record], name: str) -> list[Any]:
    """The values a setting takes, in order."""
    return sorted({record["settings"][name] for record in records})


def find(records: Iterable[Record], **asked: Any) -> Record | None:
    """The run with these settings."""
    return next(
        (r for r in records if all(r["settings"].get(name) == value for name, value in asked.items())), None
    )


# ---- Plots

SCALE = [(svg.heat(step / 4), f"{step * 25} %") for step in range(5)]


def maps(
    records: list[Record], part: str, rows: str, columns: str, units: tuple[str, str], description: str
) -> str:
    """A heat map of goodput for each controller, side by side."""
    drawings = []
    for cc, name in NAMES.items():
        chosen = of_part(records, part, cc)
        row_values, column_values = settings_of(chosen, rows), settings_of(chosen, columns)
        found = [[find(chosen, **{rows: r, columns: c}) for c in column_values] for r in row_values]
        shares = [[None if record is None else share(record) for record in line] for line in found]
        labels = [[f"{value:g}" for value in values] for values in (row_values, column_values)]
        drawings.append(svg.heat_map(name, labels[0], labels[1], shares, *units))
    return svg.stack(description, drawings, [svg.legend(SCALE)])


def queue_plot(records: list[Record]) -> str:
    """How long packets wait, by the length of the queue."""
    groups = []
    chosen = [r for r in of_part(records, "queue") if r["settings"]["rate"] == 100]
    most = max((r["result"]["queue_ms_p95"] for r in chosen), default=1.0)
    for length in settings_of(chosen, "queue"):
        entries = []
        for cc, name in NAMES.items():
            record = find(chosen, queue=length, cc=cc)
            if record is None:
                continue
            middle, high = (record["result"][f"queue_ms_{share}"] for share in ("p50", "p95"))
            pieces = ((middle, 0), (high - middle, 3))
            entries.append(
                svg.Bar(name, pieces, f"{middle:.1f} and {high:.1f} ms; goodput {share(record):.0%}")
            )
        groups.append((f"queue of {length:g}", entries))
    title = "Delay in the queue, 100 Mbit/s and 50 ms; the queue in bandwidth-delay products"
    plot = svg.bars(title, groups, most)
    meaning = [(svg.SERIES[0], "median"), (svg.SERIES[3], "95th percentile")]
    return svg.stack("How long packets wait in the queue", [plot], [svg.legend(meaning)])


def shared_entry(runs: list[Record], flows: str) -> svg.Bar:
    """What each kind of flow got of all goodput, over the seeds, and Jain's index."""
    kinds = flows.split(",")
    parts = [
        statistics.mean(r["result"]["mbps"][index] / sum(r["result"]["mbps"]) for r in runs)
        for index in range(len(kinds))
    ]
    jain = statistics.median(r["result"]["jain"] for r in runs)
    pieces = tuple((part, 0 if kind == "bbr" else 1) for part, kind in zip(parts, kinds, strict=True))
    return svg.Bar(
        ", ".join(NAMES[kind] for kind in kinds) if len(kinds) == 2 else f"{len(kinds)} flows",
        pieces,
        " : ".join(f"{part:.0%}" for part in parts) + f", Jain {jain:.2f}",
    )


def shared_plot(records: list[Record]) -> str:
    """Who gets how much of a bottleneck."""
    chosen = of_part(records, "shared")
    groups = []
    for length in settings_of(chosen, "queue"):
        here = [r for r in chosen if r["settings"]["queue"] == length]
        mixes = sorted({r["settings"]["flows"] for r in here}, key=lambda flows: (flows.count(","), flows))
        entries = [
            shared_entry([r for r in here if r["settings"]["flows"] == flows], flows) for flows in mixes
        ]
        groups.append((f"queue of {length:g}", entries))
    title = "Shares of one bottleneck in the order of joining, 100 Mbit/s and 50 ms, over a minute"
    plot = svg.bars(title, groups, 1.0)
    meaning = [(svg.SERIES[0], "BBR"), (svg.SERIES[1], "CUBIC")]
    return svg.stack("Who gets how much of a shared bottleneck", [plot], [svg.legend(meaning)])


def drawings(records: list[Record]) -> dict[str, str]:
    """Every plot, by the name of its file."""
    loss = "loss %"
    return {
        "goodput-rate": maps(records, "rate", "rate", "loss", ("Mbit/s", loss), "Goodput by rate and loss"),
        "goodput-rtt": maps(records, "rtt", "rtt", "loss", ("ms", loss), "Goodput by round trip and loss"),
        "goodput-burst": maps(
            records, "burst", "burst", "loss", ("run of losses", loss), "Goodput by length of loss bursts"
        ),
        "goodput-queue": maps(
            records, "queue", "rate", "queue", ("Mbit/s", "queue, in products"), "Goodput by queue length"
        ),
        "goodput-disorder": maps(
            records, "disorder", "reorder", "jitter", ("reordered %", "jitter ms"), "Goodput under disorder"
        ),
        "queue-delay": queue_plot(records),
        "shared": shared_plot(records),
    }


# ---- The table

PARTS = {
    "rate": "1 Mbit/s to 1 Gbit/s, loss 0 to 10 %",
    "rtt": "round trips of 1 to 300 ms, loss 0 to 10 %",
    "burst": "loss in bursts",
    "queue": "queues of 0.2 to 5 products",
    "disorder": "reordering and jitter",
}


def _line(name: str, chosen: Sequence[Record]) -> list[str]:
    shares = sorted(share(record) for record in chosen)
    worst = min(chosen, key=share)["settings"]
    told = ", ".join(
        f"{setting}={worst[setting]:g}"
        for setting in ("rate", "rtt", "queue", "loss", "burst", "reorder", "jitter")
        if setting in worst
    )
    results = [record["result"] for record in chosen]
    return [
        name,
        f"{statistics.median(shares):.0%}",
        f"{shares[0]:.0%} (`{told}`)",
        f"{statistics.median(result['queue_ms_p50'] for result in results):.1f}",
        f"{statistics.median(result['lost_share'] for result in results):.1%}",
        f"{statistics.median(result['offered_per_byte'] for result in results):.2f}",
    ]


def _shared_lines(records: list[Record]) -> list[list[str]]:
    chosen = of_part(records, "shared")
    kinds: Callable[[Record], tuple[str, float]] = lambda r: (  # noqa: E731
        r["settings"]["flows"],
        r["settings"]["queue"],
    )
    lines = []
    for flows, length in sorted({kinds(record) for record in chosen}, key=lambda k: (k[0].count(","), k)):
        runs = [r["result"] for r in chosen if kinds(r) == (flows, length)]
        rates = [statistics.mean(r["mbps"][i] for r in runs) for i in range(flows.count(",") + 1)]
        jains = [r["jain"] for r in runs]
        lines.append(
            [
                ", ".join(NAMES[kind] for kind in flows.split(",")),
                f"{length:g}",
                ", ".join(f"{rate:.1f}" for rate in rates),
                f"{statistics.median(jains):.2f} ({min(jains):.2f}–{max(jains):.2f})",
                f"{statistics.median(r['queue_ms_p50'] for r in runs):.1f}",
            ]
        )
    return lines


def _small_lines(records: list[Record]) -> list[list[str]]:
    lines = []
    for cc, name in NAMES.items():
        for record in sorted(of_part(records, "small", cc), key=lambda r: r["settings"]["loss"]):
            result = record["result"]
            times = [f"{result[f'small_ms_{which}']:.1f}" for which in ("p50", "p99", "max")]
            lines.append([name, f"{record['settings']['loss']:g} %", *times, f"{result['mbps'][0]:.1f}"])
    return lines


# ---- What we set out to reach


def _of_shared(records: list[Record], *kinds: str) -> list[dict[str, Any]]:
    chosen = of_part(records, "shared")
    return [r["result"] for r in chosen if r["settings"]["flows"] in kinds and r["settings"]["queue"] == 1]


def _bbr_beside_cubic(records: list[Record]) -> list[float]:
    """BBR's share beside one CUBIC flow, whoever came first."""
    shares = []
    for kinds, which in (("bbr,cubic", 0), ("cubic,bbr", 1)):
        shares += [r["mbps"][which] / sum(r["mbps"]) for r in _of_shared(records, kinds)]
    return shares


def goals(records: list[Record]) -> list[list[str]]:
    """Each goal with the worst that was measured."""
    lines = []

    def add(text: str, goal: str, values: list[float], good: Callable[[float], bool], digits: int) -> None:
        if values:
            told = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
            verdict = "yes" if all(map(good, values)) else "**no**"
            lines.append([text, goal, told, verdict])

    shares = _bbr_beside_cubic(records)
    add("BBR beside one CUBIC flow: its share", "0.25 to 0.75", shares, lambda v: 0.25 <= v <= 0.75, 2)
    alike = [r["jain"] for r in _of_shared(records, "bbr,bbr", "bbr,bbr,bbr,bbr")]
    add("BBR beside itself: Jain's index", "≥ 0.95", alike, lambda v: v >= 0.95, 3)
    one = find(of_part(records, "rate", "bbr"), rate=100, loss=0)
    waits = [] if one is None else [one["result"]["queue_ms_p50"]]
    add("BBR, 100 Mbit/s: median delay in the queue, ms", "≤ 20", waits, lambda v: v <= 20, 1)
    small = [
        r["result"]["small_ms_p99"] - r["result"]["small_ms_p50"] for r in of_part(records, "small", "bbr")
    ]
    add("small messages beside bulk, BBR: p99 − p50, ms", "≤ 25", small, lambda v: v <= 25, 1)
    return lines


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def table(records: list[Record]) -> str:
    """The plots' figures in short."""
    rows = []
    for part, words in PARTS.items():
        for cc, name in NAMES.items():
            if chosen := of_part(records, part, cc):
                rows.append(_line(f"{words}: {name}", chosen))
    head = [
        "one flow",
        "goodput, median",
        "worst",
        "queue, ms",
        "packets lost",
        "bytes sent per byte delivered",
    ]
    shared_head = ["flows, in the order of joining", "queue", "Mbit/s each", "Jain's index", "queue, ms"]
    small_head = ["small messages beside bulk", "loss", "p50 ms", "p99 ms", "most ms", "bulk, Mbit/s"]
    tables = [
        (["", "goal", "measured", "reached"], goals(records)),
        (head, rows),
        (shared_head, _shared_lines(records)),
        (small_head, _small_lines(records)),
    ]
    return "\n\n".join(_markdown(titles, lines) for titles, lines in tables if lines)
