"""The learning-rate finder, against a range test by hand, and what it leaves of a run."""

from __future__ import annotations

import csv

import torch


def test_the_rate_is_found_and_the_run_is_otherwise_untouched(cli, small_signs, tmp_path):
    """The run that follows is, to the last bit, one with the rate given; resumed, it keeps the rate."""
    data = ("--data.train_file", small_signs[0], "--data.batch_size", 10, "--model.schedule", "one_cycle")
    done = cli(
        "fit", *data, "--trainer.max_epochs", 2, "--name", "found", "--trainer.callbacks+=FindLearningRate",
        "--trainer.callbacks.num_training_steps=60",
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
    assert all(torch.equal(state["state_dict"][key], other["state_dict"][key]) for key in other["state_dict"])
    assert (folder / "history.csv").read_text() == (given / "history.csv").read_text()
    with (folder / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    done = cli("fit", "--ckpt_path", folder)
    assert done.code == 0, done.err
    assert "falls fastest" not in done.out


def test_a_fast_run_finds_nothing_and_says_nothing(cli, small_signs):
    """Lightning leaves its finder out of `fast_dev_run`."""
    done = cli(
        "fit",
        "--data.train_file",
        small_signs[0],
        "--trainer.callbacks+=FindLearningRate",
        "--trainer.fast_dev_run",
        "true",
    )
    assert done.code == 0, done.err
    assert "falls fastest" not in done.out
