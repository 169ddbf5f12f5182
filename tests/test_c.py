"""Every C test program is one case here: built by csrc/Makefile, and run to its last line."""

import re
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROGRAMS = sorted(
    path for suite in ("unit", "driver", "sim") for path in TESTS.joinpath(suite).glob("test_*.c")
)


def run(*command: str | Path, cwd: Path) -> str:
    """Gives what ``command`` printed; the test fails with it when the command does."""
    result = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode != 0:
        pytest.fail(
            f"{Path(command[0]).name} ended with {result.returncode}:\n{result.stdout}", pytrace=False
        )
    return result.stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize("source", [pytest.param(p, id=f"{p.parent.name}/{p.stem}") for p in PROGRAMS])
def test_c_program(source: Path, repository: Path) -> None:
    csrc = repository / "csrc"
    program = Path("build", "pytest", "tests", source.parent.name, source.stem)
    run("make", "--silent", "-j4", "O=build/pytest", str(program), cwd=csrc)
    last_line = run(csrc / program, cwd=csrc).splitlines()[-1]
    assert re.fullmatch(r"[1-9][0-9]* passed, 0 failed", last_line)
