"""Where a model, its checkpoint and the data must agree, and which one wins where they do not; and when a run must not go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from signs_lightning.errors import InputError
from signs_lightning.models.metrics import NEVER

WITH_STATE = (
    "amsgrad",
    "centered",
    "momentum",
)  # settings of optimizers that keep another tensor for each parameter


def check_data_compatibility(
    given: Mapping[str, Any],
    num_classes: int,
    image_size: tuple[int, int, int],
    class_names: list[str] | None,
) -> None:
    """Compares what a model (or its checkpoint) was made for with the data.

    Args:
        given: the model's num_classes, class_names and image_size; None where it takes the data's.
        num_classes: number of classes K of the data.
        image_size: height, width (pixels) and channels of the data.
        class_names: the K names, where the data list them.

    Raises:
        InputError: they differ.
    """
    if given["num_classes"] is not None and given["num_classes"] != num_classes:
        raise InputError(
            f"The model was made for {given['num_classes']} classes, the data have {num_classes}. "
            "Train a new model on these data, or name the file that it was made for."
        )
    if class_names and given["class_names"] and list(given["class_names"]) != list(class_names):
        raise InputError(
            f"The model was made for the classes {', '.join(given['class_names'])}, the data have "
            f"{', '.join(class_names)}. Train a new model on these data, or name the file that it "
            "was made for."
        )
    if given["image_size"] is not None and tuple(given["image_size"]) != tuple(image_size):
        (h, w, c), (height, width, channels) = given["image_size"], image_size
        if c != channels:
            raise InputError(
                f"The model takes images of {c} channels, the data have {channels}. Train a new "
                "model on them."
            )
        raise InputError(
            f"The model takes {h}×{w} images, the data have {height}×{width}. "
            f"Add `--data.image_size {h if h == w else f'[{h},{w}]'}` to resize them."
        )


def check_class_counts(given: Mapping[str, Any], num_classes: int) -> None:
    """Compares lists that have an entry for each class with the number of classes, as soon as that is known.

    Args:
        given: the model's class_names and class_weights, where it has them.
        num_classes: number of classes K.

    Raises:
        InputError: one of them has another length.
    """
    for name, entries in (("class_names", "names"), ("class_weights", "values")):
        values = given.get(name)
        if values is not None and len(values) != num_classes:
            raise InputError(
                f"{name} has {len(values)} {entries}, expected one for each of "
                f"{num_classes} classes."
            )


def check_arguments(
    loss: Any,
    class_weights: Any,
    label_smoothing: float,
    schedule: Any,
    lr_scheduler: Any,
    warmup: float | None,
) -> None:
    """Compares a model's arguments, as `ImageClassifier` describes them, with each other.

    Raises:
        InputError: two of them exclude each other, or one is out of its range.
    """
    if loss is not None and (class_weights is not None or label_smoothing):
        name = "label_smoothing" if class_weights is None else "class_weights"
        raise InputError(
            f"{name} and loss are both given. Put it into the loss, or drop one of them."
        )
    if schedule is not None and lr_scheduler is not None:
        raise InputError("schedule and lr_scheduler are both given. Drop one of them.")
    if schedule == "cosine_annealing" and warmup is not None:
        raise InputError(
            "warmup is given, and schedule cosine_annealing has none. Drop it, "
            "or take schedule cosine."
        )
    if not 0 <= label_smoothing < 1:
        raise InputError(
            f"label_smoothing is {label_smoothing:g}, expected a share from 0 up to 1 (exclusive)."
        )


def check_finite_loss(totals: Mapping[str, Tensor], trainer: Any) -> None:
    """Ends a run whose loss is no number any more, before the epoch's checkpoint is written.

    Args:
        totals: what `EpochTotals.compute` found.
        trainer: the Lightning Trainer, for the message.

    Raises:
        InputError: the loss of a step was NaN or infinite.
    """
    if bool(totals["loss"].isfinite()) or int(totals["lost_at"]) == NEVER:
        return
    lr = trainer.optimizers[0].param_groups[0]["lr"]
    epoch = trainer.current_epoch
    folders = [getattr(callback, "directory", None) for callback in trainer.checkpoint_callbacks]
    is_kept = any(folder is not None and (folder / "last.ckpt").is_file() for folder in folders)
    kept = "The last checkpoint is untouched." if is_kept else "No checkpoint was written."
    cure = "Lower `--model.lr`, or clip gradients with `--trainer.gradient_clip_val 1`"
    if str(trainer.precision).startswith("16"):
        cure += ", or use `--trainer.precision bf16-mixed`, which has a wider range than 16-mixed"
    raise InputError(
        f"The loss is not a finite number any more since step {int(totals['lost_at']) + 1} (epoch "
        f"{epoch + 1}, learning rate {lr:g}). "
        f"{cure}. {kept}"
    )


def check_resume_compatibility(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """A run goes on with the state of its optimizer and of its schedule, which others cannot take; and a learning rate that falls until
    the run ends cannot go on after that end.

    Args:
        before: optimizer and lr_scheduler (their classes), schedule, warmup and schedule_steps of
            the run that is resumed.
        now: those of the run that goes on.

    Raises:
        InputError: they differ.
    """
    for name in ("optimizer", "lr_scheduler", "schedule", "warmup"):
        if name in before and before[name] != now[name]:
            was, given = (what[name] or "none" for what in (before, now))
            raise InputError(
                f"The run was begun with {name} {was} and cannot go on with {name} {given}. Leave "
                f"--model.{name} as it was, or begin a "
                "new run."
            )
    if before["schedule_steps"] != now["schedule_steps"]:
        by_epoch = now["schedule"] == "cosine_annealing"
        unit, others = (
            ("epochs", "") if by_epoch else ("steps", ", batch size and number of processes")
        )
        raise InputError(
            f"The schedule of this run was made for {before['schedule_steps']:,} {unit}, the run "
            "that goes on has "
            f"{now['schedule_steps']:,}. Leave --trainer.max_epochs{others} as "
            f"{'it was' if by_epoch else 'they were'}, or begin a new run."
        )


def optimizer_settings(optimizer: Optimizer, lr: float | None) -> dict[str, Any]:
    """What an optimizer was made with, as plain values that a checkpoint may hold; without its learning rate where the model has one."""
    return {
        name: value
        for name, value in _plain(optimizer.defaults).items()
        if name != "lr" or lr is None
    }


def scheduler_settings(scheduler: LRScheduler) -> dict[str, Any]:
    """What a scheduler was made with, as it is before its first step, less what the learning rate decides."""
    return {
        name: value
        for name, value in _plain(vars(scheduler)).items()
        if name[0] != "_" and "lr" not in name
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if isinstance(value, bool | int | float | str | tuple | None)
    }


def apply_scheduler_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], checkpoint: dict[str, Any]
) -> None:
    """The same for a scheduler: what ReduceLROnPlateau waits for may change, a rate that follows the number of steps has its course.

    Args:
        before: `scheduler_settings` of the run that is resumed.
        now: those of the run that goes on.
        checkpoint: whose states of schedulers are changed.

    Raises:
        InputError: the course would change.
    """
    changed = {
        name: value for name, value in now.items() if name in before and before[name] != value
    }
    if now.get("watched") != before.get("watched", "val_loss") and "patience" in now:
        # The best of one figure says nothing of another. (Runs from before this was kept all
        # watched val_loss.)
        changed |= {"best": now["best"], "num_bad_epochs": 0}
    if changed and "patience" not in now:
        name, value = next(iter(changed.items()))
        raise InputError(
            f"The run was begun with lr_scheduler {name} {before[name]} and cannot go on with "
            f"{value}. Leave it as it was, or "
            "begin a new run."
        )
    for state in checkpoint.get("lr_schedulers", []):
        state.update({name: value for name, value in changed.items() if name != "watched"})


def apply_optimizer_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], checkpoint: dict[str, Any]
) -> None:
    """Settings that are given anew for a run that goes on beat those that the optimizer's saved state would bring back.

    Args:
        before: `optimizer_settings` of the run that is resumed.
        now: those of the run that goes on.
        checkpoint: whose states of optimizer and schedule are changed.

    Raises:
        InputError: the optimizer has kept no state for one of them.
    """
    for name, value in now.items():
        if name not in before or before[name] == value:
            continue
        if name in WITH_STATE and not before[name]:
            raise InputError(
                f"The run was begun with {name} {before[name]}, and its optimizer kept nothing "
                f"that {name} {value} could go on with. Leave "
                "it as it was, or begin a new run."
            )
        if name == "lr":
            apply_learning_rate(value, checkpoint)
            continue
        for state in checkpoint.get("optimizer_states", []):
            for group in state["param_groups"]:
                # KerasAdam keeps its epsilon under a name of its own.
                for key in {name, f"keras_{name}"} & group.keys():
                    group[key] = tuple(value) if isinstance(value, list) else value


def apply_learning_rate(lr: float | None, checkpoint: dict[str, Any]) -> None:
    """A learning rate given for this run beats the one that the optimizer's saved state would bring back; changes the checkpoint."""
    if lr is None or lr == checkpoint.get("hyper_parameters", {}).get("lr"):
        return
    factor = 1.0
    for state in checkpoint.get("optimizer_states", []):
        for group in state["param_groups"]:
            # the peak of a cycle, or where a schedule began
            old = group.get("max_lr", group.get("initial_lr", group["lr"]))
            factor = lr / old
            group["lr"] = (
                lr if group["lr"] == old else group["lr"] * factor
            )  # a schedule keeps its place
            for key in {"initial_lr", "max_lr", "min_lr"} & group.keys():
                group[key] = lr if group[key] == old else group[key] * factor
    for state in checkpoint.get("lr_schedulers", []):
        for part in (state, *state.get("_schedulers", [])):
            for key in {"base_lrs", "_last_lr"} & part.keys():
                part[key] = [value * factor for value in part[key]]
