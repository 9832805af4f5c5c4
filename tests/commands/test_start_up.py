"""What `fit` imports, in a process that has imported nothing yet; how a process ends."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from signs_lightning.__main__ import run

SCRIPT = """
import sys
from pathlib import Path
from signs_lightning.__main__ import main

def rooms():
    return {name.split(".")[1] for name in sys.modules if name.startswith("signs_lightning.")}

try:
    main(["fit", "--help_all"])
except SystemExit:
    pass
unwanted = rooms() & {"keras_io", "export", "report", "demo"}
assert not unwanted, unwanted
Path("model.yaml").write_text("class_path: FromKeras")
Path("fit.yaml").write_text("model: model.yaml")
for given in ["--config=fit.yaml"], ["--model", "FromKeras", "--model.path", "absent.h5"]:
    assert main(["fit", *given]) == 2
    assert "keras_io" in rooms()
"""


@pytest.mark.slow
def test_fit_imports_the_keras_bridge_only_where_it_is_named(tmp_path: Path) -> None:
    """The help names FromKeras without importing it; a configuration finds it by its bare name."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "FromKeras" in done.stdout
    assert done.stderr.splitlines() == [
        "FromKeras needs a Keras file. Name it: --model.path FILE.",
        f"No such file: absent.h5. It was looked for in {tmp_path}; check the path.",
    ]


def test_the_installed_command_is_the_module() -> None:
    """`signs-lightning` is `python -m signs_lightning`; the version is the package's."""
    path = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["signs-lightning"].partition(":")
    assert getattr(importlib.import_module(module), name) is run
    assert "version" in project["dynamic"]


def test_output_that_nothing_reads_to_its_end(tmp_path: Path) -> None:
    """As `| head` leaves it: no traceback, and the exit code that a shell gives other programs."""
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 4, 4, 3), np.uint8))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "signs_lightning", "convert", "a.npz", "--output", "a.h5"]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 141


OWN_MODEL = """
from torch import nn

written = open("left_open.txt", "w")
written.write("by the user's own code")

def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes))
"""


@pytest.mark.slow
def test_a_file_that_own_code_left_open_is_written(tmp_path: Path) -> None:
    """A process of the package's own ends at once; with a user's module it is taken apart first."""
    (tmp_path / "own.py").write_text(OWN_MODEL)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(4) % 2)
    for command in (
        "convert a.npz --output a.h5",
        "fit --model ImageClassifier --model.network own.net --data.train_file a.h5 "
        "--trainer.max_epochs 1",
    ):
        done = subprocess.run(
            [sys.executable, "-m", "signs_lightning", *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "left_open.txt").read_text() == "by the user's own code"


def test_what_a_process_ends_with(tmp_path: Path) -> None:
    """All that was printed is there, what packages registered is called, the code is the verb's."""
    script = (
        "import atexit, sys, threading, time\n"
        "from signs_lightning.runtime import quick_process\n"
        "quick_process.begin()\n"
        "atexit.register(print, 'registered')\n"
        "threading.Timer(0.2, print, ('thread',)).start()\n"
        "class Late:\n"
        "    def __del__(self): print('taken apart')\n"
        "late = Late()\n"
        "{end}"
    )
    quick = _run(script.format(end="quick_process.leave(3)"))
    assert quick == (3, "thread\nregistered\n")
    failed = _run(script.format(end="raise SystemExit(4)"))
    assert failed == (4, "thread\nregistered\ntaken apart\n")


def _run(script: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return done.returncode, done.stdout
