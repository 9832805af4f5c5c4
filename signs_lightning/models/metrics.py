"""Exact loss and metrics, on any number of processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix

from signs_lightning.errors import InputError
from signs_lightning.runtime.display_table import Displayed, DisplayTable
from signs_lightning.runtime.terminal import format_figure

TOTALS = ("loss_sum", "correct", "count", "lost_at")
NEVER = 2**62


class EpochTotals(Metric):
    """Loss and accuracy over an epoch, while the weights change, as in Keras.

    Args:
        figure: what the share of images that are right is called; None where nothing is.

    Sums stay on the device until `compute`, so that a step costs no synchronisation; there those of
    all processes are added up.
    """

    full_state_update = False
    loss_sum: Tensor
    correct: Tensor
    count: Tensor
    lost_at: Tensor

    def __init__(self, figure: str | None = "accuracy") -> None:
        super().__init__()
        self.figure = figure
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("lost_at", torch.tensor(NEVER), dist_reduce_fx="min")

    def update(
        self, loss: Tensor, predicted: Tensor, labels: Tensor, step: int | None = None
    ) -> None:
        """Add a batch.

        Args:
            loss: its mean loss, float ().
            predicted: classes, int64 (N,); or float (N, K), of which all K must be right.
            labels: of that shape.
            step: of the optimizer; the first one whose loss is no number is kept.
        """
        images = len(labels)
        if images == 0:  # the mean loss of no images is NaN
            return
        self.loss_sum += loss * images
        is_right = predicted == labels
        self.correct += (is_right if is_right.dim() == 1 else is_right.all(dim=1)).sum()
        self.count += images
        if step is not None:
            lost_at = self.lost_at.clamp(max=step)
            self.lost_at = torch.where(loss.isfinite(), self.lost_at, lost_at)

    def figures(self) -> dict[str, float]:
        """Return what an epoch's row of the history has of them."""
        totals = self.compute()
        share = {} if self.figure is None else {self.figure: totals["accuracy"].item()}
        return {"loss": totals["loss"].item(), **share}

    def compute(self) -> dict[str, Tensor]:
        """Return float32 () loss and accuracy, int64 () correct, count and lost_at.

        `lost_at` is the first step whose loss is no number, or `NEVER`.
        """
        return {
            "loss": self.loss_sum / self.count,
            "accuracy": self.correct / self.count,
            "correct": self.correct,
            "count": self.count,
            "lost_at": self.lost_at,
        }


def may_hold_padding(trainer: L.Trainer, images: int, batch_idx: int) -> bool:
    """Whether a batch may hold images without a label, which pad processes' shares.

    They come last, so that only the last batches need a look: looking makes a GPU wait.

    Args:
        trainer: that validates or tests.
        images: number of images N of the batch.
        batch_idx: number of the batch.
    """
    batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
    left = (sum(batches[:1]) - batch_idx - 2) * images
    return trainer.world_size > 1 and left < trainer.world_size


def counted_images(labels: Tensor) -> Tensor:
    """Return which images count, bool (N,): those with a label that is neither -1 nor NaN."""
    return labels >= 0 if labels.dim() == 1 else ~labels[:, 0].isnan()


def collect(metrics: Sequence[Metric], prefix: str) -> MetricCollection:
    """Return metrics that are updated together, each under the name of its class.

    Raises:
        InputError: two have the same name.
    """
    names = [type(metric).__name__ for metric in metrics]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(
            f"metrics has {twice} twice, and a figure is named after its class. Leave one out, or "
            "derive a class of another name from it."
        )
    return MetricCollection(list(metrics)).clone(prefix=prefix)


