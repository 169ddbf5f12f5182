"""What a figure depends on besides the code: the machine, its kernel, its limits, and what else it does."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def first_line(path: str, default: str = "?") -> str:
    """The first line of a file of the kernel's."""
    try:
        return Path(path).read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return default


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "?"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "?"


def facts() -> dict[str, str]:
    """What to say of the machine beside any figure."""
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "run by": "root" if os.geteuid() == 0 else "a user without privileges",
        "net.core.rmem_max, wmem_max": ", ".join(
            first_line(f"/proc/sys/net/core/{name}") for name in ("rmem_max", "wmem_max")
        ),
        "TCP congestion control": first_line("/proc/sys/net/ipv4/tcp_congestion_control"),
        "load before": " ".join(first_line("/proc/loadavg").split()[:3]),
        "date": time.strftime("%Y-%m-%d"),
    }


def busy_seconds() -> float:
    """What all processors together have worked so far, in seconds. 0 where the kernel doesn't tell."""
    try:
        fields = [int(field) for field in first_line("/proc/stat").split()[1:9]]
    except ValueError:
        return 0.0
    return (sum(fields) - fields[3] - fields[4]) / TICK  # but idle and waiting for I/O


def process_seconds(pid: int) -> float:
    """What a process has used so far, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_kib(pid: int) -> int:
    """Memory of a process that is in RAM. 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
