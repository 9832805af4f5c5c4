"""An interrupted run that is resumed ends as one that was never interrupted, to the last bit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import lightning as L
import pytest
import torch

from signs_lightning import H5DataModule, SignsFunctional
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.errors import InputError
from signs_lightning.models.keras_run import find_epoch
from signs_lightning.models.resume import check_resume_compatibility
from signs_lightning.models.start_options import StartOptions


def same_weights(first: Path, second: Path) -> bool:
    one, two = (torch.load(path, weights_only=True)["state_dict"] for path in (first, second))
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
def test_ctrl_c_and_resume(cli, fork, tmp_path, small_signs):
    """SIGINT in the middle of a run in its own process; `fit --ckpt_path FOLDER` in this one ends
    with the same weights and history.
    """
    settings = [
        "--data.train_file", small_signs[0], "--data.test_file", small_signs[1],
        "--data.val_fraction", "0.2",
    ]  # fmt: skip
    fit = ["fit", "--trainer.max_epochs", "40", "--trainer.accelerator", "cpu", *settings]
    assert cli(*fit).code == 0
    whole = tmp_path / "lightning_logs/signs_functional/version_0"
    history = tmp_path / "lightning_logs/signs_functional/version_1/history.csv"
    process = fork(*fit)
    while process.poll() is None and not (
        history.exists() and len(history.read_text().splitlines()) > 5
    ):
        time.sleep(0.01)
    process.signal(signal.SIGINT)
    done = process.wait()
    assert done.code == 130
    sentence = "Interrupted. Resume with: python -m signs_lightning fit --ckpt_path"
    assert sentence in done.out + done.err
    assert "Traceback" not in done.out + done.err
    assert 5 < len(history.read_text().splitlines()) < 41
    assert cli("fit", "--ckpt_path", history.parent).code == 0
    assert history.read_text() == (whole / "history.csv").read_text()
    assert same_weights(history.parent / "checkpoints/last.ckpt", whole / "checkpoints/last.ckpt")
    assert same_weights(history.parent / "checkpoints/best.ckpt", whole / "checkpoints/best.ckpt")
    assert sorted(os.listdir(history.parent / "checkpoints")) == ["best.ckpt", "last.ckpt"]


class KilledError(Exception):
    """Stands for a process that ends without a word."""


class Kill(L.Callback):
    """Ends the run after an optimizer step, or when validation begins after it."""

    def __init__(self, step: int, in_validation: bool) -> None:
        self.step, self.in_validation = step, in_validation

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step and not self.in_validation:
            raise KilledError

    def on_validation_start(self, trainer, *args):
        if trainer.global_step == self.step and self.in_validation:
            raise KilledError


def train(
    folder: Path, files, kill: Kill | None = None, resume: bool = False, workers: int = 0
) -> SignsFunctional:
    """Three epochs of eight steps with a schedule by step and a checkpoint every two steps."""
    L.seed_everything(3)
    data = H5DataModule(
        str(files[0]), val_fraction=0.2, batch_size=6, num_workers=workers, reading="mapped"
    )
    model = SignsFunctional(
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 24),
        lr_interval="step",
    )
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[RunCheckpoint(every_n_steps=2), *([kill] if kill else [])],
    )
    try:
        trainer.fit(
            model,
            data,
            ckpt_path=folder / "checkpoints/last.ckpt" if resume else None,
            weights_only=True,
        )
    except KilledError:
        assert kill is not None
    return model


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, small_signs):
    """The model of a run that nobody stopped."""
    return train(tmp_path_factory.mktemp("whole"), small_signs)


@pytest.mark.parametrize(
    ("step", "in_validation", "workers"),
    [
        (1, False, 0), (5, False, 0), (5, False, 2), (8, True, 0), (9, False, 0), (16, True, 0),
        (19, False, 2), (24, True, 0),
    ],
)  # fmt: skip
def test_stopped_inside_an_epoch(
    tmp_path, small_signs, uninterrupted, step, in_validation, workers
):
    """KilledError at a step or in validation and resumed: same weights, same history, running means
    included.
    """
    train(tmp_path, small_signs, kill=Kill(step, in_validation), workers=workers)
    resume = (tmp_path / "checkpoints/last.ckpt").exists()
    model = train(tmp_path, small_signs, resume=resume, workers=workers)
    assert model.history == uninterrupted.history
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.parameters(), uninterrupted.parameters(), strict=True)
    )


def test_what_a_checkpoint_tells_is_printable():
    """A checkpoint may say anything of why its training cannot go on, and of its optimizer."""
    now = dict.fromkeys(("optimizer", "lr_scheduler", "schedule", "warmup", "schedule_steps"))
    for refuse in (
        lambda text: find_epoch({"problem": text}, StartOptions(), L.LightningModule(), 1, 1),
        lambda text: check_resume_compatibility(now | {"optimizer": text}, now),
    ):
        with pytest.raises(InputError) as refusal:
            refuse("\x1b[2Jmine\n")
        assert str(refusal.value).isprintable()
        assert "mine" in str(refusal.value)