class EvaluationMetrics(nn.Module):
    """Loss, accuracy and further metrics of a validation or a test.

    Args:
        prefix: of the metrics' names, "val_" or "test_".
        further: torchmetrics that see probabilities (N, K), of a binary model (N,).
        num_classes: number of classes K, for a confusion matrix; None for none.
    """

    figures = ("loss", "accuracy")  # of every epoch

    def __init__(
        self, prefix: str, further: Sequence[Metric], num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.prefix = prefix
        self.totals = EpochTotals()
        self.further = collect(further, prefix)
        self.num_classes = num_classes
        self.confusion: Metric | None = None  # of a test that is under way: K² numbers

    @property
    def names(self) -> list[str]:
        """Names of the further metrics."""
        return [str(name) for name in self.further]

    def update(
        self, loss: Tensor, predicted: Tensor, labels: Tensor, probabilities: Tensor
    ) -> None:
        """Add a batch.

        Args:
            loss: its mean loss, float ().
            predicted: classes, int64 (N,).
            labels: int64 (N,).
            probabilities: float (N, K), of a binary model (N,).
        """
        self.totals.update(loss, predicted, labels)
        if self.names:
            self.further.update(probabilities, labels)
        if self.num_classes is not None:
            if self.confusion is None:
                confusion = MulticlassConfusionMatrix(self.num_classes, validate_args=False)
                self.confusion = confusion.to(labels.device)
            self.confusion.update(predicted, labels)

    def result(self, class_names: list[str]) -> tuple[Evaluation, dict[str, float]]:
        """Return the result since the last call, and metrics to be logged."""
        totals = self.totals.compute()
        evaluation = Evaluation(
            loss=totals["loss"].item(),
            correct=int(totals["correct"]),
            count=int(totals["count"]),
            class_names=class_names,
            confusion=torch.empty(0) if self.confusion is None else self.confusion.compute().cpu(),
        )
        metrics = {"loss": evaluation.loss, "accuracy": totals["accuracy"].item()}
        for row in [] if self.confusion is None else evaluation.per_class():
            for name in ("precision", "recall", "f1"):
                metrics[f"{name}/{row['class']}"] = float(row[name])
        metrics = {self.prefix + name: value for name, value in metrics.items()}
        metrics |= {name: value.item() for name, value in self.further.compute().items()}
        self.totals.reset()
        self.further.reset()
        self.confusion = None
        return evaluation, metrics


def wilson_interval(correct: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson 1927), by default at 95% confidence.

    Args:
        correct: number of successes k.
        count: number of trials n, at least 1.
        z: quantile of the standard normal distribution.

    Returns:
        Lower and upper bound, both in 0..1.
    """
    p = correct / count
    scale = 1 + z * z / count
    center = (p + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return max(0.0, center - half), min(1.0, center + half)


def describe_accuracy(correct: int, count: int) -> str:
    """Write k/n, accuracy and interval: `94/120 = 0.783 (95% interval 0.701–0.848)`."""
    low, high = wilson_interval(correct, count)
    return f"{correct}/{count} = {correct / count:.3f} (95% interval {low:.3f}–{high:.3f})"


@dataclass(frozen=True, repr=False)
class Evaluation(Displayed):
    """The result of a test; it shows itself as a table of the classes.

    Attributes:
        loss: mean loss per image.
        correct: number of images k whose most probable class is their label.
        count: number of images n.
        class_names: the K classes, in label order.
        confusion: int64 (K, K), row = label, column = prediction.
    """

    loss: float
    correct: int
    count: int
    class_names: list[str]
    confusion: Tensor

    def per_class(self) -> list[dict[str, float | int | str]]:
        """Return a row per class: name, precision, recall, f1 (0 if undefined), images."""
        hits = self.confusion.diagonal().double()
        labelled, predicted = self.confusion.sum(1), self.confusion.sum(0)
        precision, recall = hits / predicted.clamp(min=1), hits / labelled.clamp(min=1)
        f1 = 2 * hits / (labelled + predicted).clamp(min=1)
        figures = {"precision": precision, "recall": recall, "f1": f1}
        return [
            {"class": name}
            | {key: values[k].item() for key, values in figures.items()}
            | {"images": int(labelled[k])}
            for k, name in enumerate(self.class_names)
        ]

    def __str__(self) -> str:
        figure = format_figure(self.loss)
        return f"accuracy {describe_accuracy(self.correct, self.count)}, loss {figure}"

    def display_parts(self) -> list[str | DisplayTable]:
        columns = ("class", "precision", "recall", "f1", "images")
        rows = [
            [str(row["class"]), *(f"{row[key]:.3f}" for key in columns[1:4]), f"{row['images']:,}"]
            for row in self.per_class()
        ]
        return [str(self), DisplayTable(columns, rows)]
