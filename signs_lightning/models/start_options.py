"""How a run begins from a checkpoint: goes on, or begins anew with its weights."""

from __future__ import annotations

from typing import Any

import lightning as L

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.stochastic_averaging import TRAINED_WEIGHTS

START_OPTIONS = ("start_epoch", "history", "fresh_optimizer")
OPTION = "--fresh_optimizer true"
FRESH = f"{OPTION}, which trains its weights with a new optimizer, from epoch 0"


class StartOptions(EpochCallback):
    """What `--ckpt_path` does not tell about the beginning of a run.

    Args:
        start_epoch: how many epochs Keras has trained, for a checkpoint that import-keras made;
            needed where its steps are no whole number of epochs here.
        history: the file of Keras's CSVLogger, whose epochs the run's history.csv begins with.
        fresh_optimizer: take the weights of the checkpoint alone, and train them from epoch 0, in a
            new run folder, with a new optimizer and schedule.

    Raises:
        InputError: `start_epoch` is negative, or the options exclude each other.
    """

    def __init__(
        self,
        start_epoch: int | None = None,
        history: str | None = None,
        fresh_optimizer: bool = False,
    ) -> None:
        self.start_epoch = start_epoch
        self.history = history
        self.fresh_optimizer = fresh_optimizer
        if start_epoch is not None and start_epoch < 0:
            raise InputError(f"--start_epoch is {start_epoch}, expected 0 or more.")
        if fresh_optimizer and (given := self._given()):
            raise InputError(
                f"{given} and {OPTION} are both given, and a new optimizer begins with epoch 0. "
                "Drop one of them."
            )

    def _given(self) -> str | None:
        """Return the name of an option that only a run of Keras has, if it is given."""
        if self.start_epoch is not None:
            return "--start_epoch"
        return "--history" if self.history is not None else None

    def check(self, goes_on_from_keras: bool) -> None:
        """Check that options of a run that Keras began are given for such a one alone.

        Raises:
            InputError: they are not.
        """
        if not goes_on_from_keras and (given := self._given()):
            raise InputError(
                f"{given} is for a checkpoint that import-keras made of a Keras file with its "
                "optimizer's state. Name it with --ckpt_path, or leave the option out."
            )

    def forget_training(self, checkpoint: dict[str, Any]) -> None:
        """Leave nothing but the model in a checkpoint, where the optimizer is to begin anew.

        Args:
            checkpoint: as it was loaded; changed.
        """
        if not self.fresh_optimizer:
            return
        ours = checkpoint.get("signs_lightning", {})
        kept = ("format_version", "model", "made_with")
        checkpoint["signs_lightning"] = {key: ours[key] for key in kept if key in ours}
        checkpoint |= {"epoch": 0, "global_step": 0, "callbacks": {}}
        checkpoint |= {"optimizer_states": [], "lr_schedulers": []}
        checkpoint.pop("loops", None)
        checkpoint.pop(TRAINED_WEIGHTS, None)  # the averaged ones are the model


def make_start_options(config: Any) -> StartOptions:
    """Make those of a run's configuration."""
    return StartOptions(**{name: config[name] for name in START_OPTIONS})


def find_start_options(trainer: L.Trainer) -> StartOptions:
    """Return those of a Trainer, or the defaults."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((c for c in callbacks if isinstance(c, StartOptions)), StartOptions())
