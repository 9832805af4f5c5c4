"""Learning rates that end with the run: one cycle, cosine, cosine annealing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import lightning as L
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.runtime.terminal import print_message

if TYPE_CHECKING:
    from signs_lightning.models.classifier import ImageClassifier

Schedule = Literal["one_cycle", "cosine", "cosine_annealing"]
WARMUP = {"one_cycle": 0.3, "cosine": 0.05}
START = 1 / 25  # of the peak, where both begin: OneCycleLR's own default


def check_schedule_arguments(
    schedule: Schedule | None, scheduler: Any, warmup: float | None
) -> None:
    """Check that a model's arguments do not exclude each other.

    Args:
        schedule: one that ends with the run.
        scheduler: the model's `lr_scheduler`, any other one.
        warmup: share of the steps on the way up.

    Raises:
        InputError: two of them do.
    """
    if schedule is not None and scheduler is not None:
        raise InputError("schedule and lr_scheduler are both given. Drop one of them.")
    if schedule == "cosine_annealing" and warmup is not None:
        raise InputError(
            "warmup is given, and schedule cosine_annealing has none. Drop it, or take schedule "
            "cosine."
        )


def make_run_schedule(
    kind: Schedule, optimizer: Optimizer, trainer: L.Trainer, warmup: float | None
) -> tuple[LRScheduler, Literal["epoch", "step"], float]:
    """Make a schedule over a Trainer's whole run.

    Args:
        kind: as of `make_schedule` and `make_annealing`.
        optimizer: whose learning rate is set.
        trainer: it knows how long the run is.
        warmup: share of the steps on the way up.

    Returns:
        The scheduler, after what it is to be stepped, and the run's length in these.
    """
    if kind == "cosine_annealing":
        epochs = trainer.max_epochs
        return make_annealing(optimizer, epochs), "epoch", epochs or 0
    steps = trainer.estimated_stepping_batches
    # Counting them has made the DataLoader. One that is made after a checkpoint is loaded resumes
    # where that stopped.
    trainer.fit_loop._combined_loader = None
    return make_schedule(kind, optimizer, steps, warmup), "step", steps


def make_schedule(
    kind: Schedule, optimizer: Optimizer, steps: float, warmup: float | None = None
) -> LRScheduler:
    """Make a schedule over a whole run, to be stepped after every optimizer step.

    Args:
        kind: "one_cycle" (Smith and Topin 2018, https://arxiv.org/abs/1708.07120, as torch's
            OneCycleLR: up and down on half cosines, to a 250,000th of the peak, Adam's beta1 or the
            momentum in the opposite direction) or "cosine" (linear up, then half a cosine down to
            0; Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983).
        optimizer: its learning rate is the peak.
        steps: optimizer steps of the run.
        warmup: share of the steps on the way up, in 0..1 (exclusive); 0.3 for one_cycle and 0.05
            for cosine when omitted.

    Raises:
        InputError: the run has no end, or the warm-up is no such share.
    """
    if not math.isfinite(steps) or steps < 2:
        raise InputError(
            f"--model.schedule {kind} needs a run whose end is known and has at least two steps. "
            "Set --trainer.max_epochs or --trainer.max_steps."
        )
    share = WARMUP[kind] if warmup is None else warmup
    if not 0 < share < 1:
        raise InputError(
            f"--model.warmup is {share:g}, expected a share between 0 and 1 (exclusive)."
        )
    if kind == "one_cycle":
        return lr_scheduler.OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=int(steps),
            pct_start=max(share, 1.5 / steps),  # its way up takes half a step at least
            div_factor=1 / START,
            cycle_momentum=bool({"betas", "momentum"} & optimizer.defaults.keys()),
        )
    up = max(1, round(share * steps))
    down = max(1, int(steps) - up)
    rise = lr_scheduler.LinearLR(optimizer, START, total_iters=up)
    fall = CosineAnnealingLR(optimizer, T_max=down)
    return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[up])


def make_annealing(optimizer: Optimizer, epochs: int | None) -> CosineAnnealingLR:
    """Make half a cosine from the optimizer's learning rate down to 0.

    It is to be stepped after every epoch. See Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983.

    Args:
        optimizer: whose learning rate is set.
        epochs: of the run.

    Raises:
        InputError: the run has no end.
    """
    if epochs is None or epochs < 1:
        raise InputError(
            "--model.schedule cosine_annealing needs a run whose end is known. Set "
            "--trainer.max_epochs, or use --model.schedule cosine with --trainer.max_steps."
        )
    return CosineAnnealingLR(optimizer, T_max=epochs)


class RisingRateWarning(EpochCallback):
    """Say where torch's own CosineAnnealingLR rises again before the run ends."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epochs = trainer.max_epochs or 0
        for config in trainer.lr_scheduler_configs if trainer.is_global_zero else []:
            scheduler: Any = config.scheduler
            is_cosine = isinstance(scheduler, CosineAnnealingLR) and config.interval == "epoch"
            if is_cosine and epochs > scheduler.T_max:
                print_message(
                    f"CosineAnnealingLR is at its lowest rate after {scheduler.T_max} epochs and "
                    f"rises again, the run has {epochs}. In a new run --model.schedule "
                    "cosine_annealing falls until the end."
                )


def make_optimizers(model: ImageClassifier) -> Any:
    """Return a model's optimizer and schedule, as `configure_optimizers` gives them to Lightning.

    Args:
        model: its Trainer tells how many steps a schedule has.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = (model.optimizer or KerasAdam)(parameters)
    lr, schedule = model.hparams["lr"], model.hparams.get("schedule")
    for group in optimizer.param_groups if lr is not None else []:
        group["lr"] = lr
    if schedule is not None:
        made = make_run_schedule(schedule, optimizer, model.trainer, model.hparams["warmup"])
        scheduler, interval, model.schedule_steps = made
    elif model.lr_scheduler is not None:
        scheduler, interval = model.lr_scheduler(optimizer), model.hparams["lr_interval"]
    else:
        return optimizer
    config = {"scheduler": scheduler, "interval": interval, "monitor": "loss"}
    return {"optimizer": optimizer, "lr_scheduler": config}
