"""The benchmarks' own machinery, in seconds: what it measures is for bench/README.md."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import compare, grid, grid_plots, rig, soak, tables
from bench.figures import ALL, SCENARIOS
from bench.goals import GOALS
from bench.peers import catalog

PYTHON_PEER = (sys.executable, "-m", "bench.peers.python_peer", "websockets")


# ---- One run


@pytest.mark.parametrize(
    ("scenario", "n"),
    [("bulk", 0.1), ("rate", 0.1), ("pingpong", 20), ("connect", 2), ("many", 2), ("lat", 0.1)],
)
def test_a_peer_plays_a_scenario(scenario: str, n: float) -> None:
    if scenario == "many":  # five seconds are too long here
        quick = "import bench.peers.scenarios as s, runpy; s.MANY_SECONDS = 0.1; "
        program = rig.Program(
            (
                sys.executable,
                "-c",
                quick + "runpy.run_module('bench.peers.python_peer', run_name='__main__')",
                "websockets",
            )
        )
    else:
        program = rig.Program(PYTHON_PEER)
    run = rig.run(program, scenario, n)
    if scenario != "lat":  # which is read with what its link carried
        assert all(value >= 0 for value in SCENARIOS[scenario].read(run).values())
    else:
        assert run.server["n"] == run.client["sent"]


def test_idle_connections_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "IDLE_SECONDS", 0.2)
    figures = SCENARIOS["idle"].read(rig.run(rig.Program(PYTHON_PEER), "idle", 3))
    assert figures["connect_s"] < 10


def test_a_program_that_fails_is_told_with_its_words() -> None:
    program = rig.Program((sys.executable, "-c", "raise SystemExit('no such thing here')"))
    with pytest.raises(rig.Failure, match="ended with 1 before READY: no such thing here"):
        rig.run(program, "bulk", 1)


def test_a_server_that_never_listens_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "START_LIMIT", 0.2)
    with pytest.raises(rig.Failure, match="no READY"):
        rig.run(rig.Program((sys.executable, "-c", "import time; time.sleep(30)")), "bulk", 1)


def test_a_peer_that_cannot_be_built_says_why() -> None:
    with pytest.raises(catalog.LeftOut, match="no such-compiler here"):
        catalog._need("such-compiler", "nowhere")
    with pytest.raises(catalog.LeftOut, match=r"no such_package here \(`pip install"):
        catalog._python_version("such_package")
    with pytest.raises(catalog.LeftOut, match="`false` failed"):
        catalog._run(["false"])


# ---- The link


@contextmanager
def linked(repository: Path, *settings: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets with a link between them: the first sends to it, the second is its server."""
    subprocess.run(["make", "--silent", "-C", repository / "bench", "build/link"], check=True)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        server.bind((rig.HOST, 0))
        through = rig.free_port()
        addresses = (f"{rig.HOST}:{through}", f"{rig.HOST}:{server.getsockname()[1]}")
        command = [str(repository / "bench" / "build" / "link"), *settings, *addresses]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "READY\n"
            client.connect((rig.HOST, through))
            for end in (client, server):
                end.settimeout(5)
            yield client, server
            process.terminate()
            counted = json.loads(process.stdout.read())
            assert counted["up"]["packets"] > 0


def test_the_link_delays_and_returns(repository: Path) -> None:
    with linked(repository, "delay=20", "rate=0") as (client, server):
        began = time.monotonic()
        client.send(b"ping")
        data, address = server.recvfrom(100)
        server.sendto(data + b"pong", address)
        assert client.recv(100) == b"pingpong"
        assert time.monotonic() - began >= 0.04


def test_the_link_has_a_rate_and_a_queue(repository: Path) -> None:
    with linked(repository, "delay=0", "rate=1", "queue=100") as (client, server):
        for _ in range(30):  # 1 Mbit/s takes 10 of 1250 bytes in 100 ms
            client.send(bytes(1250 - 28))
        server.settimeout(1)
        count = 0
        try:
            while server.recv(2000):
                count += 1
        except TimeoutError:
            pass
        assert 9 <= count <= 13


def test_the_link_loses(repository: Path) -> None:
    with linked(repository, "delay=0", "rate=0", "loss=100") as (client, server):
        client.send(b"gone")
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.recv(100)


# ---- The comparison's tables


def results() -> tables.Results:
    """Two rounds of two peers, one of which failed once."""
    made = tables.empty(quick=False)
    made["machine"] = {"kernel": "Linux"}
    made["peers"] = {"srmudp-c": {"what": "ours", "version": "1"}, "quinn": {"what": "QUIC", "version": "2"}}
    made["left_out"] = {"enet": "no ENet here"}
    made["runs"]["bulk"] = {
        "quinn": [{"mb_s": 400.0, "cpu_s_gb": 3.0, "others": 0.1}, {"failure": "it fell | over"}],
        "srmudp-c": [
            {"mb_s": 900.0, "cpu_s_gb": 1.5, "others": 0.1},
            {"mb_s": 1100.0, "cpu_s_gb": 1.7, "others": 0.3},
        ],
    }
    return made


def test_tables_show_medians_ratios_and_goals() -> None:
    page = tables.page(results())
    assert "| **srmudp-c** | **1,000** (900–1,100) | **1.60** (1.50–1.70) |  |" in page
    assert "| quinn | 400 | 3.00 | 2.50 × |" in page
    assert "| 64 KiB, C: MB/s of quinn's | ≥ 1.6 × | 2.50 | yes |" in page
    assert "| enet | left out | no ENet here |" in page
    assert page.index("**srmudp-c** | **1,000**") < page.index("| quinn | 400")  # the best first


