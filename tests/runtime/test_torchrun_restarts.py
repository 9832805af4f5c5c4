"""Processes that lose one of them: torchrun's restarts, one that cannot read its file; and runs
that start together.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
PACKAGE = ["-m", "signs_lightning"]
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
SHORT = [
    "--data.val_fraction", "0.2", "--data.batch_size", "4", "--trainer.max_epochs", "4",
    "--checkpoint.every_n_steps", "2",
]  # fmt: skip

ENDS_ONE = """
import os, signal, sys
import lightning as L
from signs_lightning.__main__ import main


def end_one(self, outputs, batch, batch_idx):
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first and self.global_rank == 1 and (self.current_epoch, batch_idx) == (2, 3):
        os.kill(os.getpid(), signal.SIGKILL)


L.LightningModule.on_train_batch_end = end_one
sys.exit(main())
"""

OWN_FILE = """
import os, sys
from signs_lightning.__main__ import main

# The process whose file system lacks the file.
if os.environ.get("LOCAL_RANK", "0") == os.environ["OTHER"]:
    sys.argv = [arg.replace("train.h5", "missing.h5") for arg in sys.argv]
sys.exit(main())
"""

CUTS_FILE = """
import os, sys
import lightning as L
from signs_lightning import H5DataModule
from signs_lightning.__main__ import main


def cut(self, trainer, *rest):
    if trainer.current_epoch == 1:
        os.truncate("own.h5", 300_000)


if os.environ.get("LOCAL_RANK", "0") == os.environ["OTHER"]:
    import shutil

    shutil.copy("train.h5", "own.h5")
    sys.argv = [arg.replace("train.h5", "own.h5") for arg in sys.argv]
    L.Callback.on_train_epoch_start = cut
sys.exit(main())
"""


def start(command: list[object], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A process group of its own, so that whatever it leaves can be ended."""
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 600) -> tuple[int, str]:
    """Exit code and output; a process that hangs is ended, and fails the test."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still running after {seconds} seconds:\n{process.communicate()[0]}")
    return process.returncode, said


@pytest.mark.slow
def test_torchrun_restarts_after_a_kill(tmp_path: Path, small_signs) -> None:
    """SIGKILL for one of two in the third epoch: started again, they go on in the same folder to
    the same weights and history.
    """
    (tmp_path / "ends_one.py").write_text(ENDS_ONE)
    rest = ["fit", "--data.train_file", small_signs[0], *SHORT, *TWO]
    whole = start([*TORCHRUN, *PACKAGE, *rest, "--name", "whole"], tmp_path)
    code, said = finish(whole)
    assert code == 0, said
    killed = start(
        [*TORCHRUN, "--max-restarts", "2", "ends_one.py", *rest, "--name", "killed"], tmp_path
    )
    code, said = finish(killed)
    assert code == 0, said
    assert "exitcode: -9" in said
    assert "Restarted by torchrun: the run is resumed in" in said
    assert "The connection to another process of this run is lost" in said
    assert "gloo/transport" not in said
    runs = tmp_path / "lightning_logs"
    assert os.listdir(runs / "killed") == ["version_0"]
    one, two = (runs / name / "version_0" for name in ("killed", "whole"))
    assert (one / "history.csv").read_text() == (two / "history.csv").read_text()
    ours, theirs = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in (one, two)
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("launcher", ["torchrun", "Lightning"])
def test_a_process_that_cannot_read_its_file(
    tmp_path: Path, small_signs, launcher: str, rank: str
) -> None:
    """The whole run ends with that process's sentence; one that waited for the other would hang for
    half an hour.
    """
    (tmp_path / "train.h5").symlink_to(small_signs[0])
    (tmp_path / "own_file.py").write_text(OWN_FILE)
    rest = ["own_file.py", "fit", "--data.train_file", "train.h5", *SHORT, *TWO]
    code, said = finish(
        start(
            [*(TORCHRUN if launcher == "torchrun" else [sys.executable]), *rest],
            tmp_path,
            OTHER=rank,
        )
    )
    assert code != 0
    assert "No such file: missing.h5" in said
    assert "signs_lightning/" not in said  # no traceback of ours


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("launcher", ["torchrun", "Lightning"])
def test_a_process_that_loses_its_file(
    tmp_path: Path, small_signs, launcher: str, rank: str
) -> None:
    """Cut in the second epoch for one of two, which read it mapped: that process says so, and the
    other one doesn't wait for it.
    """
    (tmp_path / "train.h5").symlink_to(small_signs[0])
    (tmp_path / "cuts_file.py").write_text(CUTS_FILE)
    mapped = ["--data.train_file", "train.h5", "--data.reading", "mapped"]
    rest = ["cuts_file.py", "fit", *mapped, *SHORT, *TWO]
    code, said = finish(
        start(
            [*(TORCHRUN if launcher == "torchrun" else [sys.executable]), *rest],
            tmp_path,
            OTHER=rank,
        )
    )
    assert code != 0
    assert "own.h5 was changed or replaced while this run reads it" in said
    assert "signs_lightning/" not in said


@pytest.mark.slow
def test_runs_that_start_together(fork, tmp_path: Path, small_signs) -> None:
    """At the same moment in the same folder: each has a run folder of its own; resumed together,
    one of them is refused.
    """
    fit = ["fit", "--data.train_file", small_signs[0], *SHORT, "--trainer.accelerator", "cpu"]
    for done in [process.wait() for process in [fork(*fit) for _ in range(2)]]:
        assert done.code == 0, done
    runs = tmp_path / "lightning_logs/signs_functional"
    assert sorted(os.listdir(runs)) == ["version_0", "version_1"]
    assert (runs / "version_0/history.csv").read_text() == (
        runs / "version_1/history.csv"
    ).read_text()
    resume = ["fit", "--ckpt_path", runs / "version_0", "--trainer.max_epochs", 100_000]
    history = runs / "version_0/history.csv"
    before = len(history.read_text().splitlines())
    first = fork(*resume)
    while first.poll() is None and len(history.read_text().splitlines()) < before + 3:
        time.sleep(0.05)
    second = fork(*resume).wait()
    first.signal(signal.SIGTERM)
    assert first.wait().code == 143
    assert second.code == 2, second
    assert "is in use by another fit" in second.err
