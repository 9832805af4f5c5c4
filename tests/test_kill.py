"""A short version of `tests/kill/run.py`: runs that are killed, asked to end, or out of room, and go on to the same last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "kill/run.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux: it waits for processes by their descriptors")
def test_interrupted_runs_end_the_same(tmp_path: Path) -> None:
    """Four SIGKILLs, one SIGTERM and a full disk (where a tmpfs can be mounted) at random moments."""
    counts = ["--kills", "4", "--terms", "1", "--disks", "1", "--models", "functional", "--seed", "7"]
    done = subprocess.run(
        [sys.executable, str(RUN), *counts], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIGKILL: 4 runs; " in done.stdout
    assert "4 the same to the last bit" in done.stdout
