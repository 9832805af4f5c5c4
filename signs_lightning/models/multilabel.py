"""Several labels an image: a sigmoid for each class, binary cross-entropy, average precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from signs_lightning.errors import InputError
from signs_lightning.models.losses import MIN_PROBABILITY, binary_cross_entropies
from signs_lightning.models.metrics import EpochTotals, describe_accuracy
from signs_lightning.models.single_label import check_lengths, refuse_arguments
from signs_lightning.models.task_metrics import TaskMetrics
from signs_lightning.models.tta import mean_logits
from signs_lightning.runtime.display_table import Displayed, DisplayTable
from signs_lightning.runtime.terminal import format_figure

if TYPE_CHECKING:
    from signs_lightning.models.classifier import ImageClassifier
    from signs_lightning.models.model_with_preprocessing import ImageModel

REFUSED = {
    "class_weights": (
        "Leave it out; in Python, `loss=torch.nn.BCEWithLogitsLoss(pos_weight=…)` weights labels."
    ),
}
FIGURES = ("loss", "mean_ap", "f1", "exact_match")  # of every epoch
THRESHOLD = 0.5  # of a class's probability, above which it is predicted


class Multilabel:
    """What an `ImageClassifier` does with its logits for images of several labels each."""

    name = "multilabel"

    def prepare(self, model: ImageClassifier) -> None:
        """Check a model's arguments, before its network is made.

        Raises:
            InputError: the task does not know one of them, or a threshold is no probability.
        """
        refuse_arguments(model, self.name, REFUSED)
        model.binary, model.independent = False, True
        thresholds = model.hparams.get("thresholds")
        for value in thresholds or ():
            if not 0 <= value <= 1:
                raise InputError(f"A threshold is {value:g}, expected a probability from 0 to 1.")

    def build(self, model: ImageClassifier) -> None:
        """Make what depends on the number of classes."""
        model.register_buffer("_class_weights", None, persistent=False)
        model.train_totals = EpochTotals("exact_match")
        given = model.metrics, torch.long, FIGURES
        model.val_metrics = TaskMetrics("val_", *given, each=False)
        model.test_metrics = TaskMetrics("test_", *given, each=True)
        self.restore(model)

    def restore(self, model: ImageClassifier) -> None:
        """Take the thresholds from the model's `hparams`."""
        check_lengths(model, ("thresholds",), is_one_enough=True)
        thresholds = thresholds_of(model)
        limits = torch.tensor(thresholds, device=model.device)
        model.register_buffer("_thresholds", limits, persistent=False)
        evaluate = partial(evaluate_multilabel, thresholds=thresholds)
        model.val_metrics.evaluate = model.test_metrics.evaluate = evaluate

    def learn(self, model: ImageClassifier, labels: np.ndarray | None) -> None:
        """Take what the training labels tell: nothing."""

    def targets(self, model: ImageClassifier, labels: Tensor) -> Tensor:
        """Labels of a batch → what the loss takes, float32 (N, K)."""
        return labels.float()

    def loss(
        self, model: ImageClassifier, logits: Tensor, targets: Tensor, training: bool
    ) -> Tensor:
        """Return the mean loss () of a batch: the mean over images and classes."""
        if model.loss is not None:
            loss: Tensor = model.loss(logits, targets)
            return loss
        smoothing = model.hparams.get("label_smoothing") if training else None
        return binary_cross_entropies(logits, targets, True, None, smoothing or 0.0)

    def outputs(self, model: ImageModel, logits: Tensor) -> Tensor:
        """Logits float32 (N, K) → probabilities (N, K), each class's own."""
        return logits.sigmoid()

    def mean_logits(self, model: ImageModel, logits: list[Tensor]) -> Tensor:
        """Logits of several views of images → those of their mean probabilities."""
        return mean_logits([model.probabilities(part) for part in logits], False, True)

    def remembered(self, model: ImageModel) -> dict[str, list[float]]:
        """Return what an exported file says of the task, by argument."""
        return {"thresholds": thresholds_of(model)}

    def evaluate_outputs(
        self, model: ImageModel, probabilities: Tensor, labels: Tensor, loss: float | None = None
    ) -> MultilabelEvaluation:
        """Return the figures of probabilities and labels float64 (N, K).

        The loss is the binary cross-entropy of these where none is given.
        """
        bounded = probabilities.clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY)
        loss = F.binary_cross_entropy(bounded, labels).item() if loss is None else loss
        return evaluate_multilabel(
            loss, probabilities, labels, model.class_names, thresholds_of(model)
        )

    def describe(self, figures: dict[str, float], count: int) -> str:
        """Return the figures of an epoch, in words, of so many images."""
        return describe_figures(figures, count)

    def decided(self, model: ImageClassifier, logits: Tensor) -> Tensor:
        """Logits → float (N, K), 1 where the probability is above the class's threshold."""
        return (model.probabilities(logits) > model._thresholds).float()

    def seen_by_metrics(self, model: ImageClassifier, logits: Tensor) -> Tensor:
        """Logits → probabilities float32 (N, K)."""
        return model.probabilities(logits)


