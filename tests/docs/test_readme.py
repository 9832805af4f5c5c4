"""What the README names exists, and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from signs_lightning.__main__ import VERBS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_commands_name_verbs_and_configs_that_exist():
    """Every verb, configuration, picture, page and script that it names exists."""
    for verb in re.findall(r"python -m signs_lightning (\w[\w-]*)", README):
        assert verb in VERBS
    for path in re.findall(r"(?:configs|scripts|docs)/[\w/.]+\.(?:yaml|sh|py|png|md)", README):
        if "NAME" not in path:
            assert (ROOT / path).is_file(), path


def test_speeds_are_those_of_the_tables():
    """Each figure of how much faster it is stands in docs/benchmarks.md, which a script writes."""
    sentence = re.search(r"\*\*Faster\.\*\*.*?:\s`", README, re.DOTALL)
    assert sentence
    figures = re.findall(r"\d\.\d\d", sentence[0])
    assert len(figures) == 4
    tables = (ROOT / "docs/benchmarks.md").read_text()
    for figure in figures:
        assert f"{figure}×" in tables


@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
def test_notebook_code_runs(tmp_path, monkeypatch, small_signs):
    """The Python block of the README, on small files under the names it uses."""
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    for name, path in zip(("train_signs.h5", "test_signs.h5"), small_signs, strict=True):
        Path(name).symlink_to(path)
    with h5py.File("test_signs.h5") as file:
        images = file["test_set_x"][()]
    names: dict[str, Any] = {"images": images}
    exec(code.replace("max_epochs=100", "max_epochs=2, accelerator='cpu'"), names)
    assert [row["epoch"] for row in names["model"].history] == [0, 1]
    assert np.allclose(names["model"].predict(images).sum(1), 1, atol=1e-6)
    assert str(names["model"].evaluation).startswith("accuracy ")
