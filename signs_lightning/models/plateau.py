"""ReduceLROnPlateau: which figure it watches, and when it has no figure to watch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from signs_lightning.errors import InputError


def monitored_metric(scheduler: LRScheduler) -> str | None:
    """The column of the history that a scheduler watches: its `monitor`, which Lightning's own ReduceLROnPlateau has, else val_loss."""
    return (
        getattr(scheduler, "monitor", "val_loss")
        if isinstance(scheduler, ReduceLROnPlateau)
        else None
    )


def check_monitored_metric(scheduler: LRScheduler, names: Iterable[str]) -> None:
    """Compares what a scheduler watches with the figures that a run has.

    Args:
        scheduler: any; only a ReduceLROnPlateau with a `monitor` can be wrong.
        names: columns of the history.

    Raises:
        InputError: there is no such figure.
    """
    monitor = (
        getattr(scheduler, "monitor", None) if isinstance(scheduler, ReduceLROnPlateau) else None
    )
    if monitor is not None and monitor not in (names := list(names)):
        raise InputError(
            f"ReduceLROnPlateau watches {monitor}, and there is no such figure; there are "
            f"{', '.join(names)}. Give one of them as "
            "--model.lr_scheduler.monitor."
        )


def step_plateau(
    scheduler: ReduceLROnPlateau, figures: Mapping[str, float], validates: bool
) -> None:
    """Its step at the end of an epoch, if there is the figure that it watches; training loss stands for a validation loss that never comes.

    Args:
        scheduler: whose learning rate may fall.
        figures: of the epoch; those of validation only where the epoch was validated.
        validates: whether any epoch of the run is.
    """
    monitor = monitored_metric(scheduler)
    if monitor == "val_loss" and not validates:
        monitor = "loss"
    if monitor is not None and monitor in figures:
        scheduler.step(figures[monitor])
