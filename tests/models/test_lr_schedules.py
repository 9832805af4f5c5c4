"""Schedules, against their formulas in float64, and what becomes of them when a run is resumed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim.lr_scheduler import CosineAnnealingLR

from signs_lightning import H5DataModule, SignsFunctional
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.errors import InputError
from signs_lightning.models.lr_schedules import make_annealing, make_schedule
from signs_lightning.models.resume_optimizers import apply_learning_rate

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def rates(kind, steps, lr=0.4, warmup=None):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    schedule = make_schedule(kind, optimizer, steps, warmup)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def half_cosine(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def test_one_cycle():
    """Half a cosine from a 25th of the peak to the peak after 30% of 101 steps, and half a cosine
    down to a 250,000th.
    """
    found, top = rates("one_cycle", 101), 0.3 * 101 - 1
    for step, rate in enumerate(found):
        up, down = (
            half_cosine(0.4 / 25, 0.4, step / top),
            half_cosine(0.4, 0.4 / 250_000, (step - top) / (100 - top)),
        )
        expected = up if step <= top else down
        assert rate == pytest.approx(expected, rel=1e-9)


def test_cosine():
    """A line from a 25th of the peak over the first 10 of 100 steps, then half a cosine to 0."""
    found = rates("cosine", 100, warmup=0.1)
    for step, rate in enumerate(found):
        expected = (
            0.4 * (1 / 25 + 24 / 25 * step / 10)
            if step < 10
            else half_cosine(0.4, 0, (step - 10) / 90)
        )
        assert rate == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0.1), (20, 0.05), (100, 0.01), (3, None)])
def test_a_warmup_of_one_step(steps, warmup):
    """OneCycleLR itself divides by zero there; the peak still is reached at the beginning, and the
    end is the lowest rate.
    """
    found = rates("one_cycle", steps, warmup=warmup)
    assert max(found[:2]) > 0.2
    assert min(found) == found[-1] < 1e-4


def test_one_cycle_of_an_optimizer_without_momentum():
    optimizer = torch.optim.Adagrad([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = make_schedule("one_cycle", optimizer, 10)
    for _ in range(9):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 250_000)


@pytest.mark.parametrize(("steps", "warmup"), [(math.inf, None), (1, None), (10, 0.0), (10, 1.0)])
def test_runs_without_an_end_and_odd_warmups_are_refused(steps, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    with pytest.raises(InputError, match=r"needs a run whose end is known|expected a share"):
        make_schedule("one_cycle", optimizer, steps, warmup)


@pytest.mark.parametrize("kind", ["one_cycle", "cosine"])
def test_a_new_learning_rate_scales_what_is_left(kind):
    """Half-way through, `--model.lr` doubled: every rate from there on is twice what it was."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.4, momentum=0.9)
    schedule = make_schedule(kind, optimizer, 40)
    for _ in range(20):
        optimizer.step()
        schedule.step()
    checkpoint: dict[str, Any] = {
        "hyper_parameters": {"lr": 0.4},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [schedule.state_dict()],
    }
    apply_learning_rate(0.8, checkpoint)
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.8, momentum=0.9)
    resumed = make_schedule(kind, other, 40)
    other.load_state_dict(checkpoint["optimizer_states"][0])
    resumed.load_state_dict(checkpoint["lr_schedulers"][0])
    for _ in range(19):
        assert other.param_groups[0]["lr"] == pytest.approx(
            2 * optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-12
        )
        for pair in ((optimizer, schedule), (other, resumed)):
            pair[0].step()
            pair[1].step()


class Rates(L.Callback):
    """Notes the learning rate of every epoch."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.found.append(trainer.optimizers[0].param_groups[0]["lr"])


def rates_of_epochs(folder, files, epochs, checkpoint=None, **options):
    """Learning rates of a short run's epochs, and its model."""
    L.seed_everything(3)
    rates, data = Rates(), H5DataModule(str(files[0]), val_fraction=0.2, batch_size=24)
    model = SignsFunctional(**options)
    L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[RunCheckpoint(), rates],
    ).fit(model, data, ckpt_path=checkpoint, weights_only=True)
    return rates.found, model


