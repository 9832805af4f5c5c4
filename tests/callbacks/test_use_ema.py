"""`use_ema` of Keras's optimizers: a run ends with the average of its weights, as in Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from signs_lightning.models.keras_optimizers import KerasSGD


def test_averages_by_hand() -> None:
    """Of a weight that falls by 1 a step; every third step it becomes the average."""
    weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    idle = nn.Parameter(torch.ones(2))
    optimizer = KerasSGD(
        [weight, idle], 1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3
    )
    found = []
    for _ in range(4):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        found.append((weight[0].item(), optimizer.state[weight]["model_average"][0].item()))
    assert found == [(-1, -1), (-2, -1.5), (-2.25, -2.25), (-3.25, -2.75)]
    assert torch.equal(idle, torch.ones(2))


def checkpoint(name: str) -> dict[str, Any]:
    path = Path("lightning_logs", name, "version_0/checkpoints/last.ckpt")
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("other", ["StochasticWeightAveraging", "EMAWeightAveraging"])
def test_two_averages_of_the_weights(
    cli: Callable, small_signs: tuple[Path, Path], other: str
) -> None:
    """One of them would be lost without a word."""
    given = {"StochasticWeightAveraging": "{swa_lrs: 0.01}", "EMAWeightAveraging": "{decay: 0.9}"}
    callback = f"{{class_path: {other}, init_args: {given[other]}}}"
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--trainer.max_epochs", 2,
        "--model.optimizer", "KerasSGD", "--model.optimizer.use_ema", "true",
        f"--trainer.callbacks=[{callback}]",
    )  # fmt: skip
    assert done.code == 2
    assert f"use_ema and {other} both end a run with averages" in done.err


@pytest.mark.slow
def test_a_run_ends_with_the_average(cli: Callable, small_signs: tuple[Path, Path]) -> None:
    """last.ckpt has it for the model, and a resumed run goes on from the weights before."""

    def fit(name: str, epochs: int, *options: object) -> None:
        done = cli(
            "fit", "--data.train_file", small_signs[0], "--data.batch_size", 30, "--name", name,
            "--trainer.max_epochs", epochs, "--model.optimizer", "KerasSGD",
            "--model.optimizer.use_ema", "true", *options,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "last.ckpt holds the weights that use_ema has averaged" in done.out

    fit("whole", 3)
    fit("parts", 2)
    fit("parts", 3, "--ckpt_path", "lightning_logs/parts/version_0")
    whole, parts = checkpoint("whole"), checkpoint("parts")
    averages: list[Tensor] = [
        state["model_average"] for state in whole["optimizer_states"][0]["state"].values()
    ]
    weights = list(whole["state_dict"].values())
    assert all(torch.equal(*pair) for pair in zip(averages, weights, strict=True))
    assert not torch.equal(weights[0], next(iter(whole["trained_state_dict"].values())))
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name])
