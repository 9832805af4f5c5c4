"""Files of strangers, whose generators lie beside some checkouts: each behaves as its first lines
say.
"""

from __future__ import annotations

import csv
import os
import re
import runpy
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forks import Finished
from public_layouts import as_arguments
from references import SHARED

CASES = SHARED / "cases" / "data"
VERB = [sys.executable, "-m", "signs_lightning"]
NEXT = re.compile(r"next: python -m signs_lightning (fit .*)")
RUN = "lightning_logs/run/version_0"
# Some steps for a few dozen small images.
LEARN = ["--name", "run", "--data.batch_size", 8, "--model.lr", 0.01, "--trainer.max_epochs"]
Run = Callable[..., Finished]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason=f"no generators at hand: {CASES}"),
]


@pytest.fixture
def run(fork: Callable) -> Run:
    """Runs a command to its end, in a process of its own."""

    def run(*args: object, code: int = 0) -> Finished:
        result = fork(*args).wait()
        assert result.code == code, f"{args}\n{result.out}\n{result.err}"
        return result

    return run


def generate(name: str, folder: Path) -> None:
    """Write a generator's files into a folder."""
    path = CASES / f"{name}.py"
    before, sys.argv = sys.argv, [str(path), str(folder)]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = before


def check_inspect(run: Run, options: str) -> None:
    """Check that `inspect` of the files that a fit names prints this fit."""
    words = shlex.split(options)
    files = [v for k, v in zip(words[::2], words[1::2], strict=True) if k.endswith("file")]
    printed = NEXT.findall(run("inspect", *files).out)
    assert printed, files
    given = as_arguments(options).items()
    assert given <= as_arguments(printed[-1].removeprefix("fit ")).items()


def check_results(run: Run, *other: object) -> str:
    """Check that test, predict and report follow; return what `test` printed."""
    tested = run("test", "--ckpt_path", RUN, *other).out
    run("predict", "--ckpt_path", RUN, *other)
    run("report", RUN, *other)
    return tested


def best_val_accuracy() -> float:
    """The best validation accuracy of a run's history."""
    with Path(RUN, "history.csv").open() as file:
        return max(float(row["val_accuracy"]) for row in csv.DictReader(file))


