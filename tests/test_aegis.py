"""The build that links a libsodium with AEGIS, where AUTOPROX_SODIUM_PREFIX says that there is one."""

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

PREFIX = os.environ.get("AUTOPROX_SODIUM_PREFIX")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PREFIX, reason="AUTOPROX_SODIUM_PREFIX names no libsodium to link"),
]


def make(repository: Path, *arguments: str) -> None:
    command = ["make", "-j2", "-C", "csrc", "O=build/aegis", f"SODIUM_PREFIX={PREFIX}", *arguments]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_library_has_aegis_and_keeps_it_to_itself(repository: Path) -> None:
    make(repository, "build/aegis/libsrmudp.so")
    path = str(repository / "csrc/build/aegis/libsrmudp.so")
    library = ctypes.CDLL(path)
    library.srmudp_build_info.restype = ctypes.c_char_p
    aeads = library.srmudp_build_info().decode().split(", ")[3:]
    assert aeads[0] == "AEGIS-128L"
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", path], check=True, capture_output=True, text=True
    )
    assert "srmudp_build_info" in exported.stdout
    assert "crypto_" not in exported.stdout
    assert "sodium_" not in exported.stdout


def test_it_is_what_two_endpoints_agree_on(repository: Path) -> None:
    """statistics_tell_what_happened: the AEAD in use is the fastest that the library has."""
    make(repository, "unit", "TEST=aead")
    make(repository, "driver", "TEST=messages")
