"""What a checkpoint remembers of training, and how a model gets it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_history import History
from signs_lightning.models.lightning_callbacks import keep_best_checkpoints
from signs_lightning.models.metrics import TOTALS
from signs_lightning.models.packed_history import HistoryPacker, unpack_history
from signs_lightning.models.resume_optimizers import apply_learning_rate
from signs_lightning.models.start_options import find_start_options
from signs_lightning.models.stochastic_averaging import TRAINED_WEIGHTS
from signs_lightning.models.tasks import restore_task
from signs_lightning.models.tuner_callbacks import is_finder_checkpoint, remove_trainer_finders
from signs_lightning.runtime.format_migrations import FORMAT_VERSION, migrate_checkpoint
from signs_lightning.runtime.own_code import object_path

if TYPE_CHECKING:
    from signs_lightning.models.classifier import ImageClassifier


def training_state(model: ImageClassifier) -> dict[str, Any]:
    """Return what a checkpoint keeps of training, as plain values and tensors."""
    totals, given = model.train_totals, model.given_network
    packer = getattr(model.history, "packer", None) or HistoryPacker()
    network = {} if given is None else {"network": given.name}
    return {
        "format_version": FORMAT_VERSION,
        "model": _class_name(type(model)),
        **network,
        "history": packer.pack(model.history),
        "learning_rate": model.learning_rate,
        "training": model.training_settings,
        "validated_images": model.validated_images,
        "made_with": model.made_with,
        # (world_size,): sums over an epoch that is not over yet, of each process
        "totals": {name: _of_all_processes(getattr(totals, name)).cpu() for name in TOTALS},
    }


def load_training_state(model: ImageClassifier, checkpoint: dict[str, Any]) -> None:
    """Give a model what a checkpoint remembers.

    Args:
        model: whose state is replaced.
        checkpoint: it is brought up to today's names, and to the model's learning rate.

    Raises:
        InputError: the checkpoint is of a later release, or a finder is given for a resumed run
            whose batches had another size.
    """
    # Lightning calls this before data module and callbacks get their states, maybe by old names.
    migrate_checkpoint(checkpoint, "The checkpoint")
    trainer = _resumed_trainer(model)
    if trainer is not None:
        find_start_options(trainer).forget_training(checkpoint)
    state = checkpoint.get("signs_lightning", {})
    model.history = History(dict(row) for row in unpack_history(state.get("history", [])))
    model.learning_rate = state.get("learning_rate", model.learning_rate)
    model.validated_images = int(state.get("validated_images", 0))
    model.earlier_made_with = state.get("made_with")
    model.__dict__.pop("made_with", None)  # cached
    for name, value in state.get("totals", {}).items():
        value = value.reshape(-1)
        rank = model.global_rank if model.global_rank < len(value) else 0
        setattr(model.train_totals, name, value[rank].to(model.device))
    restore_task(model, checkpoint.get("hyper_parameters", {}))
    apply_learning_rate(model.hparams["lr"], checkpoint)
    if model.hparams.get("resize") is None:
        arguments = checkpoint.get("hyper_parameters", {})
        model.hparams.update({name: arguments.get(name) for name in ("resize", "fit")})
    _take_values(model, checkpoint.get("hyper_parameters", {}))
    if trainer is not None:
        remove_trainer_finders(trainer, checkpoint)
        keep_best_checkpoints(trainer, checkpoint)
        if TRAINED_WEIGHTS in checkpoint:
            checkpoint["state_dict"] = checkpoint[TRAINED_WEIGHTS]


def _take_values(model: ImageClassifier, arguments: dict[str, Any]) -> None:
    """Give a model the numbers that its checkpoint was trained on.

    Raises:
        InputError: the data were opened in other numbers already.
    """
    remembered = {name: arguments.get(name) for name in ("value_range", "value_type")}
    before = model.run_values
    if remembered["value_range"] is None:
        return
    model.hparams.update(remembered)
    now = model.run_values
    if before is None or now is None or before == now:
        return
    if not before.are_bytes or not now.are_bytes:
        how = ", rounded to bytes" if now.range == "legacy" else ""
        raise InputError(
            f"The checkpoint was trained on {now}{how}, and the data were opened as {before}. Make "
            "the model by `load_model` of the checkpoint, or with its value_range and value_type."
        )


def _resumed_trainer(model: ImageClassifier) -> L.Trainer | None:
    """Return the Trainer of a model that fits from a checkpoint."""
    try:
        trainer = model.trainer
    except RuntimeError:  # it has none
        return None
    return trainer if is_resumed(trainer) else None


def is_resumed(trainer: L.Trainer) -> bool:
    """Whether a Trainer fits from a checkpoint that is not a finder's own."""
    path = trainer.ckpt_path
    return bool(trainer.training and path and not is_finder_checkpoint(path))


def _class_name(kind: type) -> str:
    """Return a model of this package by its bare name, and the user's by its path, if it has one"""
    is_own = not kind.__module__.startswith("signs_lightning.")
    return object_path(kind) or kind.__name__ if is_own else kind.__name__


def _of_all_processes(value: Tensor) -> Tensor:
    """A number () of each process → (world_size,)."""
    return torch.stack(gather_all_tensors(value) if torch.distributed.is_initialized() else [value])
