"""Defaults of a model of one's own on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

MODEL = """
from signs_lightning import SignsFunctional


class Rate(SignsFunctional):
    def __init__(self, lr: float | None = 0.02, **kwargs):
        super().__init__(lr=lr, **kwargs)
"""


@pytest.fixture
def own(tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module in the working directory, which is not imported yet."""
    name = f"own_{tmp_path.name}"
    Path(f"{name}.py").write_text(MODEL)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


def test_defaults_of_a_class_of_one_s_own(cli: Callable, own: str) -> None:
    """They are its own, and not those of the model that is trained where none is named."""
    Path("own.yaml").write_text(f"model: {own}.Rate\n")
    Path("rate.yaml").write_text("model: {init_args: {lr: 0.3}}\n")
    for options, rate in {
        f"--model {own}.Rate": 0.02,
        "--config own.yaml": 0.02,
        "-cown.yaml": 0.02,
        f"--model.lr 0.5 --model {own}.Rate": 0.5,
        f"--config rate.yaml --model {own}.Rate": 0.3,
        "--config rate.yaml": 0.3,
        "": None,
    }.items():
        done = cli("fit", *options.split(), "--data.train_file", "x.h5", "--print_config")
        assert done.code == 0, done.err
        assert yaml.safe_load(done.out)["model"]["init_args"]["lr"] == rate, options
