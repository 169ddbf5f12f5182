"""The fuzz targets replay their seeds and what they once found; and where clang can, they fuzz for a moment."""

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in TESTS.joinpath("fuzz").glob("fuzz_*.c"))


def make(repository: Path, *arguments: str) -> str:
    """Gives what make printed; the test fails with it when make does."""
    result = subprocess.run(
        ["make", "--silent", "-j2", "O=build/pytest", *arguments],
        cwd=repository / "csrc",
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode != 0:
        pytest.fail(f"make {' '.join(arguments)}:\n{result.stdout}", pytrace=False)
    return result.stdout


def can_fuzz() -> bool:
    """Whether clang is here, with libFuzzer."""
    probe = "int LLVMFuzzerTestOneInput(const void *d, unsigned long n) { return n == 0 && !d; }"
    command = ["clang", "-fsanitize=fuzzer", "-x", "c", "-", "-o", "/dev/null"]
    return (
        shutil.which("clang") is not None
        and subprocess.run(command, input=probe, text=True, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", TARGETS)
def test_target_replays_its_inputs(target: str, repository: Path) -> None:
    assert "passed, 0 failed" in make(repository, "replay", f"TARGET={target}")


@pytest.mark.timeout(900)
def test_every_target_fuzzes_for_a_moment(repository: Path) -> None:
    if not can_fuzz():
        pytest.skip("clang with libFuzzer is not installed")
    output = make(repository, "fuzz", "SECONDS=2")
    assert output.count("nothing found") == len(TARGETS)
