"""`tests/kill/run.py`: runs that are killed, asked to end, or out of room, and go on to the same
last bit.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


@pytest.mark.parametrize(
    ("kills", "terms", "disks", "models", "seed"),
    [
        pytest.param(4, 1, 1, "functional", 7, marks=pytest.mark.slow),
        pytest.param(100, 20, 20, "functional,sequential,resnet50", 0, marks=pytest.mark.long),
    ],
)
@pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="needs Linux: it waits for processes by their descriptors"
)
def test_interrupted_runs_end_the_same(
    tmp_path: Path, kills: int, terms: int, disks: int, models: str, seed: int
) -> None:
    """SIGKILLs, SIGTERMs and full disks (where a tmpfs can be mounted) at random moments."""
    counts = [
        "--kills", kills, "--terms", terms, "--disks", disks, "--models", models, "--seed", seed,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(RUN), *map(str, counts)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SIGKILL: {kills} runs; " in done.stdout
    assert f"{kills} the same to the last bit" in done.stdout
