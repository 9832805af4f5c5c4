"""`.ci/run`: it works in a copy of its own, runs what the README says, and fails where a part of it
does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = """
<!-- .ci/run: train -->
```bash
mkdir -p .venv/bin && : > .venv/bin/activate && cat edited.txt && ls
```
<!-- .ci/run: test -->
```bash
test ! -e .venv/mine && echo "tests run" > result.txt
```
"""
STEPS = [
    "ruff check .",
    "ruff format --check .",
    "mypy",
    "python -m pytest -n 2 --dist loadfile -m slow",
]


@pytest.fixture(params=[pytest.param(True, id="a clone"), pytest.param(False, id="no repository")])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkout with an environment, an edited file, one that git does not know, and one that was
    deleted.
    """
    folder = tmp_path / "checkout"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", folder / ".ci/run")
    (folder / "README.md").write_text(README)
    for name in ("edited.txt", "deleted.txt"):
        (folder / name).write_text("before\n")
    if request.param:
        if shutil.which("git") is None:
            pytest.skip("git is not installed")
        git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
            subprocess.run([*git, *words], check=True)
        (folder / ".git/info/exclude").write_text(".venv/\n")
    (folder / "edited.txt").write_text("edited\n")
    (folder / "deleted.txt").unlink()
    (folder / "new.txt").touch()
    (folder / ".venv").mkdir()
    (folder / ".venv/mine").touch()
    return folder


def gate(checkout: Path, failing: str = "") -> tuple[int, str]:
    """Exit code and output of the gate, with programs in place of ruff, mypy and Python that say
    how they were called.
    """
    programs, scratch = checkout.parent / "bin", checkout.parent / "scratch"
    scratch.mkdir()
    programs.mkdir()
    for name in ("ruff", "mypy", "lint-imports", "python"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*"\n[ {name} != "{failing}" ]\n')
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(scratch)}
    if shutil.which("chromium") is None:  # which the gate would install
        (programs / "chromium").touch(0o755)
    done = subprocess.run(
        [str(checkout / ".ci/run")],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert list(scratch.iterdir()) == []
    return done.returncode, done.stdout


def test_it_works_in_a_copy(checkout: Path) -> None:
    """With the files as they lie here, and without the developer's environment, which stays; the
    four steps come in order.
    """
    before = sorted(checkout.rglob("*"))
    code, said = gate(checkout)
    assert code == 0, said
    lines = said.splitlines()
    assert "edited" in lines
    assert "new.txt" in lines
    assert "deleted.txt" not in lines
    assert [line.strip() for line in lines if line.strip() in STEPS] == STEPS
    assert sorted(checkout.rglob("*")) == before
    assert (checkout / ".venv/mine").exists()


@pytest.mark.parametrize(
    "failing", ["ruff", "mypy", "lint-imports", "python", "the README's command"]
)
def test_a_part_that_fails(checkout: Path, failing: str) -> None:
    if failing == "the README's command":
        (checkout / "README.md").write_text(README.replace("test ! -e", "test -e"))
    code, _ = gate(checkout, failing)
    assert code != 0
