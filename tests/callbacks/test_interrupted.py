"""What ends a run early: signals, a lost loss, a full disk, another run in the same folder; and
that nothing is lost by it.
"""

from __future__ import annotations

import errno
import math
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from signs_lightning import H5DataModule, SignsFunctional
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.errors import InputError
from signs_lightning.models.packed_history import unpack_history

FIT = ["fit", "--trainer.accelerator", "cpu"]


class KilledError(Exception):
    """Stands for a process that ends without a word."""


class KillAfterEpoch(L.Callback):
    """Ends the run as soon as an epoch's checkpoint is written, before anything else that comes at
    its end.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            raise KilledError

    def on_train_end(self, trainer, pl_module):
        raise KilledError


class Noisy(SignsFunctional):
    """With random numbers in the network, whose draws a resumed run must repeat."""

    final_lr: float

    def build(self) -> nn.Module:
        return nn.Sequential(super().build(), nn.Dropout(0.2))


def train(
    folder: Path,
    files,
    *callbacks: L.Callback,
    resume: bool = False,
    batch_size: int = 16,
    accumulate: int = 1,
    validate_every: int = 1,
    **options,
) -> Noisy:
    L.seed_everything(3)
    data = H5DataModule(str(files[0]), val_fraction=0.2, batch_size=batch_size)
    model = Noisy(**options)
    trainer = L.Trainer(
        max_epochs=8,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[RunCheckpoint(every_n_steps=2), *callbacks],
        accumulate_grad_batches=accumulate,
        check_val_every_n_epoch=validate_every,
    )
    try:
        path = folder / "checkpoints/last.ckpt" if resume else None
        trainer.fit(model, data, ckpt_path=path, weights_only=True)
    except KilledError:
        pass
    model.final_lr = trainer.optimizers[0].param_groups[0]["lr"]
    return model


def same_parameters(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(*pair) for pair in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize(
    "epoch", [3, *(pytest.param(epoch, marks=pytest.mark.slow) for epoch in (1, 5, 7))]
)
def test_a_scheduler_that_watches_the_loss_misses_no_step(
    tmp_path: Path, small_signs, epoch: int
) -> None:
    """ReduceLROnPlateau that cuts the rate almost every epoch: stopped right after an epoch's
    checkpoint, the run ends the same.
    """

    def plateau(optimizer):
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.02)

    whole = train(tmp_path / "whole", small_signs, lr_scheduler=plateau)
    assert whole.final_lr < 1e-3 / 2
    train(tmp_path / "part", small_signs, KillAfterEpoch(epoch), lr_scheduler=plateau)
    resumed = train(tmp_path / "part", small_signs, resume=True, lr_scheduler=plateau)
    assert resumed.history == whole.history
    assert resumed.final_lr == whole.final_lr
    assert same_parameters(resumed, whole)


class KillAtBatch(L.Callback):
    """Ends the run after a batch of the third epoch, or asks it to end as SIGTERM does."""

    def __init__(self, batch: int, ask: bool) -> None:
        self.batch, self.ask = batch, ask

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.ask and (trainer.current_epoch, batch_idx) == (2, self.batch):
            trainer._signal_connector.received_sigterm = True

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (2, self.batch):
            raise KilledError


@pytest.mark.parametrize("ask", [False, True])
@pytest.mark.parametrize(
    "batch", [4, *(pytest.param(batch, marks=pytest.mark.slow) for batch in (0, 1, 2, 3))]
)
def test_gradients_that_wait_for_their_step(
    tmp_path: Path, small_signs, batch: int, ask: bool
) -> None:
    """Gradients of three batches make a step: a run that ends between its batches goes on from
    before them, and ends the same.
    """
    settings: dict[str, Any] = {"accumulate": 3, "batch_size": 8}
    whole = train(tmp_path / "whole", small_signs, **settings)
    train(tmp_path / "part", small_signs, KillAtBatch(batch, ask), **settings)
    resumed = train(tmp_path / "part", small_signs, resume=True, **settings)
    assert resumed.history == whole.history
    assert same_parameters(resumed, whole)


def test_a_plateau_scheduler_where_not_every_epoch_is_validated(
    tmp_path: Path, small_signs, monkeypatch
) -> None:
    """It watches the validation loss, and where there is none, nothing: training losses are no
    match for it.
    """
    seen = []
    original = ReduceLROnPlateau.step

    def step(self, figure, *rest):
        seen.append(figure)
        original(self, figure, *rest)

    monkeypatch.setattr(ReduceLROnPlateau, "step", step)
    model = train(
        tmp_path,
        small_signs,
        validate_every=2,
        lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer),
    )
    assert seen == [row["val_loss"] for row in model.history if "val_loss" in row]
    assert len(seen) == 4


def test_a_plateau_scheduler_without_validation(tmp_path: Path, small_signs) -> None:
    """It watches the training loss, by the command line, too."""
    data = H5DataModule(str(small_signs[0]), batch_size=30)
    model = SignsFunctional(
        lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, patience=0, threshold=10)
    )
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, data)
    lr = trainer.optimizers[0].param_groups[0]["lr"]
    assert lr == pytest.approx(1e-6)  # no epoch is better by such a threshold


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path, small_signs) -> None:
    """Killed between its last checkpoint and its end: the resumed run trains no further epoch."""
    stopper = partial(EarlyStopping, "val_loss", patience=1, min_delta=10.0)  # none is better by 10
    whole = train(tmp_path / "whole", small_signs, stopper())
    assert len(whole.history) == 2
    train(tmp_path / "part", small_signs, stopper(), KillAfterEpoch(99))
    resumed = train(tmp_path / "part", small_signs, stopper(), resume=True)
    assert resumed.history == whole.history
    assert same_parameters(resumed, whole)


def test_a_run_that_stopped_early_goes_on_with_more_patience(tmp_path: Path, small_signs) -> None:
    """The patience given for the resumed run counts, not the one in its checkpoint."""
    stopper = partial(EarlyStopping, "val_loss", min_delta=10.0)
    assert len(train(tmp_path, small_signs, stopper(patience=1)).history) == 2
    assert len(train(tmp_path, small_signs, stopper(patience=3), resume=True).history) == 4


def test_a_rate_that_is_not_given_anew_stays(tmp_path: Path, small_signs) -> None:
    """A notebook that makes its model without the rate of the run that goes on, as one whose rate
    was found does: the run's own stays.
    """
    train(tmp_path, small_signs, KillAfterEpoch(3), lr=0.004)
    assert train(tmp_path, small_signs, resume=True).final_lr == 0.004
    assert train(tmp_path / "other", small_signs, KillAfterEpoch(3)).final_lr == 0.001
    assert train(tmp_path / "other", small_signs, resume=True, lr=0.002).final_lr == 0.002


@pytest.mark.slow
def test_sigterm_ends_cleanly_and_resumes(
    cli: Callable, fork: Callable, tmp_path: Path, small_signs
) -> None:
    """A scheduler's warning: exit code 143, a sentence, a checkpoint of this very step; resumed,
    the run ends as if nothing had been.
    """
    settings = [
        "--data.train_file", str(small_signs[0]), "--data.val_fraction", "0.2",
        "--trainer.max_epochs", "40",
    ]  # fmt: skip
    assert cli(*FIT, *settings).code == 0
    runs = tmp_path / "lightning_logs/signs_functional"
    history = runs / "version_1/history.csv"
    process = fork(*FIT, *settings)
    while process.poll() is None and not (
        history.exists() and len(history.read_text().splitlines()) > 5
    ):
        time.sleep(0.01)
    process.signal(signal.SIGTERM)
    done = process.wait()
    said = done.out + done.err
    assert done.code == 143, said
    assert "Asked to end (SIGTERM). Resume with: python -m signs_lightning fit --ckpt_path" in said
    assert "Traceback" not in said
    assert len(history.read_text().splitlines()) < 41
    assert cli(*FIT, "--ckpt_path", runs / "version_1").code == 0
    assert history.read_text() == (runs / "version_0/history.csv").read_text()
    ours, theirs = (
        torch.load(runs / name / "checkpoints/last.ckpt", weights_only=True)
        for name in ("version_1", "version_0")
    )
    assert all(
        torch.equal(ours["state_dict"][key], value) for key, value in theirs["state_dict"].items()
    )
    for one, two in zip(ours["optimizer_states"], theirs["optimizer_states"], strict=True):
        for key, state in two["state"].items():
            assert all(torch.equal(one["state"][key][name], value) for name, value in state.items())


@pytest.mark.parametrize("every_n_steps", [None, 1])
def test_a_loss_that_is_lost(cli: Callable, small_signs, every_n_steps: int | None) -> None:
    """A learning rate that blows the weights up in the second run: a sentence with the step; the
    good checkpoint stays.
    """
    data = [
        "--data.train_file", small_signs[0], "--data.val_fraction", "0.2",
        "--data.batch_size", "12",
    ]  # fmt: skip
    steps = [] if every_n_steps is None else ["--checkpoint.every_n_steps", every_n_steps]
    finished = cli("fit", "--model", "SignsFunctional", "--trainer.max_epochs", "1", *data, *steps)
    assert finished.code == 0, finished.err
    run = Path("lightning_logs/signs_functional/version_0")
    before = {
        name: (run / "checkpoints" / name).read_bytes() for name in ("last.ckpt", "best.ckpt")
    }
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", "5", "--model.lr", "1e38")
    assert done.code == 2
    assert "The loss is not a finite number any more since step " in done.err
    assert "(epoch 2, learning rate 1e+38). Lower `--model.lr`" in done.err
    assert "The last checkpoint is untouched." in done.err
    assert before["best.ckpt"] == (run / "checkpoints/best.ckpt").read_bytes()
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in last["state_dict"].values())
    assert len((run / "history.csv").read_text().splitlines()) == 2
    assert math.isfinite(unpack_history(last["signs_lightning"]["history"])[-1]["loss"])


def test_a_lost_loss_in_the_first_epoch(cli: Callable, small_signs) -> None:
    """There is no checkpoint to speak of then."""
    done = cli(
        "fit", "--model", "SignsFunctional", "--data.train_file", small_signs[0],
        "--model.lr", "1e38", "--data.batch_size", 8,
    )  # fmt: skip
    assert done.code == 2
    assert "since step 2 (epoch 1" in done.err
    assert "No checkpoint was written." in done.err


def test_a_full_disk(cli: Callable, small_signs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing fails in the second epoch: a sentence, no half file, and the first epoch's checkpoint
    resumes.
    """
    original, calls = L.Trainer.save_checkpoint, []

    def full(self, path, *args, **kwargs):
        calls.append(path)
        if len(calls) == 2:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, path, *args, **kwargs)

    monkeypatch.setattr(L.Trainer, "save_checkpoint", full)
    done = cli(
        "fit", "--model", "SignsFunctional", "--data.train_file", small_signs[0],
        "--trainer.max_epochs", "3",
    )  # fmt: skip
    assert done.code == 2
    assert "There is no room left on the disk (No space left on device)." in done.err
    run = Path("lightning_logs/signs_functional/version_0")
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["last.ckpt"]
    assert cli("fit", "--ckpt_path", run).code == 0
    assert len((run / "history.csv").read_text().splitlines()) == 4


