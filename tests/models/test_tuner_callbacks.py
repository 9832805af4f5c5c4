"""Finders of the learning rate and the batch size: what they leave of a run, and of one that goes
on.
"""

from __future__ import annotations

import csv

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import BatchSizeFinder

from signs_lightning import H5DataModule, SignsFunctional
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.errors import InputError


@pytest.mark.slow
def test_the_rate_is_found_and_the_run_is_otherwise_untouched(cli, small_signs, tmp_path):
    """The run that follows is, to the last bit, one with the rate given; resumed, it keeps the
    rate.
    """
    data = (
        "--data.train_file", small_signs[0], "--data.batch_size", 10,
        "--model.schedule", "one_cycle",
    )  # fmt: skip
    done = cli(
        "fit", *data, "--trainer.max_epochs", 2, "--name", "found",
        "--trainer.callbacks+=FindLearningRate", "--trainer.callbacks.num_training_steps=60",
    )  # fmt: skip
    assert done.code == 0, done.err
    folder = tmp_path / "lightning_logs/found/version_0"
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    rate = state["hyper_parameters"]["lr"]
    assert f"Learning rate {rate:.3g}: there the loss falls fastest." in done.out
    assert 1e-4 < rate < 0.5
    assert state["optimizer_states"][0]["param_groups"][0]["max_lr"] == rate
    assert not list(tmp_path.glob(".lr_find*"))
    done = cli("fit", *data, "--trainer.max_epochs", 2, "--name", "given", "--model.lr", rate)
    assert done.code == 0, done.err
    given = tmp_path / "lightning_logs/given/version_0"
    other = torch.load(given / "checkpoints/last.ckpt", weights_only=True)
    assert all(
        torch.equal(state["state_dict"][key], other["state_dict"][key])
        for key in other["state_dict"]
    )
    assert (folder / "history.csv").read_text() == (given / "history.csv").read_text()
    with (folder / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    done = cli("fit", "--ckpt_path", folder)
    assert done.code == 0, done.err
    assert "falls fastest" not in done.out


def test_a_fast_run_finds_nothing_and_says_nothing(cli, small_signs):
    """Lightning leaves its finder out of `fast_dev_run`."""
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--trainer.callbacks+=FindLearningRate",
        "--trainer.fast_dev_run", "true",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "falls fastest" not in done.out


def epochs_and_losses(run):
    with (run / "history.csv").open() as file:
        return [(row["epoch"], row["loss"]) for row in csv.DictReader(file)]


def state_of(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


FINDERS = {
    "LearningRateFinder": (
        "--trainer.callbacks.min_lr=1e-4",
        "--trainer.callbacks.num_training_steps=24",
    ),
    "BatchSizeFinder": ("--trainer.callbacks.init_val=5", "--trainer.callbacks.max_trials=3"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LearningRateFinder", "BatchSizeFinder"])
def test_a_run_with_lightning_s_own_finders_goes_on(kind, cli, small_signs, tmp_path):
    """What was found stays: its run, with a schedule or gone on with, is to the last bit one that
    was given it.
    """
    data = ("fit", "--data.train_file", small_signs[0], "--data.batch_size", 10)
    finder = (f"--trainer.callbacks+={kind}", *FINDERS[kind])
    cosine = ("--model.schedule", "cosine", "--trainer.max_epochs", 4)
    runs = tmp_path / "lightning_logs"
    done = cli(*data, *cosine, *finder, "--name", "found")
    assert done.code == 0, done.err
    state = state_of(runs / "found/version_0")
    rate, size = state["hyper_parameters"]["lr"], state["H5DataModule"]["batch_size"]
    assert (rate is None, size == 10) == (
        (True, False) if kind == "BatchSizeFinder" else (False, True)
    )
    given = ("--data.batch_size", size, *(() if rate is None else ("--model.lr", rate)))
    assert cli(*data, *cosine, *given, "--name", "given").code == 0
    assert epochs_and_losses(runs / "found/version_0") == epochs_and_losses(
        runs / "given/version_0"
    )

    assert cli(*data, "--trainer.max_epochs", 4, *finder, "--name", "part").code == 0
    part, whole = runs / "part/version_0", runs / "whole/version_0"
    state = state_of(part)
    rate, size = state["hyper_parameters"]["lr"], state["H5DataModule"]["batch_size"]
    given = ("--data.batch_size", size, *(() if rate is None else ("--model.lr", rate)))
    done = cli("fit", "--ckpt_path", part, "--trainer.max_epochs", 6)
    assert done.code == 0, done.err
    assert cli(*data, "--trainer.max_epochs", 6, *given, "--name", "whole").code == 0
    assert epochs_and_losses(part) == epochs_and_losses(whole)
    assert [epoch for epoch, _ in epochs_and_losses(part)] == [str(k) for k in range(6)]
    ours, theirs = state_of(part)["state_dict"], state_of(whole)["state_dict"]
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_a_notebook_that_goes_on_with_another_batch_size_than_was_found(cli, small_signs, tmp_path):
    """The finder does not try anew; a data module with the size from before it is refused, one with
    the size found goes on.
    """
    found = (
        SignsFunctional(),
        H5DataModule(str(small_signs[0]), batch_size=10),
        BatchSizeFinder(init_val=5, max_trials=3),
    )
    trainer(tmp_path, 1, found[2]).fit(*found[:2])
    size = found[1].batch_size
    assert size == 20
    checkpoint = tmp_path / "checkpoints/last.ckpt"
    with pytest.raises(
        InputError,
        match="in batches of 20, which BatchSizeFinder found, the data come in batches of 10",
    ):
        trainer(tmp_path, 2, BatchSizeFinder()).fit(
            SignsFunctional(),
            H5DataModule(str(small_signs[0]), batch_size=10),
            ckpt_path=checkpoint,
            weights_only=True,
        )
    model = SignsFunctional()
    data = H5DataModule(str(small_signs[0]), batch_size=20)
    trainer(tmp_path, 2, BatchSizeFinder()).fit(
        model, data, ckpt_path=checkpoint, weights_only=True
    )
    assert [row["epoch"] for row in model.history] == [0, 1]
    assert data.batch_size == 20


def trainer(folder, epochs, *callbacks):
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[RunCheckpoint(), *callbacks],
    )
