"""The core may not become dearer unnoticed: bench/cost.py counts instructions and compares."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_messages_cost_no_more_than_before(repository: Path) -> None:
    result = subprocess.run(
        [sys.executable, "bench/cost.py"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
