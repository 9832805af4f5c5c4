"""The wheel holds the whole package and its configurations, and runs where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import signs_lightning
from signs_lightning.data.hdf5_filters import describe_library

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("signs_lightning", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")
BUILD = "from setuptools import build_meta; build_meta.build_wheel('out')"

pytestmark = pytest.mark.slow


def files(folder: Path) -> set[str]:
    """Every file below a folder, but those that Python leaves there itself."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by setuptools in a copy of the tree, for it leaves things there."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("tree")
    for part in PARTS:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, copy / part)
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = (copy / "out").glob("*.whl")
    return built


def test_the_wheel_holds_the_tree(wheel: Path) -> None:
    """No file of the package or of the configurations is left out, also of a new package; and
    nothing else is in it.
    """
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {f"signs_lightning/{name}" for name in files(ROOT / "signs_lightning")}
    assert found == package | {
        f"signs_lightning/configs/{name}" for name in files(ROOT / "configs")
    }


def test_quickstart_from_the_wheel(wheel: Path, tmp_path: Path, drawn_cache: Path) -> None:
    """The README's command, shortened to two epochs, with nothing of the checkout at hand."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (tmp_path / "elsewhere").mkdir()
    where = "import signs_lightning; print(signs_lightning.__file__)"
    fit = [
        "-m", "signs_lightning", "fit", "--config", "configs/quickstart.yaml",
        "--trainer.max_epochs", "2",
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path / "installed"),
        "SIGNS_LIGHTNING_CACHE": str(drawn_cache),
    }
    for words in (["-c", where], [*fit, "--trainer.accelerator", "cpu"]):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path / "elsewhere",
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        if words[1] == where:
            assert Path(done.stdout.strip()).parent == tmp_path / "installed" / "signs_lightning"
    assert done.stdout.startswith(
        "Training on 1,080 drawn hands (64×64×3, 6 classes), because no file is named "
        "(data.drawn is DrawnSigns).\n"
    )
    run = tmp_path / "elsewhere/lightning_logs/quickstart/version_0"
    assert (run / "checkpoints/last.ckpt").is_file()


def test_the_installed_command(wheel: Path, tmp_path: Path) -> None:
    """`signs-lightning`, as pip makes it, with the options and configurations of the wheel."""
    target = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    environment = os.environ | {"PYTHONPATH": str(target)}
    lines = {
        "--version": f"signs_lightning {signs_lightning.__version__}\n{describe_library()}",
        "fit --config quickstart": "No such file: quickstart. Write --config "
        "configs/quickstart.yaml",
        "fit --data.batch_sise 3": "Unknown option '--data.batch_sise'. Did you mean "
        "--data.batch_size 3?",
    }
    for line, printed in lines.items():
        done = subprocess.run(
            [sys.executable, str(target / "bin/signs-lightning"), *line.split()],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (done.stdout + done.stderr).strip() == printed
