"""Images of one class each: cross-entropy, accuracy, a confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.models.class_weights import balanced_weights, describe_imbalance
from signs_lightning.models.losses import cross_entropy, custom_loss
from signs_lightning.models.metrics import EpochTotals, EvaluationMetrics
from signs_lightning.models.tta import mean_logits
from signs_lightning.runtime.rank_zero_print import rank_zero_print

if TYPE_CHECKING:
    from signs_lightning.models.classifier import ImageClassifier
    from signs_lightning.models.model_with_preprocessing import ImageModel


class SingleLabel:
    """What an `ImageClassifier` does with its logits where no task is given."""

    name = None

    def prepare(self, model: ImageClassifier) -> None:
        """Check a model's arguments, before its network is made.

        Raises:
            InputError: one of them belongs to a task.
        """
        for name, task in TASK_ARGUMENTS.items():
            if model.hparams.get(name) is not None:
                raise InputError(f"{name} is given, which only the task {task} has. Leave it out.")

    def build(self, model: ImageClassifier) -> None:
        """Make what depends on the number of classes."""
        given = model.hparams.get("class_weights")
        weights = None if given in (None, "balanced") else torch.tensor(given, dtype=torch.float)
        model.register_buffer("_class_weights", weights, persistent=False)
        model.train_totals = EpochTotals()
        model.val_metrics = EvaluationMetrics("val_", model.metrics)
        model.test_metrics = EvaluationMetrics("test_", model.metrics, model.num_classes)

    def learn(self, model: ImageClassifier, labels: np.ndarray | None) -> None:
        """Take what the training labels tell, before a fit.

        Args:
            model: that is trained.
            labels: int64 (N,); None where nothing tells them.

        Raises:
            InputError: weights are to be balanced, and the labels do not tell them.
        """
        if model.hparams.get("class_weights") == "balanced":
            weights = balanced_weights(labels, model.class_names)
            model.hparams["class_weights"] = weights
            model._class_weights = torch.tensor(weights, dtype=torch.float, device=model.device)
        elif labels is not None and model.hparams.get("class_weights") is None:
            line = describe_imbalance(labels, model.class_names)
            if line is not None and model.loss is None:
                rank_zero_print(line)

    def targets(self, model: ImageClassifier, labels: Tensor) -> Tensor:
        """Labels of a batch → what the loss takes."""
        return labels

    def loss(
        self, model: ImageClassifier, logits: Tensor, targets: Tensor, training: bool
    ) -> Tensor:
        """Return the mean loss () of a batch, see `ImageClassifier.compute_loss`."""
        if model.loss is not None:
            return custom_loss(model.loss, logits, targets, model.binary)
        weights = model._class_weights if training else None
        smoothing = model.hparams.get("label_smoothing") if training else None
        return cross_entropy(logits, targets, model.binary, weights, smoothing or 0.0)

    def outputs(self, model: ImageModel, logits: Tensor) -> Tensor:
        """Logits float32 (N, K), or (N, 1) of a binary model → probabilities (N, K)."""
        if model.independent:
            return logits.sigmoid()
        if model.binary:
            positive = logits.sigmoid()
            return torch.cat([1 - positive, positive], dim=1)
        return logits.softmax(dim=1)

    def mean_logits(self, model: ImageModel, logits: list[Tensor]) -> Tensor:
        """Logits of several views of images → those of their mean probabilities."""
        return mean_logits(
            [model.probabilities(part) for part in logits], model.binary, model.independent
        )

    def decided(self, model: ImageClassifier, logits: Tensor) -> Tensor:
        """Logits → int64 (N,): the most probable class; a tie of two is class 0."""
        return (logits.squeeze(1) > 0).long() if model.binary else logits.argmax(dim=1)

    def seen_by_metrics(self, model: ImageClassifier, logits: Tensor) -> Tensor:
        """Logits → probabilities float32 (N, K), of a binary model (N,)."""
        probabilities = model.probabilities(logits)
        return probabilities[:, 1] if model.binary else probabilities


# argument of a model → the task that it is for
TASK_ARGUMENTS: dict[str, str] = {
    "thresholds": "multilabel", "target_mean": "regression", "target_scale": "regression",
}  # fmt: skip


def check_lengths(model: Any, names: tuple[str, ...], is_one_enough: bool = False) -> None:
    """Check that a model's arguments have a number for each of its outputs, once these are known.

    Args:
        model: whose `hparams` are looked at.
        names: of the arguments.
        is_one_enough: whether a single number stands for all.

    Raises:
        InputError: one of them has another length.
    """
    count = model.num_classes
    for name in names if model.hparams.get("num_classes") is not None else ():
        length = len(model.hparams.get(name) or range(count))
        if length != count and not (is_one_enough and length == 1):
            raise InputError(f"{name} has {length} numbers, expected one for each of {count}.")


def refuse_arguments(model: Any, task: str, reasons: dict[str, str]) -> None:
    """Check that a model of a task has no argument that the task does not know.

    Args:
        model: whose `hparams` are looked at.
        task: its name.
        reasons: argument → a sentence that says what to do instead.

    Raises:
        InputError: it has one.
    """
    others = {name: "Leave it out." for name, own in TASK_ARGUMENTS.items() if own != task}
    for name, way_out in {**reasons, **others}.items():
        if model.hparams.get(name):
            raise InputError(f"{name} is given, which the task {task} does not have. {way_out}")