def thresholds_of(model: Any) -> list[float]:
    """Return the K probabilities above which a model predicts a class."""
    given = model.hparams.get("thresholds") or [THRESHOLD]
    given = [float(value) for value in given]
    return given * model.num_classes if len(given) == 1 else given


@dataclass(frozen=True, repr=False)
class MultilabelEvaluation(Displayed):
    """The result of a test; it shows itself as a table of the classes.

    Attributes:
        loss: mean loss per image.
        count: number of images n.
        exact: number of images of which every label is right.
        class_names: the K classes, in the order of the labels' columns.
        average_precision: float64 (K,), exact; NaN of a class that no image has.
        precision: float64 (K,), 0 where undefined, as recall and f1.
        recall: float64 (K,).
        f1: float64 (K,).
        images: int64 (K,), how many images have each label.
        thresholds: the K probabilities above which a class is predicted.
    """

    loss: float
    count: int
    exact: int
    class_names: list[str]
    average_precision: Tensor
    precision: Tensor
    recall: Tensor
    f1: Tensor
    images: Tensor
    thresholds: list[float]

    header = ("class", "AP>", "precision>", "recall>", "F1>", "images>")

    @property
    def mean_ap(self) -> float:
        """Mean average precision over the classes that some image has; NaN where none has any."""
        return self.average_precision.nanmean().item()

    def figures(self, each: bool) -> dict[str, float]:
        """Return the figures that are logged, by name; `each` adds those of every class."""
        figures = {"loss": self.loss, "mean_ap": self.mean_ap, "f1": self.f1.mean().item()}
        figures["exact_match"] = self.exact / self.count if self.count else math.nan
        for row in self.per_class() if each else ():
            for name in ("ap", "precision", "recall", "f1"):
                figures[f"{name}/{row['class']}"] = float(row[name])
        return figures

    def per_class(self) -> list[dict[str, float | int | str]]:
        """Return a row per class: name, ap, precision, recall, f1, images, threshold."""
        return [
            {
                "class": name,
                "ap": self.average_precision[k].item(),
                "precision": self.precision[k].item(),
                "recall": self.recall[k].item(),
                "f1": self.f1[k].item(),
                "images": int(self.images[k]),
                "threshold": self.thresholds[k],
            }
            for k, name in enumerate(self.class_names)
        ]

    def cells(self) -> list[list[str]]:
        """Return the rows of the table whose columns are `header`."""
        return [
            [
                str(row["class"]),
                "–" if math.isnan(float(row["ap"])) else f"{row['ap']:.3f}",
                *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")),
                f"{row['images']:,}",
            ]
            for row in self.per_class()
        ]

    def __str__(self) -> str:
        return describe_figures(self.figures(each=False), self.count)

    def display_parts(self) -> list[str | DisplayTable]:
        return [str(self), DisplayTable([name.strip(">") for name in self.header], self.cells())]


def describe_figures(figures: dict[str, float], count: int) -> str:
    """Write `mean AP 0.912, F1 0.850, exact match 94/120 = 0.783 (…), loss 0.210`.

    Args:
        figures: mean_ap, f1, exact_match, and loss where it is known.
        count: number of images.
    """
    exact = describe_accuracy(round(figures["exact_match"] * count), count) if count else "–"
    average = "–" if math.isnan(figures["mean_ap"]) else f"{figures['mean_ap']:.3f}"
    loss = f", loss {format_figure(figures['loss'])}" if "loss" in figures else ""
    return f"mean AP {average}, F1 {figures['f1']:.3f}, exact match {exact}{loss}"


def evaluate_multilabel(
    loss: float, probabilities: Tensor, labels: Tensor, names: list[str], thresholds: list[float]
) -> MultilabelEvaluation:
    """Return the figures of predictions.

    Args:
        loss: mean loss per image.
        probabilities: float64 (N, K).
        labels: float64 (N, K) of 0 and 1.
        names: the K classes.
        thresholds: K probabilities above which a class is predicted.
    """
    truth, (count, classes) = labels.long(), labels.shape
    # As float32, in which a model decides: 0.1 in float64 lies below what is stored as 0.1.
    limits = torch.tensor(thresholds, dtype=torch.float)
    decided = (probabilities.float() > limits).long()
    images = truth.sum(0)
    precisions = [
        binary_average_precision(probabilities[:, k], truth[:, k], thresholds=None).item()
        if images[k]
        else math.nan
        for k in range(classes)
    ]
    hits, given = (decided * truth).sum(0).double(), decided.sum(0)
    return MultilabelEvaluation(
        loss=loss,
        count=count,
        exact=int((decided == truth).all(dim=1).sum()),
        class_names=names,
        average_precision=torch.tensor(precisions, dtype=torch.double),
        precision=hits / given.clamp(min=1),
        recall=hits / images.clamp(min=1),
        f1=2 * hits / (given + images).clamp(min=1),
        images=images,
        thresholds=thresholds,
    )
