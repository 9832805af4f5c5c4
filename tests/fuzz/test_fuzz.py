"""Runs of the fuzzer over damaged files of five kinds, each of which works or is refused in a
sentence.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("count", "seed"),
    [pytest.param(300, 1, marks=pytest.mark.slow), pytest.param(10_000, 0, marks=pytest.mark.long)],
)
def test_damaged_files(tmp_path: Path, count: int, seed: int) -> None:
    """No input crashes, hangs, ends in a traceback or leaves a file; those of HDF5 that do are a
    sentence in the guarded verbs.
    """
    pytest.importorskip("onnxscript")
    command = [
        sys.executable, str(Path(__file__).with_name("run.py")), "--count", str(count),
        "--seed", str(seed), "--jobs", "2",
    ]  # fmt: skip
    result = subprocess.run(
        [*command, "--keep", str(tmp_path / "bad")], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    table = {
        line.split()[0]: list(map(int, line.split()[1:]))
        for line in result.stdout.splitlines()[-5:]
    }
    assert set(table) == {"data", "keras", "checkpoint", "image", "onnx"}
    for (
        worked,
        refused,
        *_,
    ) in table.values():  # damage that nobody notices, or that always is, would test nothing
        assert worked >= 5
        assert refused >= 20
