"""The run's checkpoints: `last.ckpt` of every epoch, `best.ckpt` by a metric."""

from __future__ import annotations

import math
import os
import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from signs_lightning.callbacks.background_writer import BackgroundWriter
from signs_lightning.callbacks.direct_checkpoint_io import DirectCheckpointIO, write_bytes
from signs_lightning.callbacks.run_lock import lock_run_folder, unlock_run_folder
from signs_lightning.errors import InputError
from signs_lightning.models.keras_averaging import keeps_averages
from signs_lightning.models.stochastic_averaging import (
    TRAINED_WEIGHTS,
    has_averaged,
    is_batch_norm_pass,
)
from signs_lightning.runtime.rank_zero_print import rank_zero_print
from signs_lightning.runtime.terminal import print_message, print_with_value

PARTS = ("last.writing", "best.writing")  # temporary names
ENDINGS = {KeyboardInterrupt: "Interrupted.", SIGTERMException: "Asked to end (SIGTERM)."}


class RunCheckpoint(Checkpoint):
    """Keep `last.ckpt`, and `best.ckpt` by the best value of a monitored metric.

    A checkpoint is written under a temporary name, synced and renamed: whatever happens, the file
    under the final name is whole. Its bytes are made at once and written by a thread while training
    goes on; the next checkpoint and the end of the run wait for it, and fail as it failed.

    Args:
        monitor: a column of the history, such as val_loss or val_accuracy.
        mode: "min" keeps the smallest value, "max" the largest.
        every_n_steps: also writes `last.ckpt` after every so many optimizer steps, for epochs that
            take long.
        keep_best: whether there is a `best.ckpt` at all; not where validation is the test file.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        every_n_steps: int | None = None,
        keep_best: bool = True,
    ) -> None:
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.keep_best = keep_best
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self.best_model_path = ""  # the name under which Lightning looks for `ckpt_path="best"`
        self.directory: Path | None = None
        self._saved_step = -1
        self._owns_folder = False  # whether this process may write into it
        self._lock: int | None = None
        self._writer = BackgroundWriter()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        directory = trainer.log_dir or trainer.default_root_dir  # the same on every process
        self.directory = Path(directory) / "checkpoints"
        is_fast = getattr(trainer, "fast_dev_run", False)
        writes = stage == "fit" and trainer.is_global_zero and not is_fast
        if writes and not self._owns_folder:
            self._lock = lock_run_folder(self.directory.parent)
            self._owns_folder = True
            self._clear()  # what a killed run left
        given = trainer.strategy.checkpoint_io
        # Nothing tells when a file of AsyncCheckpointIO is whole, and may be renamed.
        if type(given) is TorchCheckpointIO or isinstance(given, AsyncCheckpointIO):
            trainer.strategy.checkpoint_io = DirectCheckpointIO()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        try:
            self.finish_writing()
        finally:
            self._release()

    def finish_writing(self) -> None:
        """Wait until the checkpoint that is being written is there."""
        self._writer.finish()

    def _release(self) -> None:
        unlock_run_folder(self._lock)
        self._lock, self._owns_folder = None, False

    def _clear(self) -> None:
        for name in PARTS:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if self.directory is None:
            raise RuntimeError("RunCheckpoint is used before its setup")
        return self.directory / name

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        best = self._path("best.ckpt")
        if best.is_file() and self.best_value is not None:  # of the run that is resumed
            self.best_model_path = str(best)
        elif self.keep_best:  # a run resumed in another folder chooses its best anew
            self.best_value = self.best_epoch = None

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        self._writer.check()
        step, batch = trainer.global_step, trainer.fit_loop.batch_idx + 1
        # Not after an epoch's last batch: Lightning would take the epoch for complete and skip its
        # validation when it resumes.
        if batch >= trainer.num_training_batches or step == self._saved_step:
            return
        if is_batch_norm_pass(trainer):
            return
        if batch % trainer.accumulate_grad_batches:
            return  # gradients that wait for their step are in no checkpoint
        due = self.every_n_steps and step % self.every_n_steps == 0
        # several processes may not have got the signal alike
        asked_to_end = trainer.received_sigterm and trainer.world_size == 1
        # Processes save together, and a loss may get lost in one of them first.
        together = trainer.strategy.reduce_boolean_decision
        if (due or asked_to_end) and together(_is_loss_finite(pl_module)):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if is_batch_norm_pass(trainer):  # after the last epoch: that is what a run resumes from
            return
        history = getattr(pl_module, "history", [])
        row = history[-1] if history else {}
        value = row.get(self.monitor)
        if value is None and self.keep_best and "val_loss" in row:
            raise InputError(
                f"There is no figure {self.monitor} to choose best.ckpt by; there are "
                f"{', '.join(row)}. Give one of them as --checkpoint.monitor."
            )
        is_best = self._is_best(value)
        if is_best:
            self.best_value, self.best_epoch = value, row["epoch"]
        self._save(trainer, best=is_best and self.keep_best)

    def _is_best(self, value: float | None) -> bool:
        if value is None or math.isnan(value):
            return False
        best = self.best_value
        return best is None or (value < best if self.mode == "min" else value > best)

    def _save(self, trainer: L.Trainer, best: bool = False) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        self._saved_step = trainer.global_step
        temporary = self._path("last.writing")
        self._writer.finish()  # it writes under the same name
        # Every process takes part; the first one writes, and holds what it would write.
        checkpoint_io = trainer.strategy.checkpoint_io
        if isinstance(checkpoint_io, DirectCheckpointIO):
            with checkpoint_io.holding() as held:
                trainer.save_checkpoint(temporary)
            content = held.get(str(temporary))
        else:  # a plugin of the user's writes by itself
            trainer.save_checkpoint(temporary)
            content = None
        if trainer.is_global_zero:
            self._writer.start(partial(_write, content, temporary, best))
        if best:
            self.best_model_path = str(self._path("best.ckpt"))
        trainer.strategy.barrier("checkpoint saved")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.finish_writing()
        trainer.strategy.barrier("last checkpoint written")
        by = "StochasticWeightAveraging" if has_averaged(trainer) else ""
        by = by or ("use_ema" if keeps_averages(trainer.optimizers) else "")
        if not by or getattr(trainer, "fast_dev_run", False):
            return
        if trainer.is_global_zero:
            last = self._path("last.ckpt")
            temporary = last.with_suffix(".writing")
            checkpoint = torch.load(last, map_location="cpu", weights_only=True)
            checkpoint[TRAINED_WEIGHTS] = checkpoint["state_dict"]
            checkpoint["state_dict"] = pl_module.state_dict()
            trainer.strategy.checkpoint_io.save_checkpoint(checkpoint, temporary)
            _sync(temporary)
            os.replace(temporary, last)
        rank_zero_print(
            f"last.ckpt holds the weights that {by} has averaged; the figures of the epochs are of "
            "the weights before."
        )

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        try:
            self.finish_writing()
        except Exception as error:  # what ends the run is told first of all
            print_message(
                f"The latest checkpoint could not be written ({error}). The one before it is "
                "untouched."
            )
        if self._owns_folder and self.directory is not None:  # else another fit writes there
            self._clear()
            ending = next((v for kind, v in ENDINGS.items() if isinstance(exception, kind)), None)
            run = shlex.quote(str(self.directory.parent))
            command = f"python -m signs_lightning fit --ckpt_path {run}"
            if ending and (self.directory / "last.ckpt").is_file():
                print_with_value(f"{ending} Resume with:", command, is_command=True)
            elif ending:
                print_message(f"{ending} There was no checkpoint yet.")
        self._release()

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, its epoch, and what it is of."""
        names = ("best_value", "best_epoch", "monitor", "mode")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best value so far, unless another metric is monitored now."""
        monitor = state_dict.get("monitor", self.monitor)
        if (monitor, state_dict.get("mode", self.mode)) == (self.monitor, self.mode):
            self.best_value, self.best_epoch = state_dict["best_value"], state_dict["best_epoch"]


def _is_loss_finite(pl_module: L.LightningModule) -> bool:
    """Whether the epoch's loss is a number so far: lost weights replace no good ones."""
    totals = getattr(pl_module, "train_totals", None)
    return totals is None or bool(totals.loss_sum.isfinite())


def _write(content: memoryview | None, temporary: Path, best: bool) -> None:
    """Bring a checkpoint under its final names.

    Args:
        content: its bytes; None where they are in the temporary file already.
        temporary: `last.writing`.
        best: whether it becomes `best.ckpt`, too.
    """
    if content is not None:
        write_bytes(content, temporary)
    _sync(temporary)
    if best:  # first: a run killed in between repeats this epoch, and chooses it again
        copy = temporary.with_name("best.writing")
        copy.unlink(missing_ok=True)
        try:
            os.link(temporary, copy)  # the same bytes under a second name
        except OSError:  # a file system without links
            shutil.copy2(temporary, copy)
            _sync(copy)
        os.replace(copy, temporary.with_name("best.ckpt"))
    os.replace(temporary, temporary.with_name("last.ckpt"))


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
