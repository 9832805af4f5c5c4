"""How a run goes on that Keras began: from which epoch, after which steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning as L

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_history import History
from signs_lightning.models.keras_history import read_keras_history
from signs_lightning.models.start_options import FRESH, StartOptions, find_start_options
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.rank_zero_print import rank_zero_print

KEY = "keras_run"  # of a checkpoint, below "signs_lightning"


def keras_run(checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what `import-keras` wrote of a training that goes on; None for other checkpoints.

    It has "steps", how many the optimizer has made, and "weights", which ones it trains; or
    "problem", why it cannot go on.
    """
    run: Mapping[str, Any] | None = checkpoint.get("signs_lightning", {}).get(KEY)
    return run


def trained_weights(model: L.LightningModule) -> list[str]:
    """Return the names of the weights that are trained."""
    return [name for name, weight in model.named_parameters() if weight.requires_grad]


def describe_steps(steps: int) -> str:
    """Return `1 step` or `340 steps`."""
    return f"{steps:,} step{'' if steps == 1 else 's'}"


def find_epoch(
    run: Mapping[str, Any],
    options: StartOptions,
    model: L.LightningModule,
    steps_an_epoch: float,
    max_epochs: int | None,
) -> int:
    """Return the epoch that a run of Keras goes on with, counted from 0.

    Args:
        run: as of `keras_run`.
        options: they may give the epoch.
        model: that is trained.
        steps_an_epoch: optimizer steps of an epoch here.
        max_epochs: of the whole run.

    Raises:
        InputError: the training cannot go on; the steps do not tell the epoch; or there is nothing
            left to train.
    """
    if "problem" in run:
        raise InputError(
            f"The training cannot go on where Keras stopped: {printable(run['problem'])}. Add "
            f"{FRESH}."
        )
    before, trained = run["weights"], trained_weights(model)
    if trained != before:
        others = " others" if len(trained) == len(before) else ""
        raise InputError(
            f"Keras trained {len(before)} weights of this model, and {len(trained)}{others} are "
            "trained now: its optimizer's state does not fit. Leave --model.trainable_layers out, "
            f"or add {FRESH}."
        )
    steps, epoch = run["steps"], options.start_epoch
    if epoch is None:
        if not math.isfinite(steps_an_epoch) or steps % steps_an_epoch:
            raise InputError(
                f"Keras made {describe_steps(steps)}, which are no whole number of epochs of "
                f"{steps_an_epoch:,} steps here. Add --start_epoch N, the number of epochs that "
                f"are done, or {FRESH}."
            )
        epoch = steps // int(steps_an_epoch)
    if max_epochs is not None and 0 <= max_epochs <= epoch:
        raise InputError(
            f"Keras has trained {epoch} epochs, and --trainer.max_epochs {max_epochs} counts them. "
            f"Give a larger number, or add {FRESH}."
        )
    return epoch


def count_steps(trainer: L.Trainer, images: int, batch_size: int) -> int:
    """Return the optimizer steps that an epoch will have.

    Args:
        trainer: before it has a loader.
        images: to train on.
        batch_size: of each process.
    """
    batches = -(-images // (trainer.world_size * batch_size))
    limit = trainer.limit_train_batches
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return math.ceil(batches / trainer.accumulate_grad_batches)


def go_on_after_keras(trainer: L.Trainer, model: Any, checkpoint: dict[str, Any]) -> bool:
    """Let a Trainer count on from the epochs and steps of Keras, where a checkpoint is such.

    Args:
        trainer: before it takes its loops' state from the checkpoint.
        model: that it trains; it gets the history of Keras where that is given.
        checkpoint: of the run that is resumed; changed.

    Returns:
        Whether it is such.

    Raises:
        InputError: see `find_epoch`; or options are given that only a run of Keras has.
    """
    run, options = keras_run(checkpoint), find_start_options(trainer)
    options.check(run is not None)
    if run is None:
        return False
    loop = trainer.fit_loop
    loop.setup_data()
    batches = trainer.num_training_batches
    # A loader that is made after the loops have their state begins with the right epoch.
    loop._combined_loader = None
    steps_an_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
    epoch = find_epoch(run, options, model, steps_an_epoch, trainer.max_epochs)
    if options.history is not None:
        model.history = History(read_keras_history(options.history, epoch))
    checkpoint["loops"] = {"fit_loop": _loop_state(loop, epoch, run["steps"], int(batches))}
    so_far = f"{epoch} epoch{'' if epoch == 1 else 's'} ({describe_steps(run['steps'])})"
    rank_zero_print(f"Training goes on where Keras stopped: {so_far} are done.")
    if options.history is not None and len(model.history) < epoch:
        rank_zero_print(f"{options.history} has {len(model.history)} of these epochs.")
    return True


def _loop_state(loop: Any, epoch: int, steps: int, batches: int) -> dict[str, Any]:
    """Return the state of a fit loop at the end of an epoch, as Lightning saves it there."""
    state: dict[str, Any] = loop.state_dict()
    if epoch > 0:
        for part in state["epoch_progress"].values():
            part.update(ready=epoch, started=epoch, processed=epoch, completed=epoch - 1)
        for name, count in (("batch_progress", batches), ("val_loop.batch_progress", 1)):
            progress = state[f"epoch_loop.{name}"]
            progress["is_last_batch"] = True
            for part in (progress["current"], progress["total"]):
                part.update(dict.fromkeys(part, count))
        total = state["epoch_loop.batch_progress"]["total"]
        total.update(dict.fromkeys(total, batches * epoch))
    optimizer = state["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
    optimizer["step"]["total"].update(ready=steps, completed=steps)
    state["epoch_loop.state_dict"]["_batches_that_stepped"] = steps
    return state
