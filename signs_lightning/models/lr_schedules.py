"""Learning rates that end with the run: one cycle and cosine with a warm-up, by steps, and cosine annealing, by epochs."""

from __future__ import annotations

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

from signs_lightning.errors import InputError

Schedule = Literal["one_cycle", "cosine", "cosine_annealing"]
WARMUP = {"one_cycle": 0.3, "cosine": 0.05}
START = 1 / 25  # of the peak, where both begin: OneCycleLR's own default


def make_schedule(
    kind: Schedule, optimizer: Optimizer, steps: float, warmup: float | None = None
) -> LRScheduler:
    """A schedule over a whole run, to be stepped after every optimizer step; the optimizer's learning rate is its peak.

    Args:
        kind: "one_cycle" (Smith and Topin 2018, https://arxiv.org/abs/1708.07120, as torch's
            OneCycleLR: up and down on half cosines, to a 250,000th of the peak, Adam's beta1 or the
            momentum in the opposite direction) or "cosine" (linear up, then half a cosine down to
            0; Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983).
        optimizer: whose learning rate is set.
        steps: optimizer steps of the run.
        warmup: share of the steps on the way up, in 0..1 (exclusive); 0.3 for one_cycle and 0.05
            for cosine when omitted.

    Raises:
        InputError: the run has no end, or the warm-up is no such share.
    """
    if not math.isfinite(steps) or steps < 2:
        raise InputError(
            f"--model.schedule {kind} needs a run whose end is known and has at least two steps. "
            "Set --trainer.max_epochs or "
            "--trainer.max_steps."
        )
    share = WARMUP[kind] if warmup is None else warmup
    if not 0 < share < 1:
        raise InputError(
            f"--model.warmup is {share:g}, expected a share between 0 and 1 (exclusive)."
        )
    peaks = [group["lr"] for group in optimizer.param_groups]
    if kind == "one_cycle":
        share = max(share, 1.5 / steps)  # its way up takes half a step at least
        has_momentum = bool({"betas", "momentum"} & optimizer.defaults.keys())
        return OneCycleLR(
            optimizer,
            peaks,
            total_steps=int(steps),
            pct_start=share,
            div_factor=1 / START,
            cycle_momentum=has_momentum,
        )
    up = max(1, round(share * steps))
    down = max(1, int(steps) - up)
    parts = [LinearLR(optimizer, START, total_iters=up), CosineAnnealingLR(optimizer, T_max=down)]
    return SequentialLR(optimizer, parts, milestones=[up])


def make_annealing(optimizer: Optimizer, epochs: int | None) -> CosineAnnealingLR:
    """Half a cosine from the optimizer's learning rate down to 0, to be stepped after every epoch (Loshchilov and Hutter 2017).

    Args:
        optimizer: whose learning rate is set.
        epochs: of the run.

    Raises:
        InputError: the run has no end.
    """
    if epochs is None or epochs < 1:
        raise InputError(
            "--model.schedule cosine_annealing needs a run whose end is known. Set "
            "--trainer.max_epochs, or use --model.schedule cosine "
            "with --trainer.max_steps."
        )
    return CosineAnnealingLR(optimizer, T_max=epochs)


def rising_rate_message(scheduler: LRScheduler, epochs: int | None) -> str | None:
    """The sentence for torch's own CosineAnnealingLR, stepped after every epoch, in a run that is longer than its way down; else None."""
    if not isinstance(scheduler, CosineAnnealingLR) or epochs is None or epochs <= scheduler.T_max:
        return None
    return (
        f"CosineAnnealingLR is at its lowest rate after {scheduler.T_max} epochs and rises again, "
        f"the run has {epochs}. In a new run "
        "--model.schedule cosine_annealing falls until the end."
    )
