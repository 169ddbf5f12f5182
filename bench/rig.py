"""One run: a server and a client, started, watched and ended; what they printed and what they used.

A program of a peer takes part as ``PROGRAM server|client HOST:PORT SCENARIO N``. The server prints READY when it listens,
each prints one line of JSON with its ``role`` at its end. bench/README.md has the scenarios.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bench import machine

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_LIMIT = 20.0
"""Seconds that a server may take until it is READY."""
SERVER_LIMIT = 20.0
"""Seconds that a server may take after its client has ended."""
IDLE_SECONDS = 8.0
"""How long idle connections are watched; the clients stay 15 s."""
SERVER_ENDS = ("bulk", "rate", "lat", "many")
"""Scenarios in which the server ends by itself, with the figures."""


class Failure(Exception):
    """A run that gave no figures; the text says why."""


@dataclass(frozen=True)
class Program:
    """How to start a peer."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """A link of bench/link.c between the two: its arguments."""

    command: tuple[str, ...]


def free_port() -> int:
    """A port that neither UDP nor TCP has in use at this moment."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((HOST, 0))
            try:
                tcp.bind((HOST, udp.getsockname()[1]))
            except OSError:
                continue
            return int(udp.getsockname()[1])


class Watched:
    """A running program: its lines, its memory, its processor time."""

    def __init__(self, command: list[str], environment: dict[str, str], errors: IO[str]) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=environment
        )
        self.pid = self._process.pid
        self.result: dict[str, Any] = {}
        self._seen: dict[str, threading.Event] = {
            name: threading.Event() for name in ("READY", "BASE", "IDLE")
        }
        self.times: dict[str, float] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word = line.strip()
            if word.startswith("{"):
                self.result = json.loads(word)
            elif word in self._seen:
                self.times[word] = time.monotonic()
                self._seen[word].set()

    def wait_for(self, word: str, limit: float) -> None:
        """Until it printed the word. Raises `Failure` when it ends before or takes too long."""
        end = time.monotonic() + limit
        while not self._seen[word].wait(0.05):
            if self._process.poll() is not None and not self._seen[word].wait(0.2):
                raise Failure(f"ended with {self._process.returncode} before {word}")
            if time.monotonic() > end:
                raise Failure(f"no {word} within {limit:.0f} s")

    def wait(self, limit: float) -> None:
        """Until its end. Raises `Failure` when that takes too long."""
        try:
            status = self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {limit:.0f} s") from None
        self._reader.join(5)
        if status != 0:
            raise Failure(f"ended with {status}")

    def running(self) -> bool:
        """Whether it still does."""
        return self._process.poll() is None

    def used(self) -> float:
        """Processor seconds so far; 0 when it is gone."""
        try:
            return machine.process_seconds(self.pid)
        except OSError:
            return 0.0

    def end(self) -> None:
        """Ends it, first kindly."""
        if self.running():
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass
class Run:
    """What came of one run."""

    server: dict[str, Any] = field(default_factory=dict)
    client: dict[str, Any] = field(default_factory=dict)
    link: dict[str, Any] = field(default_factory=dict)
    server_cpu: float = 0.0
    """Processor seconds of the server from READY until the client's end."""
    others: float = 0.0
    """Cores that everything else on the machine kept busy."""
    idle: dict[str, float] = field(default_factory=dict)


@contextmanager
def started(program: Program, arguments: list[str], errors: IO[str]) -> Iterator[Watched]:
    """Starts a program; ends it at the end of the block."""
    environment = {**os.environ, "CLIENT_HOST": HOST, **program.environment}
    watched = Watched([*program.command, *arguments], environment, errors)
    try:
        yield watched
    finally:
        watched.end()


def watch_idle(server: Watched, client: Watched, connections: int) -> dict[str, float]:
    """What idle connections cost, from the moment before the first."""
    client.wait_for("BASE", START_LIMIT)
    before = [machine.resident_kib(p.pid) for p in (server, client)]
    client.wait_for("IDLE", 120)
    used = [p.used() for p in (server, client)]
    time.sleep(IDLE_SECONDS)
    after = [machine.resident_kib(p.pid) for p in (server, client)]
    return {
        "connect_s": client.times["IDLE"] - client.times["BASE"] - 0.5,  # the pause that begins it
        "server_kib": (after[0] - before[0]) / connections,
        "client_kib": (after[1] - before[1]) / connections,
        "server_ms_s": (server.used() - used[0]) * 1e3 / IDLE_SECONDS,
        "client_ms_s": (client.used() - used[1]) * 1e3 / IDLE_SECONDS,
    }


def children_seconds() -> float:
    """What ended children of this process have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def drive(
    result: Run,
    server: Watched,
    program: Program,
    address: str,
    task: list[str],
    errors: IO[str],
    limit: float,
) -> None:
    """The client's life against a server that is READY."""
    begun = server.used()
    with started(program, ["client", address, *task], errors) as client:
        if task[0] == "idle":
            result.idle = watch_idle(server, client, int(float(task[1])))
        else:
            client.wait(limit)
            result.server_cpu = server.used() - begun
            if task[0] in SERVER_ENDS:
                server.wait(SERVER_LIMIT)
        result.client = client.result
    result.server = server.result


def run(program: Program, scenario: str, n: float, link: Link | None = None, limit: float = 90) -> Run:
    """Runs a scenario once. Raises `Failure`, with what the programs wrote to stderr."""
    result, task = Run(), [scenario, f"{n:g}"]
    address = f"{HOST}:{free_port()}"
    busy, own, begun = machine.busy_seconds(), children_seconds(), time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        try:
            with started(program, ["server", address, *task], errors) as server:
                server.wait_for("READY", START_LIMIT)
                if link is None:
                    drive(result, server, program, address, task, errors, limit)
                else:
                    through = f"{HOST}:{free_port()}"
                    with started(Program(link.command), [through, address], errors) as wire:
                        wire.wait_for("READY", START_LIMIT)
                        drive(result, server, program, through, task, errors, limit)
                    result.link = wire.result
        except Failure as failure:
            errors.seek(0)
            said = errors.read().strip().splitlines()
            raise Failure(f"{failure}" + (f": {' / '.join(said[-2:])}" if said else "")) from None
    passed = time.monotonic() - begun
    result.others = (machine.busy_seconds() - busy - (children_seconds() - own)) / passed
    return result
