"""Predictions of a validation or test, collected, of which a task's figures are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from signs_lightning.models.metrics import EpochTotals, collect


class TaskEvaluation(Protocol):
    """The result of a task's test.

    Attributes:
        header: the columns of its table, with ">" behind those of numbers.
    """

    header: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of images."""

    def cells(self) -> list[list[str]]:
        """Return the rows of its table."""

    def figures(self, each: bool) -> dict[str, float]:
        """Return the figures that are logged, by name; `each` adds those of every column."""


class CollectedPredictions(Metric):
    """All outputs and labels, of all processes: figures such as AP are no sums over images."""

    full_state_update = False
    outputs: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("outputs", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Add a batch: outputs float (N, K), labels float (N, K)."""
        self.outputs.append(outputs.detach())
        self.labels.append(labels)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return all outputs and labels, float64 (N, K) on the CPU."""
        both = (self.outputs, self.labels)
        # After a reduction over processes they are one tensor, else a list of batches.
        parts = [torch.cat(x) if isinstance(x, list) else x for x in both]
        return parts[0].cpu().double(), parts[1].cpu().double()


class TaskMetrics(nn.Module):
    """Loss and figures of a validation or a test of a task.

    `evaluate`, which the task sets, makes the result from loss, outputs and labels float64 (N, K),
    and names.

    Args:
        prefix: of the figures' names, "val_" or "test_".
        further: torchmetrics of the user's, which see outputs and labels (N, K).
        label_dtype: of the labels that those see.
        figures: names of those of every epoch.
        each: whether the figures of every column are logged, too.
    """

    evaluate: Callable[[float, Tensor, Tensor, list[str]], Any]

    def __init__(
        self,
        prefix: str,
        further: Sequence[Metric],
        label_dtype: torch.dtype,
        figures: tuple[str, ...],
        each: bool,
    ) -> None:
        super().__init__()
        self.prefix, self.label_dtype = prefix, label_dtype
        self.figures, self.each = figures, each
        self.totals = EpochTotals(None)
        self.further = collect(further, prefix)
        self.collected = CollectedPredictions()

    @property
    def names(self) -> list[str]:
        """Names of the further metrics."""
        return [str(name) for name in self.further]

    def update(self, loss: Tensor, predicted: Tensor, labels: Tensor, outputs: Tensor) -> None:
        """Add a batch.

        Args:
            loss: its mean loss, float ().
            predicted: not used: figures rest on the outputs.
            labels: float (N, K).
            outputs: float (N, K): probabilities, or values in the labels' units.
        """
        self.totals.update(loss, predicted, labels)
        self.collected.update(outputs, labels)
        if self.names and len(labels):
            self.further.update(outputs, labels.to(self.label_dtype))

    def result(self, names: list[str]) -> tuple[TaskEvaluation, dict[str, float]]:
        """Return the result since the last call, and figures to be logged."""
        outputs, labels = self.collected.compute()
        loss = self.totals.compute()["loss"].item()
        evaluation: TaskEvaluation = self.evaluate(loss, outputs, labels, names)
        figures = {self.prefix + name: v for name, v in evaluation.figures(self.each).items()}
        figures |= {name: value.item() for name, value in self.further.compute().items()}
        for metric in (self.totals, self.further, self.collected):
            metric.reset()
        return evaluation, figures
