"""What all tests share: small drawn data, the command line in this process, and what Keras on
TensorFlow made of its pictures.
"""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys

# An independent implementation; read when keras is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What is compared to the last bit is promised on the CPU, and a GPU's state survives no fork:
# only tests/gpu sees one, where it is named.
os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("SIGNS_LIGHTNING_TEST_GPU", "")
# Also of processes that tests start: two tests at a time fill two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from references import SHARED, SIGNS, SMILES, Reference, reference_of
from torch.torch_version import TorchVersion

from signs_lightning.export.artefacts import MIN_TORCH

if TYPE_CHECKING:
    from forks import Finished, Fork

# Small batches gain nothing from more, and on a busy machine more are many times slower.
torch.set_num_threads(1)
# The first backward pass counts devices, those that an exporter pretends among them, and with one
# of them no fork can train.
torch.ones((), requires_grad=True).backward()
# In a script's background, where the processes that tests start would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=[*SIGNS, *SMILES])
def reference(request: pytest.FixtureRequest) -> Reference:
    """A model that Keras on TensorFlow trained, with its pictures: drawn ones; in slow tests
    photographs, where these are at hand.
    """
    return reference_of(request.param)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Photographs and more, which lie beside the checkout where there are any; for slow tests,
    since few have them.
    """
    if not (SHARED / "datasets").is_dir():
        pytest.skip(f"no photographs at hand: {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def forget_own_modules() -> Iterator[None]:
    """A folder that a test's configuration made importable, and its modules, are not another's."""
    before = list(sys.path)
    yield
    if added := tuple(f"{folder}{os.sep}" for folder in sys.path if folder not in before):
        sys.path[:] = before
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(added):
                del sys.modules[name]


@pytest.fixture(scope="session", autouse=True)
def drawn_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn data of the tests stay out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SIGNS_LIGHTNING_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_keras_process() -> Iterator[None]:
    """What is written for Keras is not checked in a process of its own, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signs_lightning.keras_io.keras_check.find_keras", lambda: None)
        yield


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


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> Callable[..., Finished]:
    """Runs `python -m signs_lightning ARGS` in this process, in an empty folder."""
    from forks import Finished

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


@pytest.fixture
def fork(tmp_path: Path) -> Iterator[Callable[..., Fork]]:
    """Starts `python -m signs_lightning ARGS` in an empty folder, as a process of its own; one that
    is left over is killed.
    """
    from forks import Fork

    started: list[Fork] = []

    def start(*args: object, folder: Path = tmp_path, **environment: str) -> Fork:
        environment.setdefault("COLUMNS", "120")
        started.append(Fork(args, folder, environment=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def guarded_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are read in a process of its own are read in a fork of this one, which is there at
    once.
    """
    from forks import GuardedFork

    known = {name: getattr(subprocess, name) for name in ("PIPE", "DEVNULL", "TimeoutExpired")}
    monkeypatch.setattr(
        "signs_lightning.runtime.sandbox.subprocess", SimpleNamespace(Popen=GuardedFork, **known)
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With a PyTorch that the extra `onnx` does not admit, tests that mention its files, or whose
    fixtures do, are left out.
    """
    if TorchVersion(torch.__version__) >= MIN_TORCH:
        return
    for item in items:
        if isinstance(item, pytest.Function):
            fixtures = [
                one.func for found in item._fixtureinfo.name2fixturedefs.values() for one in found
            ]
            text = item.nodeid + "".join(map(inspect.getsource, [item.function, *fixtures]))
            if "onnx" in text.lower() or "artefact" in text:
                item.add_marker(pytest.mark.skip(reason=f"ONNX files need PyTorch {MIN_TORCH}"))
