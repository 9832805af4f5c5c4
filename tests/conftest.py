"""What all tests share: small drawn data, the command line in this process, and what Keras on TensorFlow made of its pictures."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"  # an independent implementation; read when keras is first imported
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of processes that tests start: two tests at a time fill two cores

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from references import SHARED, SIGNS, SMILES, Reference, reference_of

torch.set_num_threads(1)  # small batches gain nothing from more, and on a busy machine more are many times slower


@pytest.fixture(params=[*SIGNS, *SMILES])
def reference(request: pytest.FixtureRequest) -> Reference:
    """A model that Keras on TensorFlow trained, with its pictures: drawn ones; in slow tests photographs, where these are at hand."""
    return reference_of(request.param)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Photographs and more, which lie beside the checkout where there are any; for slow tests, since few have them."""
    if not (SHARED / "datasets").is_dir():
        pytest.skip(f"no photographs at hand: {SHARED}")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def drawn_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn data of the tests stay out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SIGNS_LIGHTNING_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def small_signs(drawn_cache: Path) -> tuple[Path, Path]:
    """60 training and 12 test images of drawn hands, six classes."""
    from signs_lightning import DrawnSigns

    return DrawnSigns(train_size=60, test_size=12).files(drawn_cache)


@pytest.fixture(scope="session")
def small_smiles(drawn_cache: Path) -> tuple[Path, Path]:
    """40 training and 12 test images of drawn faces, two classes."""
    from signs_lightning import DrawnSmiles

    return DrawnSmiles(train_size=40, test_size=12).files(drawn_cache)


@dataclass(frozen=True)
class Finished:
    """What a command came to: exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Callable[..., Finished]:
    """Runs `python -m signs_lightning ARGS` in this process, in an empty folder."""
    from signs_lightning.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*args: object) -> Finished:
        capfd.readouterr()
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        return Finished(code, *capfd.readouterr())

    return run