def predictions() -> list[dict[str, str]]:
    with Path("predictions.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def accuracy() -> float:
    """The share of predictions that are their label."""
    rows = predictions()
    return sum(row["class"] == row["label"] for row in rows) / len(rows)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_food101(run: Run, tmp_path: Path) -> None:
    generate("food101", tmp_path)
    options = "--data.train_file food_c5_n60_r32x32x3.h5 --data.test_file "
    options += "food_test_c5_n30_r32x32x3.h5"
    check_inspect(run, options)
    run("fit", *options.split(), *LEARN, 2)
    check_results(run)
    assert "apple_pie" in Path(RUN, "report", "report.html").read_text(encoding="utf-8")


def test_galaxy10(run: Run, tmp_path: Path) -> None:
    generate("galaxy10", tmp_path)
    options = "--data.train_file Galaxy10_DECals.h5 --data.val_fraction 0.2"
    check_inspect(run, options)
    printed = run("fit", *options.split(), *LEARN, 2).out
    assert "images 'images', labels ans" in printed
    check_results(run, "--data.test_file", "Galaxy10_DECals.h5")


def test_grey_three_axes(run: Run, tmp_path: Path) -> None:
    generate("grey_three_axes", tmp_path)
    options = "--data.train_file mnist_train.h5 --data.test_file mnist_test.h5"
    check_inspect(run, options)
    run("fit", *options.split(), *LEARN, 60)
    check_results(run)
    assert accuracy() > 0.9


def real(*args: object, **environment: str) -> Finished:
    """Run a command as a shell starts it."""
    words = [str(arg) for arg in args]
    result = subprocess.run(
        [*VERB, *words], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return Finished(result.returncode, result.stdout, result.stderr)


def test_locked(tmp_path: Path) -> None:
    generate("locked", tmp_path)
    result = real("inspect", "train.h5", LD_PRELOAD=str(tmp_path / "nolock.so"))
    assert result.code == 0, result.out
    assert "60 of 32×32 pixels" in result.out
    assert "damaged" not in result.out + result.err
    with subprocess.Popen([sys.executable, "hold.py"]) as holder:
        try:
            deadline = time.monotonic() + 60
            while (result := real("fit", "--data.train_file", "train.h5", *LEARN, 1)).code == 0:
                assert time.monotonic() < deadline
        finally:
            holder.kill()
    assert result.code == 2, result.err
    assert "open for writing" in result.err
    assert "damaged" not in result.out + result.err


def test_one_based(run: Run, tmp_path: Path) -> None:
    generate("one_based", tmp_path)
    options = "--data.train_file train.h5 --data.test_file test.h5"
    check_inspect(run, options)
    printed = run("fit", *options.split(), *LEARN, 1).out
    (line,) = [line for line in printed.splitlines() if "--data.label_offset -1" in line]
    assert "label 0" in line
    run("fit", *options.split(), "--data.label_offset", -1, *LEARN, 20, "--name", "mended")
    run("predict", "--ckpt_path", "lightning_logs/mended/version_0")
    assert len([key for key in predictions()[0] if key.startswith("p(")]) == 3
    assert accuracy() > 0.9
    check_results(run)


def test_pcam(run: Run, tmp_path: Path) -> None:
    generate("pcam", tmp_path)
    stem = "camelyonpatch_level_2_split"
    names = {"train": "train", "val": "valid", "test": "test"}
    options = " ".join(f"--data.{k}_file {stem}_{name}_x.h5" for k, name in names.items())
    check_inspect(run, options)
    printed = run("fit", *options.split(), *LEARN, 20).out
    assert f"{stem}_train_y.h5" in printed
    assert best_val_accuracy() == 1
    check_results(run)
    expected = Path(RUN, "history.csv").read_text()
    labels = " ".join(f"--data.{k}_labels_file {stem}_{name}_y.h5" for k, name in names.items())
    again = [*LEARN, 20, "--name", "named"]
    run("fit", *options.split(), *labels.split(), *again)
    assert Path("lightning_logs/named/version_0/history.csv").read_text() == expected
    run("fit", "--data.train_file", "merged_train.h5", *LEARN, 1, "--name", "merged")


def test_plugin_filter(run: Run, tmp_path: Path) -> None:
    """Without the package: one beside the command that cannot be imported hides it."""
    pytest.importorskip("hdf5plugin")
    generate("plugin_filter", tmp_path)
    (tmp_path / "hidden").mkdir()
    missing = "raise ModuleNotFoundError('No module named hdf5plugin', name='hdf5plugin')\n"
    (tmp_path / "hidden" / "hdf5plugin.py").write_text(missing)
    result = real("inspect", "train.h5", PYTHONPATH=str(tmp_path / "hidden"))
    assert result.code == 1
    assert "hdf5plugin" in result.out
    assert "damaged" not in result.out
    check_inspect(run, "--data.train_file train.h5 --data.test_file test.h5")
    run("fit", "--data.train_file", "train.h5", "--data.test_file", "test.h5", *LEARN, 20)
    check_results(run)
    assert accuracy() > 0.9


def test_text_labels(run: Run, tmp_path: Path) -> None:
    generate("text_labels", tmp_path)
    options = "--data.train_file train.h5 --data.test_file test.h5"
    check_inspect(run, options)
    run("fit", *options.split(), *LEARN, 20)
    check_results(run)
    assert [key for key in predictions()[0] if key.startswith("p(")] == [
        "p(cat)", "p(dog)", "p(owl)",
    ]  # fmt: skip
    assert accuracy() > 0.9
    page = Path(RUN, "report", "report.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("cat", "dog", "owl"))


@pytest.mark.parametrize(
    "options", ["--data.file groups.h5", "--data.file usps.h5 --data.axes H,W"]
)
def test_usps(run: Run, tmp_path: Path, options: str) -> None:
    generate("usps", tmp_path)
    if "axes" in options:
        assert "--data.axes H,W" in run("inspect", "usps.h5", code=1).out
    else:
        check_inspect(run, options)
    run("fit", *options.split(), *LEARN, 60)
    check_results(run)
    assert accuracy() > 0.9