def test_a_goal_that_is_missed_says_so() -> None:
    made = results()
    for entry in made["runs"]["bulk"]["srmudp-c"]:
        entry["mb_s"] /= 2
    assert "| 64 KiB, C: MB/s of quinn's | ≥ 1.6 × | 1.25 | **no** |" in tables.page(made)


def test_failures_are_told() -> None:
    made = results()
    assert tables.failures_of_ours(made) == []
    made["runs"]["bulk"] = {"srmudp-c": [{"failure": "it fell | over"}]}
    assert tables.failures_of_ours(made) == ["bulk srmudp-c: it fell | over"]
    assert r"| **srmudp-c** | failed: it fell \| over |" in tables.page(made)


def test_goals_name_figures_that_are_measured() -> None:
    extra = {"p99_over_p50", "p999_over_p50"}
    for goal in GOALS:
        keys = {column.key for column in ALL[goal.value.scenario].columns} | extra
        assert goal.value.figure in keys, goal


def test_tables_go_between_the_marks_of_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, source = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text("before\n<!-- compare: begin -->\nold\n<!-- compare: end -->\nbehind\n")
    source.write_text(json.dumps(results()))
    assert compare.main(["--from", str(source), "--write", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("behind\n")
    assert "old" not in text
    assert "Messages of 64 KiB" in capsys.readouterr().out
    with pytest.raises(ValueError, match="has no"):
        tables.write_into(source, results())


# ---- The grid


def canned(record: grid_plots.Record) -> grid_plots.Record:
    """What a run could have given."""
    flows = record["settings"].get("flows", "bbr").split(",")
    result: dict[str, Any] = {
        "mbps": [record["settings"]["rate"] * 0.9 / len(flows)] * len(flows),
        "jain": 1.0,
    }
    result |= {"queue_ms_p50": 1.0, "queue_ms_p95": 9.0, "lost_share": 0.01, "offered_per_byte": 1.05}
    result |= {"small_ms_p50": 25.0, "small_ms_p99": 60.0, "small_ms_max": 99.0}
    return {**record, "result": result}


def test_the_grid_covers_what_it_promises() -> None:
    records = list(grid.full_grid())
    values = {
        name: {record["settings"].get(name) for record in records}
        for name in ("rate", "rtt", "loss", "queue", "burst", "reorder", "jitter", "flows", "cc")
    }
    assert {1, 1000} <= values["rate"]
    assert {1, 300} <= values["rtt"]
    assert {0, 10} <= values["loss"]
    assert {0.2, 5} <= values["queue"]
    assert {"bbr,bbr", "bbr,cubic", "cubic,bbr", "cubic,cubic"} <= values["flows"]
    assert {"bbr", "cubic"} <= values["cc"]
    assert max(filter(None, values["burst"])) > 1
    assert max(filter(None, values["reorder"])) > 0
    assert max(filter(None, values["jitter"])) > 0
    assert 20 < len(list(grid.quick_grid())) < len(records) / 2


def test_plots_are_well_formed_and_full() -> None:
    drawings = grid_plots.drawings([canned(record) for record in grid.full_grid()])
    for name, drawing in drawings.items():
        root = ElementTree.fromstring(drawing)
        assert root.get("aria-label"), name
        assert len(drawing) < 60_000, name
    assert "94%" in drawings["goodput-rate"]
    assert "50% : 50%, Jain 1.00" in drawings["shared"]


def test_the_grids_goals_are_judged() -> None:
    table = grid_plots.table([canned(record) for record in grid.full_grid()])
    assert "| BBR beside one CUBIC flow: its share | 0.25 to 0.75 | 0.50 to 0.50 | yes |" in table
    assert "| small messages beside bulk, BBR: p99 − p50, ms | ≤ 25 | 35.0 to 35.0 | **no** |" in table


def test_the_grid_runs_and_writes_its_page(tmp_path: Path) -> None:
    program = tmp_path / "grid"
    program.write_text(
        '#!/bin/sh\necho \'{"mbps":[20,20,20,20],"jain":0.9,"queue_ms_p50":1,"queue_ms_p95":2,'
        '"lost_share":0,"offered_per_byte":1,"small_ms_p50":1,"small_ms_p99":2,"small_ms_max":3}\'\n'
    )
    program.chmod(0o755)
    page = tmp_path / "page.md"
    page.write_text("<!-- grid: begin -->\n<!-- grid: end -->\n")
    arguments = [
        "--quick",
        "--program",
        str(program),
        "--json",
        str(tmp_path / "out.json"),
        "--write",
        str(page),
    ]
    assert grid.main(arguments) == 0
    assert "Made by `python bench/grid.py --quick`" in page.read_text()
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == set(grid_plots.drawings([]))


def test_a_run_of_the_grid_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "grid"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    program.chmod(0o755)
    assert grid.main(["--quick", "--program", str(program), "--json", str(tmp_path / "out.json")]) == 1
    assert "broken" in capsys.readouterr().err


# ---- The soak


def test_memory_that_grows_is_not_flat() -> None:
    assert soak.flat([10_000] * 30) == (10_000, 10_000, True)
    assert soak.flat([1000] * 10 + [20_000] * 20)[2]  # what fills first is no leak
    assert not soak.flat([10_000 + 400 * i for i in range(30)])[2]


def test_a_small_soak_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main(["python", "--messages", "1000", "--limit", "40"]) == 0
    assert "python: 1,000 messages each way" in capsys.readouterr().out
