"""Checkpoints are written while training goes on: whole, of the moment they were made, and not
without a word where that fails.
"""

import errno
import threading
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from signs_lightning import H5DataModule, SignsFunctional, Trainer
from signs_lightning.callbacks import checkpointing
from signs_lightning.callbacks.background_writer import BackgroundWriter
from signs_lightning.callbacks.direct_checkpoint_io import DirectCheckpointIO

SECONDS = 60  # after which a test has failed that would wait for ever


def test_the_next_job_waits_for_the_one_before():
    writer, go, order = BackgroundWriter(), threading.Event(), []

    def first():
        assert go.wait(SECONDS)
        order.append("first")

    writer.start(first)
    threading.Timer(0.1, go.set).start()
    writer.start(lambda: order.append("second"))
    writer.finish()
    assert order == ["first", "second"]


def test_what_a_job_raises_is_raised_once():
    writer = BackgroundWriter()
    writer.start(lambda: 1 / 0)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        writer.start(lambda: None)
    writer.start(lambda: None)
    writer.finish()
    writer.check()


class Watch(L.Callback):
    """Lets the checkpoint of the first epoch be written after a step of the second one only."""

    def __init__(self):
        self.went_on = threading.Event()
        self.weights = {}

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self.weights = {name: w.clone() for name, w in pl_module.state_dict().items()}

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.current_epoch == 1:
            self.went_on.set()


def test_a_checkpoint_holds_the_weights_of_its_epoch(tmp_path, small_signs, monkeypatch):
    """A step that is made before the file is there does not get into it."""
    watch, original = Watch(), checkpointing._sync
    written: list[dict[str, torch.Tensor]] = []

    def slow(path: Path) -> None:
        if not written:
            assert watch.went_on.wait(SECONDS), "training waited for the checkpoint"
        original(path)
        written.append(torch.load(path, weights_only=True)["state_dict"])

    monkeypatch.setattr(checkpointing, "_sync", slow)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[watch], default_root_dir=tmp_path,
        enable_progress_bar=False,
    )  # fmt: skip
    model = SignsFunctional()
    trainer.fit(model, H5DataModule(train_file=str(small_signs[0]), batch_size=16))
    assert written[0].keys() == watch.weights.keys()
    for name, weights in watch.weights.items():
        assert torch.equal(written[0][name], weights)
    assert not torch.equal(written[1]["network.fc.weight"], written[0]["network.fc.weight"])
    last = torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)["state_dict"]
    assert torch.equal(last["network.fc.weight"], model.state_dict()["network.fc.weight"])


def test_lightnings_own_thread(tmp_path, small_signs):
    """AsyncCheckpointIO would let a file be renamed that is not there yet, or not whole."""
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", plugins=[AsyncCheckpointIO()],
        default_root_dir=tmp_path, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(SignsFunctional(), H5DataModule(train_file=str(small_signs[0])))
    assert type(trainer.strategy.checkpoint_io) is DirectCheckpointIO
    assert torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)["epoch"] == 0


@pytest.mark.parametrize("epochs", [2, 4], ids=["in the last epoch", "before"])
def test_a_disk_that_is_full_behind_our_back(cli, small_signs, monkeypatch, epochs):
    """The thread fails in the second epoch: a sentence, no half file, and the first epoch's
    checkpoint resumes.
    """
    original, calls = checkpointing.write_bytes, []

    def full(content: memoryview, path: Path) -> None:
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(content[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        original(content, path)

    monkeypatch.setattr(checkpointing, "write_bytes", full)
    data = ("--data.train_file", small_signs[0])
    done = cli("fit", "--model", "SignsFunctional", *data, "--trainer.max_epochs", epochs)
    assert done.code == 2
    assert "There is no room left on the disk (No space left on device)." in done.err
    run = Path("lightning_logs/signs_functional/version_0")
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["last.ckpt"]
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    assert cli("fit", "--ckpt_path", run).code == 0
    assert len((run / "history.csv").read_text().splitlines()) == epochs + 1
