"""What redundancy for small messages costs and brings: a model of the loss process, to choose a scheme by.

Every 5 ms a packet takes one new message and, by scheme, something about earlier ones. Packets are lost singly or in
runs. A message that redundancy doesn't give back is sent again a round trip after its loss can be noticed. Order holds:
a message waits for those before it. Nothing else of a transport is in here; the simulator (tests/sim/test_transfer.c)
has all of it and decides, this shows why.

    python bench/redundancy.py [--loss 0.05] [--burst 1] [--messages 60000] [--seeds 5]
"""

import argparse
import random
from collections.abc import Callable

GAP = 5.0  # ms between messages
ONE_WAY = 25.0  # ms
REPEAT = 3 * GAP + 2 * ONE_WAY  # three later packets must be acknowledged, then the repeated one leaves
PACKET = 28 + 27 + 8  # bytes besides messages: IP, UDP, header and tag, an ACK
MESSAGE = 206  # bytes with its frame
REPAIR = 214

Losses = list[bool]
Arrivals = list[float]  # when each message is known to the receiver, in ms after the first was sent


def losses(count: int, rate: float, burst: float, rng: random.Random) -> Losses:
    """Which packets are lost; in runs of `burst` on average (a Gilbert model)."""
    if burst <= 1:
        return [rng.random() < rate for _ in range(count)]
    leave = 1 / burst
    enter = leave * rate / (1 - rate)
    out, losing = [], False
    for _ in range(count):
        losing = rng.random() >= leave if losing else rng.random() < enter
        out.append(losing)
    return out


def first_of(times: list[float], lost: Losses, packets: list[int]) -> float | None:
    """The arrival of the first of these packets that isn't lost."""
    return next((times[p] for p in packets if not lost[p]), None)


def copies(lags: tuple[int, ...]) -> Callable[[Losses, list[float]], list[float | None]]:
    """Each message again in the packets so far behind its own."""

    def run(lost: Losses, times: list[float]) -> list[float | None]:
        last = len(lost) - 1
        return [first_of(times, lost, [min(n + lag, last) for lag in (0, *lags)]) for n in range(len(lost))]

    return run


def code(window: int, each: int, every: int = 1) -> Callable[[Losses, list[float]], list[float | None]]:
    """`each` repairs in every `every`th packet, over the messages of the last `window` packets.

    As many repairs as there are unknown messages in their windows give all of them back: a code over GF(256) is that
    good but for one time in hundreds.
    """

    def run(lost: Losses, times: list[float]) -> list[float | None]:
        known: list[float | None] = [None if gone else at for gone, at in zip(lost, times, strict=True)]
        unknown: list[int] = []
        equations = 0
        for n, gone in enumerate(lost):
            while unknown and unknown[0] < n - window:
                unknown.pop(0)
                equations = max(0, equations - 1)
            if not gone and n % every == 0 and unknown:
                equations = min(len(unknown), equations + each)
                if equations == len(unknown):
                    for m in unknown:
                        known[m] = times[n]
                    unknown, equations = [], 0
            if gone:
                unknown.append(n)
        return known

    return run


def pairs(lost: Losses, times: list[float]) -> list[float | None]:
    """In each packet the XOR of the two messages before its own."""
    known: list[float | None] = [None if gone else at for gone, at in zip(lost, times, strict=True)]
    open_pairs: list[int] = []
    for n in range(2, len(lost)):
        if not lost[n]:
            open_pairs.append(n)
        for p in [*reversed(open_pairs)]:
            a, b = known[p - 1], known[p - 2]
            if (a is None) != (b is None):
                known[p - 1 if a is None else p - 2] = times[n]
        open_pairs = [p for p in open_pairs if p > n - 16 and (known[p - 1] is None or known[p - 2] is None)]
    return known


SCHEMES: list[tuple[str, float, Callable[[Losses, list[float]], list[float | None]]]] = [
    ("nothing", 0, copies(())),
    ("1 copy, next packet", 1, copies((1,))),
    ("2 copies, lags 1 and 2", 2, copies((1, 2))),
    ("2 copies, lags 1 and 3", 2, copies((1, 3))),
    ("3 copies, lags 1 to 3", 3, copies((1, 2, 3))),
    ("XOR of the last two", 1.04, pairs),
    ("code, every 2nd packet", 0.52, code(16, 1, 2)),
    ("code, window 4", 1.04, code(4, 1)),
    ("code, window 8", 1.04, code(8, 1)),
    ("code, window 16", 1.04, code(16, 1)),
    ("code, window 16, two", 2.08, code(16, 2)),
]


def delays(known: list[float | None], rate: float, rng: random.Random) -> list[float]:
    """From sending to delivery in order, with what wasn't repaired sent again."""
    out, ready = [], 0.0
    for n, at in enumerate(known):
        if at is None:
            at = n * GAP + ONE_WAY + REPEAT
            while rng.random() < rate:
                at += REPEAT
        ready = max(ready, at)
        out.append(ready - n * GAP)
    return out


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loss", type=float, default=0.05)
    parser.add_argument("--burst", type=float, default=1, help="mean length of a run of losses")
    parser.add_argument("--messages", type=int, default=60000)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    print("| scheme | p99 | p99.9 (best to worst seed) | not repaired | bytes a message |")
    print("| --- | --- | --- | --- | --- |")
    for name, share, scheme in SCHEMES:
        p99s, p999s, missed = [], [], 0
        for seed in range(1, args.seeds + 1):
            rng = random.Random(seed)
            lost = losses(args.messages, args.loss, args.burst, rng)
            known = scheme(lost, [n * GAP + ONE_WAY for n in range(args.messages)])
            missed += sum(at is None for at in known)
            waits = sorted(delays(known, args.loss, rng))
            p99s.append(waits[int(0.99 * (len(waits) - 1))] - ONE_WAY)
            p999s.append(waits[int(0.999 * (len(waits) - 1))] - ONE_WAY)
        size = PACKET + MESSAGE + share * (REPAIR if share % 1 else MESSAGE)
        rate = missed / args.messages / args.seeds
        print(
            f"| {name} | +{max(p99s):.0f} ms | +{min(p999s):.0f} to +{max(p999s):.0f} ms | {rate:.4%} | {size:.0f} |"
        )


if __name__ == "__main__":
    main()
