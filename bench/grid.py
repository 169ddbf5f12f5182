"""Congestion control judged on a grid of links, and drawn.

    python bench/grid.py                           everything: three minutes on two quiet cores
    python bench/grid.py --quick                   few cells and seconds: that it works
    python bench/grid.py --write docs/congestion.md    also the plots beside the page, and its table
    python bench/grid.py --write docs/congestion.md --from FILE    draws an earlier run's figures

The links are simulated in virtual time by bench/grid.c, so the machine's load changes nothing, and the same seed gives the
same figures. Every run is one line of JSON in the file that ``--json`` names.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import grid_plots  # noqa: E402
from bench.grid_plots import Record, Settings  # noqa: E402

DEFAULT_FILE = ROOT / "bench" / "build" / "grid.json"
DEFAULT_PROGRAM = ROOT / "bench" / "build" / "grid"
CONTROLLERS = ("bbr", "cubic")
LOSSES = (0, 0.1, 1, 2, 5, 10)
RATES = (1, 10, 100, 1000)
TRIPS = (1, 10, 50, 100, 300)
QUEUES = (0.2, 0.5, 1, 2, 5)
BURSTS = (1, 2, 4, 8)
REORDERS = (0, 1, 2, 5)
JITTERS = (0, 1, 5, 10)
MIXES = ("bbr,bbr", "cubic,cubic", "bbr,cubic", "cubic,bbr")
CROWDS = ("bbr,bbr,bbr,bbr", "cubic,cubic,cubic,cubic", "bbr,cubic,bbr,cubic")
SHARED_QUEUES = (0.5, 1, 2, 4)
SEEDS = (1, 2, 3)
"""Of what is shared; who wins there is partly luck."""

BLOCK = re.compile(r"(<!-- grid: begin -->\n).*?(<!-- grid: end -->)", re.DOTALL)


# ---- What is run


def alone(part: str, cc: str, **settings: float) -> Record:
    """One flow on a link of 100 Mbit/s and 50 ms, but for what is given; measured when it had time to find its rate."""
    link = {"rate": 100.0, "rtt": 50.0, "queue": 1.0, **settings}
    warm = max(3.0, link["rtt"] / 1e3 * 40)
    asked: Settings = {"cc": cc, **link, "warm": warm, "seconds": 20 if link["rate"] <= 100 else 10}
    return {"part": part, "settings": asked, "result": {}}


def together(part: str, flows: str, seed: int, **settings: float) -> Record:
    """Flows that join one after the other; measured for a minute when all had ten seconds."""
    asked: Settings = {"flows": flows, "rate": 100, "rtt": 50, "queue": 1, **settings}
    asked |= {"join": 3, "warm": 10, "seconds": 60, "seed": seed}
    return {"part": part, "settings": asked, "result": {}}


def full_grid() -> Iterator[Record]:
    """Everything."""
    for cc in CONTROLLERS:
        for rate, loss in itertools.product(RATES, LOSSES):
            yield alone("rate", cc, rate=rate, loss=loss)
        for rtt, loss in itertools.product(TRIPS, LOSSES):
            yield alone("rtt", cc, rtt=rtt, loss=loss)
        for loss, burst in itertools.product((1, 2, 5, 10), BURSTS):
            yield alone("burst", cc, loss=loss, burst=burst)
        for rate, queue in itertools.product(RATES, QUEUES):
            yield alone("queue", cc, rate=rate, queue=queue)
        for reorder, jitter in itertools.product(REORDERS, JITTERS):
            yield alone("disorder", cc, reorder=reorder, jitter=jitter)
        for loss in (0, 1, 5):
            yield alone("small", cc, loss=loss, small=200)
    for flows, queue, seed in itertools.product(MIXES, SHARED_QUEUES, SEEDS):
        yield together("shared", flows, seed, queue=queue)
    for flows, queue, seed in itertools.product(CROWDS, (1, 4), SEEDS):
        yield together("shared", flows, seed, queue=queue)


def is_quick(record: Record) -> bool:
    """Whether a cell is in the small grid: the corners of the slow links."""
    asked = record["settings"]
    corner = asked.get("loss", 0) in (0, 1, 5) and asked["rate"] <= 100 and asked["rtt"] <= 50
    disorder = (asked.get("reorder", 0), asked.get("jitter", 0)) in ((0, 0), (1, 0), (0, 5))
    return bool(corner and disorder and asked["queue"] in (1, 4) and asked.get("seed", 1) == 1)


def quick_grid() -> Iterator[Record]:
    """Few cells, few seconds."""
    for record in filter(is_quick, full_grid()):
        few = 10 if "flows" in record["settings"] else 2
        yield {**record, "settings": {**record["settings"], "seconds": few, "warm": 2}}


# ---- Running


def cost(record: Record) -> float:
    """About how long a run takes: it follows from the packets."""
    asked = record["settings"]
    return float(asked["rate"] * (asked["seconds"] + asked["warm"]))


class Progress:
    """Counts on stderr."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def step(self) -> None:
        """One more is done."""
        with self._lock:
            self._done += 1
            if self._done % 20 == 0 or self._done == self._total:
                passed = time.monotonic() - self._began
                print(f"{self._done} of {self._total} runs, {passed:.0f} s", file=sys.stderr, flush=True)


