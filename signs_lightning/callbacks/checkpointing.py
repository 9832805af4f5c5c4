"""The run's checkpoints: `last.ckpt` after every epoch, `best.ckpt` where something may be chosen by validation."""

from __future__ import annotations

import io
import math
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from signs_lightning.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


PARTS = ("last.writing", "best.writing")  # temporary names
RUN_LOCKS: set[int] = set()  # descriptors that lock this process's run folders


class DirectCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint where it is told to.

    Lightning's own writes it into the system's folder for temporary files first, where a killed run
    leaves it behind, and which may be full or a disk of its own.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        # Releases of PyTorch up to 2.8 at least keep a function of SWALR's own in its state, which
        # does not load without code.
        owners = [
            state for state in checkpoint.get("callbacks", {}).values() if isinstance(state, dict)
        ]
        for state in (
            *(owner.get("scheduler_state") for owner in owners),
            *checkpoint.get("lr_schedulers", []),
        ):
            if isinstance(state, dict):
                state.pop("anneal_func", None)
        content = (
            io.BytesIO()
        )  # torch.save into a file that cannot grow ends in a RuntimeError that doesn't say why
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content.getbuffer())


class RunCheckpoint(Checkpoint):
    """Keeps `checkpoints/last.ckpt`, and `best.ckpt` by the smallest (or largest) monitored figure.

    A checkpoint is written under a temporary name, synced and renamed: whatever happens, the file
        under the final name is whole.

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
        self._patience: dict[int, int] = {}
        self._ours = False  # whether the folder is this process's to write into
        self._claim: int | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        directory = trainer.log_dir or trainer.default_root_dir  # the same on every process
        self.directory = Path(directory) / "checkpoints"
        self._patience = {id(other): other.patience for other in trainer.early_stopping_callbacks}
        writes = (
            stage == "fit"
            and trainer.is_global_zero
            and not getattr(trainer, "fast_dev_run", False)
        )
        if writes and not self._ours:
            self._claim = _lock_run_folder(self.directory.parent)
            self._ours = True
            self._clear()  # what a killed run left
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = DirectCheckpointIO()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._release()

    def _release(self) -> None:
        if self._claim is not None and self._claim in RUN_LOCKS:
            RUN_LOCKS.remove(self._claim)
            os.close(self._claim)
        self._claim, self._ours = None, False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for other in trainer.early_stopping_callbacks:
            # The patience is that given for this run, not the one that its checkpoint brings back.
            other.patience = self._patience.get(id(other), other.patience)
            # A run that was over when it was killed stays over.
            if other.wait_count >= other.patience:
                trainer.should_stop = True
        best = self._path("best.ckpt")
        if best.is_file() and self.best_value is not None:  # of the run that is resumed
            self.best_model_path = str(best)
        elif self.keep_best:  # it goes on in another folder, where the best so far is chosen anew
            self.best_value = self.best_epoch = None

    def _clear(self) -> None:
        for name in PARTS:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if self.directory is None:
            raise RuntimeError("RunCheckpoint is used before its setup")
        return self.directory / name

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        # Not after an epoch's last batch: Lightning would take the epoch for complete and skip its
        # validation when it resumes.
        if batch_idx + 1 >= trainer.num_training_batches or step == self._saved_step:
            return
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # gradients that wait for their step are in no checkpoint
        due = self.every_n_steps and step % self.every_n_steps == 0
        asked_to_end = (
            trainer.received_sigterm and trainer.world_size == 1
        )  # several processes may not have heard of it alike
        # Processes save together, and a loss may get lost in one of them first.
        if (due or asked_to_end) and trainer.strategy.reduce_boolean_decision(
            self._healthy(pl_module)
        ):
            self._save(trainer)

    @staticmethod
    def _healthy(pl_module: L.LightningModule) -> bool:
        """Whether the epoch's loss is a number so far: weights that are lost replace no good ones."""
        totals = getattr(pl_module, "train_totals", None)
        return totals is None or bool(totals.loss_sum.isfinite())

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        history = getattr(pl_module, "history", [])
        value = history[-1].get(self.monitor) if history else None
        if value is None and self.keep_best and history and "val_loss" in history[-1]:
            raise InputError(
                f"There is no figure {self.monitor} to choose best.ckpt by; there are "
                f"{', '.join(history[-1])}. Give one of them as "
                "--checkpoint.monitor."
            )
        better = (
            value is not None
            and not math.isnan(value)
            and (
                self.best_value is None
                or (value < self.best_value if self.mode == "min" else value > self.best_value)
            )
        )
        if better:
            self.best_value, self.best_epoch = value, history[-1]["epoch"]
        self._save(trainer, best=better and self.keep_best)

    def _save(self, trainer: L.Trainer, best: bool = False) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        self._saved_step = trainer.global_step
        last = self._path("last.ckpt")
        temporary = last.with_suffix(".writing")
        trainer.save_checkpoint(temporary)  # every process takes part, the first one writes
        if trainer.is_global_zero:
            _sync(temporary)
            if best:  # first: a run killed in between repeats this epoch, and chooses it again
                copy = last.with_name("best.writing")
                copy.unlink(missing_ok=True)
                try:
                    os.link(temporary, copy)  # the same bytes under a second name
                except OSError:  # a file system without links
                    shutil.copy2(temporary, copy)
                    _sync(copy)
                os.replace(copy, last.with_name("best.ckpt"))
            os.replace(temporary, last)
        if best:
            self.best_model_path = str(last.with_name("best.ckpt"))
        trainer.strategy.barrier("checkpoint saved")

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if (
            self._ours and self.directory is not None
        ):  # another fit's half-written checkpoint is left to it
            self._clear()
            words = {KeyboardInterrupt: "Interrupted.", SIGTERMException: "Asked to end (SIGTERM)."}
            word = next((text for kind, text in words.items() if isinstance(exception, kind)), None)
            if word and (self.directory / "last.ckpt").is_file():
                print(
                    f"{word} Go on with: python -m signs_lightning fit --ckpt_path "
                    f"{self.directory.parent}",
                    flush=True,
                )
            elif word:
                print(f"{word} There was no checkpoint yet.", flush=True)
        self._release()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on choosing: the best value so far and its epoch."""
        return {
            "best_value": self.best_value,
            "best_epoch": self.best_epoch,
            "monitor": self.monitor,
            "mode": self.mode,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best value so far from a checkpoint, unless another figure is to choose from here on."""
        if (state_dict.get("monitor", self.monitor), state_dict.get("mode", self.mode)) == (
            self.monitor,
            self.mode,
        ):
            self.best_value, self.best_epoch = state_dict["best_value"], state_dict["best_epoch"]


def _lock_run_folder(folder: Path) -> int | None:
    """Locks a run folder for this process; the lock goes with the process, however it ends. None where there are no locks."""
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(
            f"{folder} is in use by another fit. Wait for it, or start a new run "
            "in a folder of its own."
        ) from error
    except OSError:  # a file system without locks
        pass
    RUN_LOCKS.add(handle)
    return handle


def _close_locks_after_fork() -> None:
    """A forked process that reads ahead must not keep the folder locked after this one: it notices its parent's end seconds later."""
    for handle in RUN_LOCKS:
        os.close(handle)
    RUN_LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_locks_after_fork)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
