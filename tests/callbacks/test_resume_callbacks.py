"""Lightning's callbacks with a state: a run that is killed and resumed ends as one that was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    Callback,
    EarlyStopping,
    GradientAccumulationScheduler,
    ModelPruning,
    SpikeDetection,
    StochasticWeightAveraging,
    Timer,
)
from torch.optim.lr_scheduler import ExponentialLR

from signs_lightning import H5DataModule, HappySequential, SignsFunctional
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.models.start_options import StartOptions

EPOCHS = 5


class KilledError(Exception):
    """Stands for a process that ends without a word."""


class Kill(Callback):
    """Ends the run after a step; keeps the weights at the beginning of each epoch."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.weights: list[list[torch.Tensor]] = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.weights.append([p.detach().double().clone() for p in pl_module.parameters()])

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step == self.at:
            raise KilledError


class WithBackbone(SignsFunctional):
    """The first convolution is the backbone."""

    @property
    def backbone(self):
        return self.network.get_submodule("conv1")


Make = Callable[[], Callback]
CASES: dict[str, tuple[type, Any, Make]] = {
    "swa": (SignsFunctional, None, lambda: StochasticWeightAveraging(0.02, 2, 2)),
    "swa, schedule": (
        SignsFunctional,
        lambda optimizer: ExponentialLR(optimizer, 0.9),
        lambda: StochasticWeightAveraging(0.02, 2, 2),
    ),
    "swa, batchnorm": (HappySequential, None, lambda: StochasticWeightAveraging(0.02, 2, 2)),
    "pruning": (
        SignsFunctional,
        None,
        lambda: ModelPruning("l1_unstructured", use_lottery_ticket_hypothesis=False, amount=0.3),
    ),
    "spikes": (SignsFunctional, None, lambda: SpikeDetection(warmup=100)),
    "accumulation": (SignsFunctional, None, lambda: GradientAccumulationScheduler({0: 2, 2: 1})),
    "early stopping": (SignsFunctional, None, lambda: EarlyStopping("val_loss", patience=9)),
    "timer": (SignsFunctional, None, lambda: Timer("00:01:00:00")),
    "backbone": (WithBackbone, None, lambda: BackboneFinetuning(2)),
}


@pytest.fixture
def train(small_signs, small_smiles, tmp_path):
    """Trains into a folder of that name; the model, its Trainer and the weights of epochs."""

    def run(
        case: str,
        folder: str,
        kill_at: int | None = None,
        resume: bool = False,
        epochs: int = EPOCHS,
        others: Sequence[Callback] = (),
    ) -> tuple[Any, L.Trainer, Kill]:
        kind, scheduler, make = CASES[case]
        L.seed_everything(3)
        model = kind(lr=0.01, lr_scheduler=scheduler)
        files = small_smiles if kind is HappySequential else small_signs
        data = H5DataModule(str(files[0]), val_fraction=0.2, batch_size=8)
        watch, last = Kill(kill_at), tmp_path / folder / "checkpoints/last.ckpt"
        trainer = L.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            default_root_dir=tmp_path / folder,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[make(), watch, RunCheckpoint(every_n_steps=2), *others],
        )
        try:
            trainer.fit(model, data, ckpt_path=last if resume else None, weights_only=True)
        except KilledError:
            assert kill_at is not None
        return model, trainer, watch

    return run


def state_of(folder: Path, key: str = "state_dict") -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)[key]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_resumed_to_the_last_bit(train, case):
    """Killed inside an epoch before the callback acts, at an epoch's end, and inside a later."""
    model, trainer, _ = train(case, "whole")
    assert [row["epoch"] for row in model.history] == list(range(EPOCHS))
    steps = trainer.global_step // EPOCHS
    for kill_at in (steps - 1, 3 * steps, 3 * steps + 3):
        train(case, f"killed {kill_at}", kill_at)
        resumed, _, _ = train(case, f"killed {kill_at}", resume=True)
        assert resumed.history == model.history
        pairs = zip(resumed.state_dict().items(), model.state_dict().items(), strict=True)
        assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.slow
def test_the_last_checkpoint_holds_the_average(train, tmp_path):
    """The mean of the weights with which epochs 1 to 4 began, by our own sum in float64; a run
    that is lengthened goes on from the weights before, as if it had been longer from the start.
    """
    _, _, watch = train("swa", "run")
    expected = [torch.stack(weights).mean(0) for weights in zip(*watch.weights[1:], strict=True)]
    for stored, mean in zip(state_of(tmp_path / "run").values(), expected, strict=True):
        torch.testing.assert_close(stored.double(), mean, atol=1e-6, rtol=0)
    before = state_of(tmp_path / "run", "trained_state_dict")
    _, _, lengthened = train("swa", "run", resume=True, epochs=EPOCHS + 1)
    for stored, weights in zip(before.values(), lengthened.weights[0], strict=True):
        assert torch.equal(stored.double(), weights)


@pytest.mark.slow
def test_a_new_optimizer_begins_with_the_average(train, tmp_path):
    """And not with the weights before, which a longer run goes on from."""
    train("swa", "run")
    average = state_of(tmp_path / "run")
    fresh = [StartOptions(fresh_optimizer=True)]
    _, _, begun = train("swa", "run", resume=True, epochs=1, others=fresh)
    for stored, weights in zip(average.values(), begun.weights[0], strict=True):
        assert torch.equal(stored.double(), weights)


@pytest.mark.slow
def test_pruned_weights_stay_pruned(train):
    """30 % of what is left after each epoch: 1 - 0.7^n of all, also where it was resumed."""
    train("pruning", "run", epochs=2)
    model, _, _ = train("pruning", "run", resume=True, epochs=4)
    weights = torch.cat([p.detach().flatten() for p in model.network.parameters()])
    assert (weights == 0).double().mean().item() == pytest.approx(1 - 0.7**4, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["swa", "pruning"])
def test_layers_of_a_network_that_the_data_shaped(small_smiles, tmp_path, case):
    """Two classes instead of six: averaged or pruned is the network that was made for them."""
    model = SignsFunctional()
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[CASES[case][2]()],
    )
    trainer.fit(model, H5DataModule(str(small_smiles[0]), batch_size=10))
    assert model.num_classes == 2
    zeros = torch.cat([(p == 0).flatten() for p in model.network.parameters()]).double().mean()
    assert zeros.item() == pytest.approx(1 - 0.7**3 if case == "pruning" else 0, abs=0.002)


@pytest.mark.slow
def test_the_best_is_not_forgotten_under_another_name(cli, small_signs, tmp_path):
    """A run folder that was relative when the run began is resumed by its absolute path."""
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--data.val_fraction", 0.2,
        "--trainer.max_epochs", 1, "--name", "run", "--trainer.callbacks+=ModelCheckpoint",
        "--trainer.callbacks.monitor=val_loss", "--trainer.callbacks.save_top_k=2",
    )  # fmt: skip
    assert done.code == 0, done.err
    folder = tmp_path / "lightning_logs/run/version_0"
    assert cli("fit", "--ckpt_path", folder, "--trainer.max_epochs", 2).code == 0
    states = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    (state,) = (states[key] for key in states if key.startswith("ModelCheckpoint"))
    assert len(state["best_k_models"]) == 2
