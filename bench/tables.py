"""The comparison's figures as Markdown, and into a page of the documentation."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any, TypedDict

from bench.figures import ALL, BRIDGE, CROWDS, Column
from bench.goals import GOALS
from bench.peers.catalog import OURS

BLOCK = re.compile(r"(<!-- compare: begin -->\n).*?(<!-- compare: end -->)", re.DOTALL)

OWN = (*OURS, BRIDGE, *CROWDS)
"""Names that are ours."""


class Results(TypedDict):
    """What a run leaves behind, and the JSON file holds."""

    machine: dict[str, str]
    quick: bool
    peers: dict[str, dict[str, str]]
    left_out: dict[str, str]
    runs: dict[str, dict[str, list[dict[str, Any]]]]
    """scenario, peer: one entry a round, figures or a ``failure``."""


def empty(quick: bool) -> Results:
    """Before the first round."""
    return {"machine": {}, "quick": quick, "peers": {}, "left_out": {}, "runs": {}}


def values(results: Results, scenario: str, peer: str, figure: str) -> list[float]:
    """A figure over the rounds."""
    entries = results["runs"].get(scenario, {}).get(peer, [])
    if figure.endswith("_over_p50"):
        first = figure.removesuffix("_over_p50")
        return [entry[first] - entry["p50"] for entry in entries if "p50" in entry]
    return [entry[figure] for entry in entries if figure in entry]


def median(results: Results, scenario: str, peer: str, figure: str) -> float | None:
    """Its median; None when no run gave it."""
    found = values(results, scenario, peer, figure)
    return statistics.median(found) if found else None


def failures_of_ours(results: Results) -> list[str]:
    """Which of our own runs failed."""
    return [
        f"{scenario} {peer}: {entry['failure']}"
        for scenario, peers in results["runs"].items()
        for peer, entries in peers.items()
        for entry in entries
        if peer in OWN and "failure" in entry
    ]


# ---- Markdown


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(found: list[float], column: Column) -> str:
    """The median, and in brackets the least and the most where they differ from it."""
    if not found:
        return "–"
    low, middle, high = (
        f"{value:,.{column.digits}f}" for value in (min(found), statistics.median(found), max(found))
    )
    return middle if low == high else f"**{middle}** ({low}–{high})"


def ratio(results: Results, scenario: str, peer: str) -> str:
    """How many times better ours is at the table's first figure."""
    what = ALL[scenario]
    column = what.columns[0]
    ours, theirs = (median(results, scenario, name, column.key) for name in (what.base, peer))
    if peer == what.base or ours is None or theirs is None or not ours or not theirs:
        return ""
    return f"{ours / theirs if column.more_is_better else theirs / ours:.2f} ×"


def scenario_table(results: Results, scenario: str) -> str:
    """One scenario: the best first."""
    what = ALL[scenario]
    first = what.columns[0]
    measured = results["runs"][scenario]

    def order(peer: str) -> tuple[bool, float]:
        value = median(results, scenario, peer, first.key)
        if value is None:
            return True, 0.0
        return False, -value if first.more_is_better else value

    rows = []
    for peer in sorted(measured, key=order):
        found = [values(results, scenario, peer, column.key) for column in what.columns]
        name = f"**{peer}**" if peer in OWN else peer
        if any(found):
            cells = [cell(numbers, column) for numbers, column in zip(found, what.columns, strict=True)]
            rows.append([name, *cells, ratio(results, scenario, peer)])
        else:
            reason = str(measured[peer][-1].get("failure", "")).replace("|", r"\|")
            rows.append([name, f"failed: {reason}", *[""] * (len(what.columns) - 1), ""])
    head = ["", *(column.title for column in what.columns), f"times better: {what.base}"]
    runs = max(len(entries) for entries in measured.values())
    return f"### {what.title}\n\n{'One run.' if runs == 1 else f'{runs} runs.'}\n\n" + markdown(head, rows)


def goals_table(results: Results) -> str:
    """Each goal that was measured, and whether it was reached."""
    rows = []
    for goal in GOALS:
        value = goal.value.of(lambda *which: median(results, *which))
        if value is None:
            continue
        sign = "≥" if goal.at_least else "≤"
        verdict = "not judged" if results["quick"] else "yes" if goal.reached(value) else "**no**"
        rows.append([goal.text, f"{sign} {goal.limit:g} {goal.unit}".strip(), f"{value:.2f}", verdict])
    if not rows:
        return ""
    return "### What we set out to reach\n\n" + markdown(["", "goal", "measured", "reached"], rows)


def machine_text(results: Results) -> str:
    """Where and how it was measured."""
    facts = "; ".join(f"{name}: {value}" for name, value in results["machine"].items())
    others = [
        entry["others"]
        for peers in results["runs"].values()
        for entries in peers.values()
        for entry in entries
        if "others" in entry
    ]
    busy = (
        f" Other programs kept {statistics.median(others):.2f} cores busy at the median, {max(others):.2f} at the most."
        if others
        else ""
    )
    quick = " **Quick runs: only to see that everything works.**" if results["quick"] else ""
    return f"Medians of as many runs as each table says, in brackets the least and the most. {facts}.{busy}{quick}"


def peers_table(results: Results) -> str:
    """Who took part, and who didn't."""
    rows = [[name, peer["what"], peer["version"]] for name, peer in results["peers"].items()]
    rows += [[name, "left out", reason] for name, reason in results["left_out"].items()]
    return "### Who took part\n\n" + markdown(["", "what it is", "version"], rows)


def page(results: Results) -> str:
    """All tables."""
    parts = [machine_text(results), goals_table(results)]
    parts += [scenario_table(results, name) for name in ALL if name in results["runs"]]
    parts.append(peers_table(results))
    return "\n\n".join(part for part in parts if part)


def write_into(path: Path, results: Results) -> None:
    """Puts the tables between the marks of a page. Raises ValueError when it has none."""
    text = path.read_text()
    if not BLOCK.search(text):
        raise ValueError(f"{path} has no <!-- compare: begin --> and <!-- compare: end -->")
    made = page(results)
    path.write_text(BLOCK.sub(lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text))