def by_hand(scheduler_class, steps, lr, **arguments):
    """The rates of a scheduler of torch's, stepped once for each of `steps`: None, or the figure
    that it watches.
    """
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, found = scheduler_class(optimizer, **arguments), [lr]
    for step in steps:
        optimizer.step()
        scheduler.step(*([] if step is None else [step]))
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_the_cosine_of_resnet50_ends_with_the_run(tmp_path, small_signs):
    """The configuration's 20 epochs have the rates that they always had, to the last bit; in 30 the
    rate falls until the end.
    """
    options = yaml.safe_load((CONFIGS / "signs_resnet50.yaml").read_text())["model"]["init_args"]
    del options["bn_momentum"]
    assert options["lr"] == 0.001
    found, _ = rates_of_epochs(tmp_path / "20", small_signs, 20, **options)
    assert found == by_hand(CosineAnnealingLR, [None] * 19, 0.001, T_max=20)
    found, _ = rates_of_epochs(tmp_path / "30", small_signs, 30, **options)
    assert found == [
        pytest.approx(half_cosine(0.001, 0, epoch / 30), rel=1e-9) for epoch in range(30)
    ]
    with pytest.raises(
        InputError,
        match=r"made for 20 epochs, this one has 30\. Leave "
        r"--trainer.max_epochs as it was",
    ):
        rates_of_epochs(
            tmp_path / "20", small_signs, 30, tmp_path / "20/checkpoints/last.ckpt", **options
        )
    with pytest.raises(InputError, match="needs a run whose end is known"):
        rates_of_epochs(tmp_path / "x", small_signs, -1, **options)
    with pytest.raises(InputError, match="warmup is given, and schedule cosine_annealing has none"):
        SignsFunctional(**options, warmup=0.1)


