"""What is counted while a model trains and is tested, exactly and on any number of processes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

TOTALS = ("loss_sum", "correct", "count", "lost_at")
NEVER = 2**62


class EpochTotals(Metric):
    """Loss and accuracy over an epoch as Keras reports them: means over its images, taken while the weights change.

    Sums stay on the device until `compute`, so a step costs no synchronisation; processes are added
    up there.
    """

    full_state_update = False
    loss_sum: Tensor
    correct: Tensor
    count: Tensor
    lost_at: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("lost_at", torch.tensor(NEVER), dist_reduce_fx="min")

    def update(
        self, loss: Tensor, predicted: Tensor, labels: Tensor, step: int | None = None
    ) -> None:
        """Adds a batch: its mean loss (), predicted classes int64 (N,) and labels int64 (N,), and the step where a loss may get lost."""
        images = len(labels)
        if images:  # the mean loss of no images is NaN
            self.loss_sum += loss * images
            self.correct += (predicted == labels).sum()
            self.count += images
            if step is not None:
                self.lost_at = torch.where(
                    loss.isfinite(), self.lost_at, self.lost_at.clamp(max=step)
                )

    def compute(self) -> dict[str, Tensor]:
        """`loss`, `accuracy`: float32 (); `correct`, `count`, and `lost_at`, the first step whose loss is no number: int64 ()."""
        return {
            "loss": self.loss_sum / self.count,
            "accuracy": self.correct / self.count,
            "correct": self.correct,
            "count": self.count,
            "lost_at": self.lost_at,
        }


def wilson_interval(correct: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), by default at 95% confidence.

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
    """`94/120 = 0.783 (95% interval 0.701–0.848)`: k/n, the accuracy and its Wilson interval."""
    low, high = wilson_interval(correct, count)
    return f"{correct}/{count} = {correct / count:.3f} (95% interval {low:.3f}–{high:.3f})"


@dataclass(frozen=True)
class Evaluation:
    """What a test found.

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
        """One row a class: name, precision, recall, f1 (each in 0..1, 0 where undefined) and the number of images."""
        hits = self.confusion.diagonal().double()
        labelled, predicted = self.confusion.sum(1), self.confusion.sum(0)
        precision, recall = hits / predicted.clamp(min=1), hits / labelled.clamp(min=1)
        f1 = 2 * hits / (labelled + predicted).clamp(min=1)
        return [
            {
                "class": name,
                "precision": precision[k].item(),
                "recall": recall[k].item(),
                "f1": f1[k].item(),
                "images": int(labelled[k]),
            }
            for k, name in enumerate(self.class_names)
        ]

    def __str__(self) -> str:
        return f"accuracy {describe_accuracy(self.correct, self.count)}, loss {self.loss:.4f}"
