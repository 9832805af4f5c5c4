"""`tests/kill/nodes.py`, `beside.py`, `ends.py` and `soak.py`: runs that lose a process, commands
beside each other, ends of processes, many epochs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: it reads /proc and forks"
)


def said(script: str, folder: Path, *args: object) -> str:
    """What a script prints that ends well."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *map(str, args)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_process_is_killed_in_a_step(tmp_path: Path) -> None:
    """One of two; the other one ends with a sentence, and the run goes on to the same last bit."""
    found = said("nodes.py", tmp_path, "--places", 2, "--faults", "kill:step:1")
    assert found == "1 as promised; 1 kill in step\n"


@pytest.mark.slow
def test_a_machine_vanishes(tmp_path: Path) -> None:
    """The first of three, in the setup: all of them end within a minute, none with a traceback."""
    found = said("nodes.py", tmp_path, "--places", "nodes", "--faults", "vanish:setup:0")
    if "left out" in found:
        pytest.skip(found.splitlines()[0])
    assert found == "1 as promised; 1 vanish in setup\n"


@pytest.mark.slow
def test_commands_beside_each_other(tmp_path: Path) -> None:
    """A second command on a run is refused or finds it done, and readers read whole files."""
    kinds = ["--kinds", "two commands,predict,inspect"]
    found = said("beside.py", tmp_path, "--count", 3, *kinds, "--seed", 7)
    assert found.endswith("; 0 otherwise than promised\n")


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "args"),
    [
        ("nodes.py", ["--count", 60, "--seed", 0]),
        ("beside.py", ["--count", 200, "--seed", 0]),
        ("ends.py", ["--count", 500]),
        ("ends.py", ["--count", 50, "--verb"]),
        ("soak.py", ["--epochs", 20000]),
    ],
)
def test_long(tmp_path: Path, script: str, args: list[object]) -> None:
    """Everything at length, see docs/trust.md."""
    said(script, tmp_path, *args)
