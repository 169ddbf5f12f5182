"""What a message costs the core, in instructions: both sides together, everything but the system calls.

python bench/cost.py            measures, and compares with cost.json; exit code 1 when something became dearer
python bench/cost.py --write    measures, and makes that the new cost.json

Instructions (valgrind's callgrind) don't depend on how busy the machine is, so a change of a few per cent shows. They do
depend on compiler and libsodium: cost.json says for which it was made, and with others nothing is compared.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PROGRAM = str(BENCH / "build" / "core-cost")
BASELINE = BENCH / "cost.json"
TOLERANCE = 0.05
# Message size and largest datagram (Ethernet's, or what loopback carries): two numbers of messages. What the
# difference costs is free of starting and connecting, and of the search for the largest datagram.
RUNS = {
    (100, 1472): (20_000, 60_000),
    (1024, 1472): (5_000, 15_000),
    (65_536, 1472): (400, 800),
    (65_536, 65_000): (400, 1_200),
}


def instructions(size: int, mtu: int, count: int) -> int:
    """How many instructions the whole program took."""
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        PROGRAM,
        str(size),
        str(count),
        str(mtu),
    ]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", result.stderr)
    if found is None:
        sys.exit(result.stderr)
    return int(found[1])


def toolchain() -> str:
    compiler = subprocess.run(
        ["cc", "-dumpfullversion"], check=True, capture_output=True, text=True
    ).stdout.strip()
    sodium = subprocess.run(
        ["pkg-config", "--modversion", "libsodium"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return f"cc {compiler}, libsodium {sodium}"


def measure() -> dict[str, int]:
    """Instructions a message, by its size and the largest datagram."""
    subprocess.run(["make", "--silent", "-C", BENCH, "build/core-cost"], check=True, capture_output=True)
    costs = {}
    for (size, mtu), (few, many) in RUNS.items():
        difference = instructions(size, mtu, many) - instructions(size, mtu, few)
        costs[f"{size}/{mtu}"] = round(difference / (many - few))
    return costs


def main() -> int:
    costs = measure()
    if "--write" in sys.argv[1:]:
        BASELINE.write_text(json.dumps({"toolchain": toolchain(), "instructions": costs}, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    comparable = baseline["toolchain"] == toolchain()
    dearer = 0
    for run, cost in costs.items():
        size, mtu = run.split("/")
        before = baseline["instructions"][run]
        change = cost / before - 1
        dearer += comparable and change > TOLERANCE
        print(
            f"{size:>6} bytes, datagrams to {mtu:>5}: {cost:>9,} instructions a message, "
            f"{change:+.1%} against {before:,}"
        )
    if not comparable:
        print(f"not compared: cost.json is for {baseline['toolchain']}, this is {toolchain()}")
    return 1 if dearer else 0


if __name__ == "__main__":
    sys.exit(main())