def test_two_runs_in_one_folder(tmp_path: Path, small_signs) -> None:
    """The second is refused as long as the first one trains, and touches nothing: not even a
    checkpoint half written.
    """
    folder = tmp_path / "run"

    class Second(L.Callback):
        said = ""

        def on_train_start(self, trainer, pl_module):
            half = folder / "checkpoints/last.writing"
            half.parent.mkdir()
            half.write_bytes(b"half")
            with pytest.raises(InputError, match="is in use by another fit"):
                train(folder, small_signs)
            assert half.read_bytes() == b"half"
            Second.said = "refused"

    train(folder, small_signs, Second())
    assert Second.said
    train(folder, small_signs)  # afterwards the folder is free again


def test_a_folder_that_is_deleted_while_it_is_trained_in(fork, tmp_path, small_signs):
    """Someone tidies up lightning_logs in the middle of a run: a sentence, no traceback."""
    process = fork(*FIT, "--data.train_file", small_signs[0], "--trainer.max_epochs", 100_000)
    history = tmp_path / "lightning_logs/signs_functional/version_0/history.csv"
    while process.poll() is None and not (
        history.exists() and len(history.read_text().splitlines()) > 3
    ):
        time.sleep(0.05)
    for _ in range(100):  # files come back while they are deleted
        shutil.rmtree(tmp_path / "lightning_logs", ignore_errors=True)
        if not (tmp_path / "lightning_logs").exists():
            break
    done = process.wait()
    assert done.code == 2
    sentence = "is gone: the run's folder was moved or deleted while it trained. Begin a new run."
    assert sentence in done.err
    assert "Traceback" not in done.out + done.err
