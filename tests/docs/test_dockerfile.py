"""The Dockerfile, as far as it can be checked without a builder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
STEPS = [
    (line.split()[0], line.partition(" ")[2])
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
    if line
]


def test_what_it_copies_exists_and_reaches_the_builder() -> None:
    """Each source is in the repository and excepted from .dockerignore, which lists nothing else;
    together they are what a wheel is built of.
    """
    copied = [word for step, rest in STEPS if step == "COPY" for word in rest.split()[:-1]]
    for name in copied:
        assert (ROOT / name).exists(), name
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert sorted(copied) == sorted(line[1:] for line in ignored if line.startswith("!"))


def test_what_it_runs_exists() -> None:
    """The entry point is a command of the package, the extras are its own, and nothing after the
    change of user needs root.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    steps = dict(STEPS)
    assert json.loads(steps["ENTRYPOINT"]) == list(project["scripts"])
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", TEXT, re.MULTILINE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    names = [step for step, _ in STEPS]
    assert int(steps["USER"]) > 0  # not root
    assert "RUN" not in names[names.index("USER") :]


@pytest.mark.slow
def test_a_linter_finds_nothing() -> None:
    """hadolint, where it is installed."""
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        ["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
