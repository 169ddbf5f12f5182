"""A million messages each way through one connection of two processes: does their memory stay flat?

    python bench/soak.py                     from C and from Python
    python bench/soak.py c --messages 10000000

The messages are of mixed sizes, 8 bytes to 1 MiB, on four channels in both directions; each is checked, and now and then
the client makes a new handshake in the midst of it. Memory in RAM is read all along. The verdict is flat when the most of
the last third isn't above the most of the second third by more than a twentieth and 2 MiB; the first third is for buffers
and caches to fill. Exit code 1 otherwise, or when a message was wrong.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import machine, rig  # noqa: E402

KINDS = {
    "c": rig.Program((str(ROOT / "bench" / "build" / "soak"),)),
    "python": rig.Program((sys.executable, str(ROOT / "bench" / "soak_peer.py"))),
}
SAMPLE_SECONDS = 0.1
MIN_SAMPLES = 12
TOLERANCE = 1.05
SLACK_KIB = 2048


def flat(samples: list[int]) -> tuple[int, int, bool]:
    """The most of the second third and of the last one, in KiB, and whether that is flat."""
    third = len(samples) // 3
    second, last = max(samples[third : 2 * third]), max(samples[2 * third :])
    return second, last, last <= second * TOLERANCE + SLACK_KIB


def sample(server: rig.Watched, client: rig.Watched, limit: float) -> dict[str, list[int]]:
    """Their memory until the client has ended. Raises `rig.Failure` when that takes too long."""
    kib: dict[str, list[int]] = {"server": [], "client": []}
    end = time.monotonic() + limit
    while client.running():
        for name, process in (("server", server), ("client", client)):
            if resident := machine.resident_kib(process.pid):
                kib[name].append(resident)
        if time.monotonic() > end:
            raise rig.Failure(f"still running after {limit:.0f} s")
        time.sleep(SAMPLE_SECONDS)
    return kib


def check_counts(process: rig.Watched, messages: int) -> None:
    """Raises `rig.Failure` unless it sent and got all."""
    process.wait(30)
    for what in ("sent", "received"):
        if process.result.get(what) != messages:
            raise rig.Failure(f"{process.result.get(what)} of {messages} messages {what}")


def soak(kind: str, messages: int, limit: float) -> bool:
    """One exchange; whether both were flat. Raises `rig.Failure`."""
    address = f"{rig.HOST}:{rig.free_port()}"
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        try:
            with rig.started(KINDS[kind], ["server", address, str(messages)], errors) as server:
                server.wait_for("READY", rig.START_LIMIT)
                with rig.started(KINDS[kind], ["client", address, str(messages)], errors) as client:
                    kib = sample(server, client, limit)
                    check_counts(client, messages)
                check_counts(server, messages)
        except rig.Failure as failure:
            errors.seek(0)
            said = errors.read().strip().splitlines()
            raise rig.Failure(f"{failure}" + (f": {said[-1]}" if said else "")) from None
    seconds = time.monotonic() - began
    size = server.result["bytes"] + client.result["bytes"]
    print(f"{kind}: {messages:,} messages each way, {size / 1e9:.2f} GB, in {seconds:.0f} s, all right")
    verdicts = [report(kind, name, samples) for name, samples in kib.items()]
    return all(verdicts)


def report(kind: str, name: str, samples: list[int]) -> bool:
    """Prints what one process had; whether it was flat."""
    if len(samples) < MIN_SAMPLES:
        print(f"{kind} {name}: over too soon to tell: {len(samples)} samples")
        return True
    second, last, good = flat(samples)
    verdict = "flat" if good else "NOT FLAT"
    print(
        f"{kind} {name}: {second:,} KiB at the most in the second third, {last:,} KiB in the last, "
        f"{len(samples)} samples: {verdict}"
    )
    return good


def main(given: list[str] | None = None) -> int:
    """The verdict as an exit code."""
    parser = argparse.ArgumentParser(
        prog="soak.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="c|python", help="both, if none is named")
    parser.add_argument("--messages", type=int, default=1_000_000, help="each way (1,000,000)")
    parser.add_argument("--limit", type=float, default=900, help="seconds that one exchange may take (900)")
    asked = parser.parse_args(given)
    kinds = asked.kinds or list(KINDS)
    if unknown := {*kinds} - {*KINDS}:
        parser.error(f"no {', '.join(unknown)}; there are c and python")
    if "c" in kinds:
        subprocess.run(["make", "--silent", "-C", str(ROOT / "bench"), "build/soak"], check=True)
    good = True
    for kind in kinds:
        try:
            good &= soak(kind, asked.messages, asked.limit)
        except rig.Failure as failure:
            print(f"{kind}: FAILED: {failure}")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
