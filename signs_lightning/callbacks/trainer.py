"""Lightning's Trainer, set up as the command line sets it up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L

from signs_lightning.callbacks.callbacks_and_loggers import default_run_name, training_options
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.python_config import SavePythonConfig
from signs_lightning.callbacks.tensorboard_logger import RunLogger
from signs_lightning.models.model_with_preprocessing import ImageModel
from signs_lightning.models.other_inputs import check_images_suffice
from signs_lightning.runtime.rank_zero_print import rank_zero_print
from signs_lightning.runtime.warning_filters import quiet_libraries

LIMITS = ("max_epochs", "max_steps", "max_time")


class Trainer(L.Trainer):
    """Lightning's Trainer for a notebook or a script, set up as the command `fit` sets it up.

    It prints the layers and a line for each epoch, without what its libraries say of themselves,
    and leaves a run folder `lightning_logs/NAME/version_N` with checkpoints, history.csv,
    curves.png and TensorBoard's events. What is passed wins: another progress bar, logger or
    summary, or False for none. Checkpoints are loaded without running code from them, unless
    `weights_only=False` is passed.

    Args:
        name: of the run; the model's class when omitted, such as signs_functional.
        options: arguments of `lightning.Trainer`. Without max_epochs, max_steps and max_time,
            max_epochs is 100; num_sanity_val_steps is 0 and log_every_n_steps is 1 when omitted.

    Examples:
        >>> import numpy as np
        >>> from signs_lightning import H5DataModule, SignsFunctional, Trainer
        >>> arrays = np.zeros((20, 16, 16, 3), np.uint8), np.arange(20) % 4
        >>> data = H5DataModule(train_file=arrays, val_fraction=0.2)
        >>> options = {"logger": False, "enable_model_summary": False, "accelerator": "cpu"}
        >>> trainer = Trainer(max_epochs=1, enable_progress_bar=False, **options)
        >>> model = SignsFunctional()
        >>> trainer.fit(model, data)  # doctest: +ELLIPSIS
        Training images: ...
        >>> len(model.history)
        1
    """

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        self.run_name = name
        for part in ("callbacks", "logger"):
            if isinstance(options.get(part), tuple):
                options[part] = list(options[part])
        given = [*_as_list(options.get("callbacks")), *_as_list(options.get("logger"))]
        if not options.get("barebones"):  # which allows nothing of this
            if all(options.get(limit) is None for limit in LIMITS):
                options["max_epochs"] = 100
            options = {"num_sanity_val_steps": 0, "log_every_n_steps": 1, **options}
            config = SavePythonConfig(options)
            options = training_options(options, {}, name or "", None, False)
            if options["logger"]:
                options["callbacks"].append(config)
        with quiet_libraries():
            super().__init__(**options)
        made: Any = self  # Lightning's connectors set the callbacks
        ours = [part for part in (*made.callbacks, *self.loggers) if part not in given]
        self._run_checkpoints = [part for part in ours if isinstance(part, RunCheckpoint)]
        self._run_loggers = [part for part in ours if isinstance(part, RunLogger)]

    def fit(
        self,
        model: L.LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: L.LightningDataModule | None = None,
        ckpt_path: Any = None,
        weights_only: bool | None = True,
    ) -> None:
        """Train a model, see `lightning.Trainer.fit`; say at the end where the run folder is."""
        data: Any = datamodule or train_dataloaders
        for logger in self._run_loggers:
            logger.run_name = self.run_name or default_run_name(type(model).__name__)
        for checkpoint in self._run_checkpoints:
            checkpoint.keep_best = not getattr(data, "validates_on_test_file", False)
        if (
            ckpt_path is None
            and self.max_epochs is not None
            and 0 < self.max_epochs <= self.current_epoch
        ):
            rank_zero_print(
                f"This Trainer has reached max_epochs={self.max_epochs}. Make a new one to go on."
            )
        with self._quietly(model, data):
            super().fit(
                model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, weights_only
            )
        if self._run_loggers:
            rank_zero_print(f"Run folder: {self.log_dir}")

    def validate(
        self,
        model: L.LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: L.LightningDataModule | None = None,
        weights_only: bool | None = True,
    ) -> Any:
        """Validate a model, see `lightning.Trainer.validate`; nothing is written."""
        with self._quietly(model, datamodule or dataloaders, writes=False):
            return super().validate(
                model, dataloaders, ckpt_path, verbose, datamodule, weights_only
            )

    def test(
        self,
        model: L.LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool | None = None,
        datamodule: L.LightningDataModule | None = None,
        weights_only: bool | None = True,
    ) -> Any:
        """Test a model, see `lightning.Trainer.test`; nothing is written.

        An `ImageClassifier`'s evaluation is printed unless `verbose` is given: true prints
        Lightning's table, false nothing.
        """
        with self._quietly(model, datamodule or dataloaders, writes=False):
            prints = hasattr(model or self.lightning_module, "evaluation") and verbose is None
            verbose = not prints if verbose is None else verbose
            found = super().test(model, dataloaders, ckpt_path, verbose, datamodule, weights_only)
        if prints:
            rank_zero_print(repr(getattr(self.lightning_module, "evaluation", None)))
        return found

    def predict(
        self,
        model: L.LightningModule | None = None,
        dataloaders: Any = None,
        datamodule: L.LightningDataModule | None = None,
        return_predictions: bool | None = None,
        ckpt_path: Any = None,
        weights_only: bool | None = True,
    ) -> Any:
        """Predict data, see `lightning.Trainer.predict`: a list of float32 (n, K), by the batch."""
        with self._quietly(model, datamodule or dataloaders, writes=False):
            return super().predict(
                model, dataloaders, datamodule, return_predictions, ckpt_path, weights_only
            )

    @contextmanager
    def _quietly(self, model: Any, data: Any, writes: bool = True) -> Iterator[None]:
        """Run what Lightning does, as the command line does it."""
        if isinstance(model, ImageModel):
            check_images_suffice(model, "a Trainer")
            if hasattr(data, "adopt_resizing"):
                model.adopt_resizing(data.resize, data.fit)
                data.adopt_resizing(*model.resizing)
        loggers = self.loggers
        if not writes:  # an evaluation is no part of a run
            self.loggers = [logger for logger in loggers if logger not in self._run_loggers]
        try:
            with quiet_libraries():
                yield
        except SystemExit as error:  # what Lightning makes of an interruption
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored by now
            raise KeyboardInterrupt from None
        finally:
            self.loggers = loggers


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
