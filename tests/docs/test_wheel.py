"""The source distribution is the repository; the wheel that is built of it holds the whole package
and its configurations, and runs where there is no checkout.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import signs_lightning
from signs_lightning.data.hdf5_filters import describe_library

ROOT = Path(__file__).resolve().parents[2]
BUILD_SDIST = "from setuptools import build_meta; build_meta.build_sdist('out')"
BUILD_WHEEL = "from setuptools import build_meta; build_meta.build_wheel('../../out')"
# "warning:", "_Warning:" or "WARNING", as setuptools spells it; no part of a name such as
# warning_filters.py.
WARNING = re.compile(r"(?i)warning\b|\bdeprecated\b|\bis absent\b")

pytestmark = pytest.mark.slow


def files(folder: Path) -> set[str]:
    """Every file below a folder, but those that Python leaves there itself."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def repository() -> list[str]:
    """The files that git knows, and new ones; a source distribution has no repository."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no repository")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0")[:-1] if (ROOT / name).is_file()]


@dataclass(frozen=True)
class Built:
    """What a build left, and what it printed."""

    sdist: Path
    wheel: Path
    printed: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """As `python -m build` does it, with the setuptools that is installed: a source distribution of
    a copy of the tree, and a wheel of that.
    """
    pytest.importorskip("setuptools", minversion="77")
    tree = tmp_path_factory.mktemp("tree")
    for name in repository():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    printed = build(BUILD_SDIST, tree)
    (sdist,) = (tree / "out").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tree / "unpacked", filter="data")
    (unpacked,) = (tree / "unpacked").iterdir()
    printed += build(BUILD_WHEEL, unpacked)
    (wheel,) = (tree / "out").glob("*.whl")
    return Built(sdist, wheel, printed)


def build(program: str, folder: Path) -> str:
    """Run a build in a folder; return all that it printed."""
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(built: Built) -> Path:
    return built.wheel


def test_the_build_prints_no_warning(built: Built) -> None:
    """Neither for the source distribution nor for the wheel."""
    lines = [line for line in built.printed.splitlines() if WARNING.search(line)]
    assert lines == []


def test_the_source_distribution_is_the_repository(built: Built) -> None:
    """All that tests need is in it, and nothing else but what setuptools adds; it is small."""
    with tarfile.open(built.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    added = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    assert names - added == set(repository())
    assert built.sdist.stat().st_size < 10_000_000


def test_the_readme_on_an_index(built: Built) -> None:
    """An index has no files beside it: pictures are left out, links lead to addresses alone, and
    headings and code are the README's.
    """
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = str(metadata.get_payload())
    readme = (ROOT / "README.md").read_text()
    assert set(re.findall(r"\]\(([^)]*)\)", text)) == {
        target for target in re.findall(r"\]\(([^)]*)\)", readme) if target.startswith("http")
    }
    assert "![" not in text
    assert "<!--" not in text
    assert re.findall("^#.*$", text, re.MULTILINE) == re.findall("^#.*$", readme, re.MULTILINE)
    assert text.count("```") == readme.count("```")
    assert "[" not in re.sub(r"(?s)```.*?```|`[^`]*`|\[[^]]*\]\(http[^)]*\)", "", text)


@pytest.mark.parametrize(
    "command",
    ["twine check --strict {wheel} {sdist}", "check-wheel-contents {wheel}"],
    ids=lambda command: command.split()[0],
)
def test_what_an_index_checks(built: Built, command: str) -> None:
    """With the tools of the extra `release`, where they are installed."""
    words = command.format(wheel=built.wheel, sdist=built.sdist).split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


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