def test_the_shortest_annealing():
    """A run of one epoch has the rate that is set, and ends at 0."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = make_annealing(optimizer, 1)
    assert optimizer.param_groups[0]["lr"] == 0.4
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    for epochs in (None, 0, -1):
        with pytest.raises(InputError, match="needs a run whose end is known"):
            make_annealing(optimizer, epochs)


def test_a_cosine_that_rises_again_says_so(tmp_path, small_signs, capsys):
    """torch's scheduler with a period of its own, as configurations have it: nothing is changed,
    and one line tells.
    """
    for epochs, said in ((2, False), (3, True)):
        options = {"lr_scheduler": lambda optimizer: CosineAnnealingLR(optimizer, 2), "lr": 0.01}
        found, _ = rates_of_epochs(tmp_path / str(epochs), small_signs, epochs, **options)
        assert found == by_hand(CosineAnnealingLR, [None] * (epochs - 1), 0.01, T_max=2)
        out = capsys.readouterr().out
        sentence = "is at its lowest rate after 2 epochs and rises again, the run has 3."
        assert (sentence in out) == said


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [("val_accuracy", "max"), ("accuracy", "max"), ("loss", "min"), ("val_loss", "max")],
)
def test_a_plateau_is_that_of_the_figure_it_monitors(tmp_path, small_signs, monitor, mode):
    """The rates are those that torch's own scheduler gives when it is fed that column of the
    history, also in a run that goes on.
    """
    settings = {"mode": mode, "patience": 0, "factor": 0.5, "threshold": 0.02}

    def plateau(optimizer):
        return ReduceLROnPlateau(optimizer, monitor=monitor, **settings)

    found, model = rates_of_epochs(tmp_path / "a", small_signs, 8, lr_scheduler=plateau, lr=0.003)
    figures = [row[monitor] for row in model.history]
    expected = by_hand(torch.optim.lr_scheduler.ReduceLROnPlateau, figures, 0.003, **settings)[:-1]
    assert found == expected
    assert len(set(found)) > 2
    rates_of_epochs(tmp_path / "b", small_signs, 4, lr_scheduler=plateau, lr=0.003)
    rest, _ = rates_of_epochs(
        tmp_path / "b",
        small_signs,
        8,
        tmp_path / "b/checkpoints/last.ckpt",
        lr_scheduler=plateau,
        lr=0.003,
    )
    assert rest == expected[4:]


def test_another_figure_to_monitor_begins_anew(tmp_path, small_signs):
    """The best loss so far is no accuracy: a run that goes on with another monitor has had no best
    value yet.
    """
    rates_of_epochs(
        tmp_path,
        small_signs,
        3,
        lr_scheduler=lambda o: ReduceLROnPlateau(o, monitor="val_loss", patience=9),
    )
    _, model = rates_of_epochs(
        tmp_path, small_signs, 5, tmp_path / "checkpoints/last.ckpt",
        lr_scheduler=lambda o: ReduceLROnPlateau(o, monitor="val_accuracy", mode="max", patience=9),
    )  # fmt: skip
    state = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["lr_schedulers"][0]
    assert state["best"] == max(row["val_accuracy"] for row in model.history[3:])


def test_a_monitor_that_is_no_figure(cli, small_signs):
    """Refused before the first step, with the figures that there are; one that exists works from
    the command line.
    """
    split = ("fit", "--data.train_file", small_signs[0], "--trainer.max_epochs", 1)
    plateau = (
        "--model.lr_scheduler",
        "lightning.pytorch.cli.ReduceLROnPlateau",
        "--model.lr_scheduler.monitor",
    )
    done = cli(*split, "--data.val_fraction", 0.2, *plateau, "val_acc")
    assert done.code == 2
    sentence = (
        "watches val_acc, and there is no such figure; there are loss, accuracy, val_loss, "
        "val_accuracy."
    )
    assert sentence in done.err
    assert "epoch 1/1" not in done.out
    done = cli(*split, *plateau, "val_loss")
    assert done.code == 2
    sentence = "watches val_loss, and there is no such figure; there are loss, accuracy. Give one"
    assert sentence in done.err
    done = cli(*split, *plateau, "accuracy")
    assert done.code == 0, done.err


def test_a_scheduled_run_in_the_command_line(cli, small_signs, tmp_path):
    """The learning rate of the curves rises and falls; a longer run is refused, and nothing is
    changed by that.
    """
    settings = ("--data.train_file", small_signs[0], "--data.batch_size", 10)
    done = cli(
        "fit", *settings, "--trainer.max_epochs", 4, "--model.schedule", "one_cycle",
        "--model.lr", 0.01,
    )  # fmt: skip
    assert done.code == 0, done.err
    folder = tmp_path / "lightning_logs/signs_functional/version_0"
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert state["signs_lightning"]["training"]["schedule_steps"] == 24
    top = 0.3 * 24 - 1
    # When the last epoch began.
    expected = half_cosine(0.01, 0.01 / 250_000, (18 - top) / (23 - top))
    assert state["signs_lightning"]["learning_rate"] == pytest.approx(expected)
    before = (folder / "checkpoints/last.ckpt").read_bytes()
    done = cli("fit", "--ckpt_path", folder, "--trainer.max_epochs", 8)
    assert done.code == 2
    assert "The schedule of this run was made for 24 steps, this one has 48." in done.err
    assert (folder / "checkpoints/last.ckpt").read_bytes() == before
    done = cli(
        "fit", *settings, "--model.schedule", "cosine",
        "--model.lr_scheduler", "torch.optim.lr_scheduler.ConstantLR",
    )  # fmt: skip
    assert done.code == 2
    assert "schedule and lr_scheduler are both given" in done.err
