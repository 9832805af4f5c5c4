"""What fit and validate print at the end: a figure, what it rests on, and where things lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.trainer import Trainer

from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.data.layouts import Role
from signs_lightning.data.shared_files import find_shared_images
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.metrics import describe_accuracy
from signs_lightning.runtime.terminal import format_figure, print_message, print_with_value

TRAINING = ("accuracy", "exact_match")  # of which a run that validates nothing tells the one it has


def print_fit(
    trainer: Trainer, model: ImageClassifier, data: H5DataModule, log_dir: str | None
) -> None:
    """Print accuracy and loss of the epoch that is the result, and where the run's files are.

    Args:
        trainer: whose fit is over.
        model: with a history.
        data: that it was trained on.
        log_dir: the run's folder, or None.
    """
    history = model.history
    checkpoints = [c for c in trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint)]
    checkpoint = checkpoints[0] if checkpoints else None
    row, suffix, is_chosen = history[-1], "(last epoch)", False
    if checkpoint is not None and checkpoint.keep_best and checkpoint.best_epoch is not None:
        row = next(r for r in history if r["epoch"] == checkpoint.best_epoch)
        suffix, is_chosen = f"(best epoch, {int(row['epoch']) + 1} of {len(history)})", True
    if "val_loss" in row:
        count = print_validation(row, model, data, suffix)
        print_message(_explain_validation(data, count, is_chosen, "val_accuracy" in row))
    else:
        loss = format_figure(row["loss"])
        share = [f"{k.replace('_', ' ')} {row[k]:.3f}, " for k in TRAINING if k in row]
        print_message(f"training {''.join(share)}loss {loss} {suffix}")
        print_message(
            "No image was kept out of training, so this does not tell how well the model does on "
            "new ones. Give it some with --data.val_fraction 0.2 or --data.test_file FILE."
        )
    if log_dir is None:
        return
    folder = Path(log_dir)
    files = ["curves.png", "history.csv"]
    if checkpoint is not None:
        has_best = checkpoint.keep_best and (folder / "checkpoints" / "best.ckpt").is_file()
        files.insert(0, f"checkpoints/{'best' if has_best else 'last'}.ckpt")
    print_with_value("run folder  ", str(folder))
    print_message(f"in it        {', '.join(files)}")
    print_with_value("TensorBoard ", f"tensorboard --logdir {folder.parent}")


def print_validation(
    metrics: Mapping[str, Any], model: ImageClassifier, data: H5DataModule, suffix: str = ""
) -> int:
    """Print accuracy and loss of a validation; return how many images it was of.

    Args:
        metrics: val_accuracy and val_loss, or the figures of a task.
        model: that was validated.
        data: that it was validated on.
        suffix: which epoch it is.
    """
    # All images, unless the Trainer limits the batches.
    loader: Any = data.val_dataloader()
    count = model.validated_images or len(loader.dataset)
    if model.task_rules.name is not None:
        figures = {k.removeprefix("val_"): float(v) for k, v in metrics.items() if "val_" in k}
        described = model.task_rules.describe(figures, count)
        print_message(f"validation {described} {suffix}".rstrip())
        return count
    accuracy = describe_accuracy(round(float(metrics["val_accuracy"]) * count), count)
    loss = format_figure(float(metrics["val_loss"]))
    print_message(f"validation accuracy {accuracy}, loss {loss} {suffix}".rstrip())
    return count


def _explain_validation(
    data: H5DataModule, count: int, is_chosen: bool, has_accuracy: bool = True
) -> str:
    """Return what the validation's figure rests on, for who has never heard of it."""
    images = f"The {count:,} validation images"
    figure = "this is its test accuracy" if has_accuracy else "these are its test figures"
    is_split = data.val_fraction is not None
    role: Role = "test" if data.validates_on_test_file else "val"
    if not is_split and find_shared_images(data.opened, "train", role):
        return (
            f"{images} were trained on, too, so this does not tell how well the model does on new "
            "ones."
        )
    if role == "test":
        return (
            f"{images} are those of the test file. No checkpoint was chosen by them: the model "
            f"is that of the last epoch, and {figure}, too."
        )
    if is_split:
        where = "are the part of the training file that was kept out of training"
    else:
        where = "have a file of their own, and were not trained on"
    if not is_chosen:
        return f"{images} {where}."
    return (
        f"{images} {where}. The best epoch was chosen by them, so expect a little less on new "
        "images; `test` on a test file tells how much."
    )
