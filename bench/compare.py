"""How fast we are beside others, measured in one run on this machine.

    .venv/bin/python bench/compare.py                          everything: an hour
    .venv/bin/python bench/compare.py --quick                  that everything runs: figures of no worth
    .venv/bin/python bench/compare.py bulk pingpong --peers srmudp-c quinn [--add]
    .venv/bin/python bench/compare.py --write docs/performance.md [--from FILE]

In each round every peer runs each scenario once, one after the other, so that what else the machine does meets all alike;
the tables show medians over the rounds, with the least and the most, and how ours from C compares. Peers that can't be
built here are named as left out. All figures go into a file as JSON; ``--from`` makes the tables from it, without a run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import machine, rig, tables  # noqa: E402
from bench.figures import ALL, BRIDGE, CROWDS, PLAIN, SCENARIOS, Figures, Scenario, read_bridge, read_sockets  # noqa: E402
from bench.peers import catalog  # noqa: E402
from bench.tables import Results  # noqa: E402

DEFAULT_FILE = ROOT / "bench" / "build" / "compare.json"
LINK, MANY = (str(ROOT / "bench" / "build" / name) for name in ("link", "many"))

OWN_LIMIT = 300
"""Seconds that a program with figures of its own may take."""


def say(text: str) -> None:
    """Progress goes to stderr: the tables are the output."""
    print(text, file=sys.stderr, flush=True)


def prepare(names: list[str], results: Results) -> dict[str, rig.Program]:
    """Builds what can be built."""
    programs = {}
    for name in names:
        peer = catalog.PEERS_BY_NAME[name]
        try:
            ready = peer.prepare()
        except catalog.LeftOut as reason:
            results["left_out"][name] = str(reason)
            results["peers"].pop(name, None)
            say(f"{name}: left out, {reason}")
        else:
            programs[name] = ready.program
            results["left_out"].pop(name, None)
            results["peers"][name] = {"what": peer.what, "version": ready.version}
    return programs


def shown(figures: Figures, what: Scenario) -> str:
    """A run in one line."""
    return ", ".join(f"{column.title} {figures[column.key]:.{column.digits}f}" for column in what.columns)


def measure_one(
    name: str, program: rig.Program, scenario: str, round_number: int, quick: bool
) -> dict[str, Any]:
    """One run, as figures or as the reason of its failure."""
    what = SCENARIOS[scenario]
    n = what.quick if quick else what.n
    try:
        run = rig.run(program, what.task, n, what.link_command(LINK, round_number), what.limit)
        figures = what.read(run)
    except rig.Failure as failure:
        return {"failure": str(failure)}
    except (KeyError, ZeroDivisionError) as missing:
        return {"failure": f"its output lacks something: {missing!r}"}
    say(f"  {scenario:9} {name:14} {shown(figures, what)}; others {run.others:.2f} cores")
    return {**figures, "others": run.others}


def run_own(
    command: list[str], scenario: str, names: dict[str, Callable[[Any], Figures]], results: Results
) -> None:
    """One round of a program that prints figures of its own; each name takes its own out of the line."""
    said, output = "", ""
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=OWN_LIMIT
        )
    except subprocess.TimeoutExpired:
        said = f"still running after {OWN_LIMIT} s"
    else:
        output = done.stdout if done.returncode == 0 else ""
        said = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    for name, read in names.items():
        figures: dict[str, Any] = {"failure": said}
        if output:
            figures = dict(read(json.loads(output)))
        told = figures["failure"] if "failure" in figures else shown(figures, ALL[scenario])
        say(f"  {scenario:9} {name:14} {told}")
        results["runs"].setdefault(scenario, {}).setdefault(name, []).append(figures)


def bridge_reader(path: str) -> Callable[[Any], Figures]:
    """Takes one path out of what bench/bridge.py prints."""
    return lambda line: read_bridge(line[path])


def measure_own(scenario: str, results: Results) -> None:
    """One round of what only we have."""
    if scenario == "bridge":
        command = [sys.executable, str(ROOT / "bench" / "bridge.py"), "--json", "--runs", "1"]
        names = {BRIDGE: bridge_reader("autoprox.v1"), PLAIN: bridge_reader("plain")}
        run_own(command, scenario, names, results)
        return
    for crowd, arguments in CROWDS.items():
        run_own([MANY, *arguments], scenario, {crowd: read_sockets}, results)


def measure_peers(
    programs: dict[str, rig.Program], scenario: str, round_number: int, results: Results
) -> None:
    """One round of a scenario; every other round from the last to the first."""
    for name, program in list(programs.items())[:: 1 if round_number % 2 else -1]:
        what = SCENARIOS[scenario]
        chosen = what.peers is None or name in what.peers
        if not chosen or not catalog.PEERS_BY_NAME[name].takes_part(scenario, what.link is not None):
            continue
        figures = measure_one(name, program, scenario, round_number, results["quick"])
        if "failure" in figures:
            say(f"  {scenario:9} {name:14} failed: {figures['failure']}")
        results["runs"].setdefault(scenario, {}).setdefault(name, []).append(figures)


def begin(asked: argparse.Namespace) -> Results:
    """What the rounds are added to: nothing, or with ``--add`` what the file has of other scenarios."""
    results = tables.empty(asked.quick)
    if asked.add and asked.json.exists():
        results = json.loads(asked.json.read_text())
        results["quick"] = results["quick"] or asked.quick
        for scenario in asked.scenarios:
            of_peers = results["runs"].get(scenario, {})
            for name in (*asked.peers, BRIDGE, PLAIN, *CROWDS):
                of_peers.pop(name, None)
    results["machine"] = machine.facts()
    return results


def measure(asked: argparse.Namespace) -> Results:
    """All rounds."""
    results = begin(asked)
    subprocess.run(
        ["make", "--silent", "-C", ROOT / "bench", "build/link", "build/many"], check=True, stdout=sys.stderr
    )
    programs = prepare(asked.peers, results)
    for round_number in range(1, asked.rounds + 1):
        say(f"round {round_number} of {asked.rounds}")
        for scenario in asked.scenarios:
            if scenario not in SCENARIOS:
                measure_own(scenario, results)
            elif round_number == 1 or not SCENARIOS[scenario].once:
                measure_peers(programs, scenario, round_number, results)
            asked.json.write_text(json.dumps(results, indent=1) + "\n")
    return results


def arguments(given: list[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="compare.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(ALL)}")
    parser.add_argument("--peers", nargs="+", default=list(catalog.PEERS_BY_NAME), metavar="PEER")
    parser.add_argument("--rounds", type=int, help="3, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="very short runs")
    parser.add_argument("--json", type=Path, default=DEFAULT_FILE, metavar="FILE", help="where figures go")
    parser.add_argument("--add", action="store_true", help="keep the file's other scenarios and peers")
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="figures of an earlier run")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the page's marks")
    asked = parser.parse_args(given)
    asked.scenarios = asked.scenarios or list(ALL)
    asked.rounds = asked.rounds or (1 if asked.quick else 3)
    for unknown in {*asked.scenarios} - {*ALL}:
        parser.error(f"no scenario {unknown}; there are {', '.join(ALL)}")
    for unknown in {*asked.peers} - {*catalog.PEERS_BY_NAME}:
        parser.error(f"no peer {unknown}; there are {', '.join(catalog.PEERS_BY_NAME)}")
    return asked


def main(given: list[str] | None = None) -> int:
    """Exit code 1 when one of ours failed."""
    asked = arguments(given)
    results: Results
    if asked.source is not None:
        results = json.loads(asked.source.read_text())
    else:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        results = measure(asked)
        say(f"figures are in {asked.json}")
    print(tables.page(results))
    if asked.write is not None:
        tables.write_into(asked.write, results)
    return 1 if tables.failures_of_ours(results) else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
