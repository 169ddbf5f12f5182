"""The peers of the comparison: what each is, how it is built, how it is started.

Nothing here is needed by anything else: a peer whose compiler or library is missing is left out, and the comparison says
so. Builds go to bench/build/peers.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.rig import ROOT, Program

BENCH = ROOT / "bench"
BUILD = BENCH / "build"
PEERS = BENCH / "peers"


class LeftOut(Exception):
    """A peer that can't take part here; the text says why."""


@dataclass(frozen=True)
class Ready:
    """A peer that can be run."""

    program: Program
    version: str


@dataclass(frozen=True)
class Peer:
    """One row of the tables."""

    name: str
    what: str
    """What it is, and whether it encrypts."""
    prepare: Callable[[], Ready]
    udp: bool = True
    """Goes through bench/link.c."""
    scenarios: frozenset[str] | None = None
    """Only these; None: all."""
    missing: frozenset[str] = frozenset()
    """Not these."""

    def takes_part(self, scenario: str, over_link: bool) -> bool:
        """Whether it has this scenario."""
        chosen = self.scenarios is None or scenario in self.scenarios
        return chosen and scenario not in self.missing and (self.udp or not over_link)


# ---- Building


def _run(command: list[str | Path], folder: Path = ROOT, **environment: str) -> str:
    """Runs a build step; its output. Raises `LeftOut` with the last line of what it said."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )
    except OSError as error:
        raise LeftOut(str(error)) from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise LeftOut(f"`{Path(command[0]).name}` failed: {said[-1] if said else done.returncode}")
    return done.stdout.strip()


def _need(tool: str, package: str) -> str:
    path = shutil.which(tool)
    if path is None:
        raise LeftOut(f"no {tool} here ({package})")
    return path


def _python_version(package: str) -> str:
    if importlib.util.find_spec(package) is None:
        raise LeftOut(f"no {package} here (`pip install -e '.[bench]'`)")
    return importlib.metadata.version(package)


def _certificate() -> str:
    """A file with a certificate of our own and its key, made once."""
    path = BUILD / "peers" / "certificate.pem"
    if not path.exists():
        openssl = _need("openssl", "Debian: openssl")
        path.parent.mkdir(parents=True, exist_ok=True)
        key = path.with_suffix(".key")
        request: list[str | Path] = [openssl, "req", "-x509", "-nodes", "-days", "3650", "-subj", "/CN=bench"]
        curve: list[str | Path] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        certificate = _run([*request, *curve, "-keyout", key])
        path.write_text(certificate + "\n" + key.read_text())
    return str(path)


# ---- Ours


def _engine() -> str:
    text = (ROOT / "csrc" / "include" / "srmudp.h").read_text()
    version = re.search(r'#define SRMUDP_VERSION "(.*)"', text)
    return f"srmudp {version[1] if version else '?'}"


def _ours_c() -> Ready:
    _run(["make", "--silent", "-C", BENCH, "build/srmudp-c"])
    sodium = _run(["pkg-config", "--modversion", "libsodium"])
    return Ready(Program((str(BUILD / "srmudp-c"),)), f"{_engine()}, libsodium {sodium}")


def _ours_aegis() -> Ready:
    program = BENCH / "build-aegis" / "srmudp-c"
    if not program.exists():
        raise LeftOut("not built: docs/performance.md tells how")
    return Ready(Program((str(program),)), _engine())


def _ours_python(loop: str = "") -> Ready:
    version = _engine()
    if loop:
        version += f", {loop} {_python_version(loop)}"
    program = Program((sys.executable, str(BENCH / "srmudp_py.py")), {"SRMUDP_LOOP": loop} if loop else {})
    return Ready(program, version)


# ---- Theirs


def _quinn(congestion: str = "") -> Ready:
    cargo = _need("cargo", "https://rustup.rs")
    target = BUILD / "peers" / "quinn"
    folder = PEERS / "quinn"
    _run([cargo, "build", "--quiet", "--release", "--locked"], folder, CARGO_TARGET_DIR=str(target))
    version = re.search(r'^quinn = "=(.*)"$', (folder / "Cargo.toml").read_text(), re.MULTILINE)
    environment = {"BENCH_CONGESTION": congestion} if congestion else {}
    program = Program((str(target / "release" / "quinn-peer"),), environment)
    return Ready(program, f"quinn {version[1] if version else '?'}")


def _go(protocol: str) -> Ready:
    go = _need("go", "https://go.dev")
    program = BUILD / "peers" / "go-peer"
    folder = PEERS / "go"
    _run([go, "build", "-o", program, "."], folder)
    version = _run([go, "env", "GOVERSION"])
    if protocol == "quic":
        found = re.search(r"quic-go (v\S+)", (folder / "go.mod").read_text())
        version = f"quic-go {found[1] if found else '?'}, {version}"
    return Ready(Program((str(program), protocol)), version)


def _enet() -> Ready:
    compiler = _need(os.environ.get("CC", "cc"), "a C compiler")
    try:
        version = _run(["pkg-config", "--modversion", "libenet"])
    except LeftOut:
        raise LeftOut("no ENet here (Debian: libenet-dev)") from None
    flags = _run(["pkg-config", "--cflags", "--libs", "libenet"]).split()
    program = BUILD / "peers" / "enet-peer"
    program.parent.mkdir(parents=True, exist_ok=True)
    options: list[str | Path] = ["-std=c11", "-O2", "-D_GNU_SOURCE", "-o", program]
    _run([compiler, *options, PEERS / "enet.c", *flags])
    return Ready(Program((str(program),)), f"ENet {version}")


def _python_peer(protocol: str, version: str, certificate: bool) -> Ready:
    environment = {"BENCH_CERTIFICATE": _certificate()} if certificate else {}
    return Ready(Program((sys.executable, "-m", "bench.peers.python_peer", protocol), environment), version)


def _tls() -> Ready:
    import ssl

    return _python_peer("tls", f"Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}", certificate=True)


def _websockets() -> Ready:
    return _python_peer("websockets", f"websockets {_python_version('websockets')}", certificate=False)


def _aioquic() -> Ready:
    return _python_peer("aioquic", f"aioquic {_python_version('aioquic')}", certificate=True)


OURS = ("srmudp-c", "srmudp-aegis", "srmudp-py", "srmudp-uvloop")

PEERS_BY_NAME: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("srmudp-c", "ours, from C", _ours_c),
        Peer("srmudp-aegis", "ours, from C, with AEGIS", _ours_aegis, scenarios=frozenset({"bulk", "rate"})),
        Peer("srmudp-py", "ours, from Python (asyncio)", _ours_python, missing=frozenset({"many"})),
        Peer(
            "srmudp-uvloop",
            "ours, from Python (uvloop)",
            lambda: _ours_python("uvloop"),
            missing=frozenset({"many"}),
        ),
        Peer("quinn", "QUIC in Rust, CUBIC", _quinn),
        Peer(
            "quinn-bbr",
            "QUIC in Rust, BBR",
            lambda: _quinn("bbr"),
            scenarios=frozenset({"link0", "link1", "link5", "link10", "lat"}),
        ),
        Peer("quic-go", "QUIC in Go", lambda: _go("quic")),
        Peer("go-tls", "TLS 1.3 over TCP in Go", lambda: _go("tls"), udp=False),
        Peer(
            "go-tcp",
            "TCP in Go, in the clear",
            lambda: _go("tcp"),
            udp=False,
            scenarios=frozenset({"bulk", "rate", "pingpong"}),
        ),
        Peer("enet", "ENet in C, in the clear", _enet, missing=frozenset({"many"})),
        Peer("asyncio-tls", "TLS 1.3 over TCP in Python", _tls, udp=False),
        Peer("websockets", "WebSocket over TCP in Python, in the clear", _websockets, udp=False),
        Peer("aioquic", "QUIC in Python", _aioquic),
    )
}
