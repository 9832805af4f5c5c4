"""Weight averaging: last.ckpt holds the averaged weights, and an interrupted run repeats them,
schedule and augmentation included.
"""

from __future__ import annotations

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torchvision.transforms import v2

from signs_lightning import H5DataModule, SignsFunctional
from signs_lightning.callbacks.checkpointing import RunCheckpoint


class KilledError(Exception):
    """Stands for a process that ends without a word."""


class Watch(L.Callback):
    """Keeps the weights after each step in float64, and ends the run after one of them."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.kill_at = kill_at
        self.weights: list[list[torch.Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.weights.append([p.detach().double().clone() for p in pl_module.parameters()])
        if trainer.global_step == self.kill_at:
            raise KilledError


def train(folder, small_signs, watch: Watch, resume: bool = False) -> SignsFunctional:
    """Three epochs of six steps, with everything that a recipe has."""
    L.seed_everything(3)
    model = SignsFunctional(
        lr=0.01,
        schedule="one_cycle",
        optimizer=torch.optim.AdamW,
        label_smoothing=0.05,
        augmentation=[
            v2.RandomAffine(10, interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(0.2),
            v2.MixUp(alpha=0.2),
        ],
    )
    data = H5DataModule(str(small_signs[0]), val_fraction=0.2, batch_size=8)
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EMAWeightAveraging(decay=0.9), watch, RunCheckpoint(every_n_steps=2)],
    )
    try:
        trainer.fit(
            model,
            data,
            ckpt_path=folder / "checkpoints/last.ckpt" if resume else None,
            weights_only=True,
        )
    except KilledError:
        assert watch.kill_at is not None
    return model


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_signs):
    """A run that nobody stopped: its folder, its model, and the weights after each step."""
    folder, watch = tmp_path_factory.mktemp("whole"), Watch()
    return folder, train(folder, small_signs, watch), watch.weights


def test_the_checkpoint_holds_the_average(whole):
    """avg ← 0.9 avg + 0.1 weights, from the first step's weights on, in float64."""
    folder, model, weights = whole
    average = weights[0]
    for step in weights[1:]:
        average = [0.9 * a + 0.1 * w for a, w in zip(average, step, strict=True)]
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for (name, parameter), expected in zip(model.named_parameters(), average, strict=True):
        torch.testing.assert_close(state[name].double(), expected, atol=1e-6, rtol=0)
        assert torch.equal(parameter, state[name])
    assert not torch.allclose(average[0], weights[-1][0])


@pytest.mark.parametrize("kill_at", [5, 9, 14])
def test_resumed_to_the_last_bit(tmp_path, small_signs, whole, kill_at):
    train(tmp_path, small_signs, Watch(kill_at))
    model = train(tmp_path, small_signs, Watch(), resume=True)
    assert model.history == whole[1].history
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), whole[1].parameters(), strict=True)
    )


def test_test_takes_the_average_and_does_not_complain(cli, small_signs, tmp_path):
    """One line of configuration; `test` on the folder gives the last epoch's validation figures,
    which were of the average.
    """
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--data.test_file", small_signs[1],
        "--trainer.max_epochs", 3, "--trainer.callbacks+=EMAWeightAveraging",
        "--trainer.callbacks.decay=0.8",
    )  # fmt: skip
    assert done.code == 0, done.err
    expected = done.out.split("validation accuracy ")[1].split(" (")[0]
    done = cli("test", "--ckpt_path", tmp_path / "lightning_logs/signs_functional/version_0")
    assert done.code == 0, done.err
    assert expected in done.out
    assert "WeightAveraging" not in done.out + done.err


def test_averages_of_a_network_that_the_data_shaped(small_smiles, tmp_path):
    """Two classes instead of six: the average is of the network that was made for them."""
    model = SignsFunctional()
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EMAWeightAveraging(decay=0.0)],
    )
    trainer.fit(model, H5DataModule(str(small_smiles[0]), batch_size=10))
    assert model.num_classes == 2
    assert all(p.shape[0] != 6 for p in model.parameters() if p.dim() == 2)
