"""Runs of the fuzzer over damaged files and texts of ten kinds, each of which works or is refused
in a sentence; and what once was neither.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fuzz.mutations import mutate

CORPUS = Path(__file__).with_name("corpus")
MAX_CORPUS_BYTES = 500_000
ROOT = Path(__file__).resolve().parents[2]
KINDS = {"data", "keras", "checkpoint", "image", "onnx", "resume", "architecture"}
KINDS |= {"config", "command", "notebook"}
HEAVY = pytest.mark.slow
SLOW = {"command", "keras"}
WORDS = {  # what is done with kept files that are no texts
    "keras": ["import-keras", "FILE", "--output", "out/model.ckpt"],
    "architecture": ["import-keras", "FILE", "--output", "out/model.ckpt"],
    "checkpoint": ["predict", "FILE", "one.png"],
}


@pytest.mark.parametrize(
    ("count", "seed"),
    [pytest.param(400, 1, marks=pytest.mark.slow), pytest.param(20_000, 1, marks=pytest.mark.long)],
)
def test_damaged_files(tmp_path: Path, count: int, seed: int) -> None:
    """No input crashes, hangs, ends in a traceback or leaves a file; those of HDF5 that do are a
    sentence in the guarded verbs.
    """
    pytest.importorskip("onnxscript")
    options = ["--cases", str(count), "--seed", str(seed), "--keep", str(tmp_path / "bad")]
    result = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", *options], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    table = {
        line.split()[0]: list(map(int, line.replace(",", "").split()[1:]))
        for line in result.stdout.splitlines()[-10:]
    }
    assert set(table) == KINDS
    for row in table.values():  # a crash that was survived is another column
        assert sum(row) >= count // 10 - 1
    # damage that nobody notices, or that always is, would test nothing
    assert min(sum(row[k] for row in table.values()) for k in (0, 1)) >= count // 5


@pytest.mark.parametrize(("kind", "count"), [("command", 12), ("config", 5), ("notebook", 5)])
def test_damaged_texts(
    kind: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few of those in this process."""
    from fuzz import text_calls, texts
    from signs_lightning.errors import InputError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    seed = tmp_path / "seed"
    seed.write_text(texts.CONFIG)
    path, found = tmp_path / "out" / "input.yaml", []
    if kind == "notebook":
        path = path.with_suffix(".ipynb")
    for number in range(count):
        path.write_bytes(mutate(kind, seed, random.Random(f"default {kind} {number}")))
        try:
            getattr(text_calls, kind)(path, tmp_path / "out")
            found.append("worked")
        except InputError:
            found.append("refused")
    assert len(found) == count


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(path, id=path.name, marks=HEAVY if path.parent.name in SLOW else [])
        for path in sorted(CORPUS.glob("*/*"))
    ],
)
def test_what_once_failed(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Any
) -> None:
    """An input that led to a traceback, or to worse, is refused in a sentence now, or works."""
    from fuzz import calls, text_calls
    from signs_lightning.errors import InputError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    if words := WORDS.get(case.parent.name):
        Image.new("RGB", (8, 8)).save("one.png")
        done = cli(*(str(case) if word == "FILE" else word for word in words))
        assert done.code in (0, 2, 3), done.err
        assert "Traceback" not in done.err
        return
    with contextlib.suppress(InputError):
        kind = case.parent.name
        (getattr(text_calls, kind, None) or getattr(calls, kind))(case, tmp_path / "out")


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert 0 < sum(sizes) < MAX_CORPUS_BYTES