def run_one(program: Path, record: Record, progress: Progress) -> Record:
    """Runs one; its result, or what it said when it failed."""
    arguments = [f"{name}={value}" for name, value in record["settings"].items()]
    done = subprocess.run([str(program), *arguments], check=False, capture_output=True, text=True)
    progress.step()
    result: dict[str, Any] = {"failure": done.stderr.strip() or f"ended with {done.returncode}"}
    if done.returncode == 0:
        result = json.loads(done.stdout)
    return {**record, "result": result}


def run_all(program: Path, records: Iterable[Record], workers: int) -> list[Record]:
    """Runs all, the longest first so that no core waits for the last one."""
    ordered = sorted(records, key=cost, reverse=True)
    progress = Progress(len(ordered))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda record: run_one(program, record, progress), ordered))


# ---- The command


def write_into(page: Path, records: list[Record], command: str) -> None:
    """The plots into the folder beside the page, the table between its marks."""
    plots = page.parent / "plots"
    plots.mkdir(exist_ok=True)
    for name, drawing in grid_plots.drawings(records).items():
        (plots / f"{name}.svg").write_text(drawing)
    text = page.read_text()
    if not BLOCK.search(text):
        raise ValueError(f"{page} has no <!-- grid: begin --> and <!-- grid: end -->")
    table = grid_plots.table(records)
    made = f"Made by `{command}`.\n\n{table}"
    page.write_text(BLOCK.sub(lambda match: f"{match[1]}\n{made}\n\n{match[2]}", text))


def main(given: list[str] | None = None) -> int:
    """Exit code 1 when a run failed."""
    parser = argparse.ArgumentParser(
        prog="grid.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few cells, few seconds")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time (cores)")
    parser.add_argument("--json", type=Path, default=DEFAULT_FILE, metavar="FILE", help="where figures go")
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="figures of an earlier run")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="plots beside the page, table into it")
    parser.add_argument("--program", type=Path, default=DEFAULT_PROGRAM, help="another build of bench/grid.c")
    asked = parser.parse_args(given)
    if asked.source is not None:
        records: list[Record] = json.loads(asked.source.read_text())
    else:
        if asked.program == DEFAULT_PROGRAM:
            make: list[str | Path] = ["make", "--silent", "-C", ROOT / "bench", "build/grid"]
            subprocess.run(make, check=True, stdout=sys.stderr)
        chosen = quick_grid() if asked.quick else full_grid()
        records = run_all(asked.program, chosen, asked.workers)
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")
        print(f"figures are in {asked.json}", file=sys.stderr)
    print(grid_plots.table(records))
    if asked.write is not None:
        whole = len(records) == len(list(full_grid()))
        write_into(asked.write, records, "python bench/grid.py" + ("" if whole else " --quick"))
    failed = [record for record in records if "failure" in record["result"]]
    for record in failed:
        print(f"failed: {record['settings']}: {record['result']['failure']}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
