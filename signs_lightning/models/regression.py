"""Numbers to be predicted: mean squared error on standardised targets, values in their units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error, r2_score

from signs_lightning.errors import InputError
from signs_lightning.models.metrics import EpochTotals
from signs_lightning.models.single_label import check_lengths, refuse_arguments
from signs_lightning.models.task_metrics import TaskMetrics
from signs_lightning.runtime.display_table import Displayed, DisplayTable
from signs_lightning.runtime.terminal import format_figure

if TYPE_CHECKING:
    from signs_lightning.models.classifier import ImageClassifier
    from signs_lightning.models.model_with_preprocessing import ImageModel

REFUSED = dict.fromkeys(("class_weights", "label_smoothing"), "Leave it out.")
HALF = ("16-true", "bf16-true", "transformer-engine", "transformer-engine-float16")


class Regression:
    """What an `ImageClassifier` does with what its network gives, where that is numbers.

    The network learns targets less their mean, over their deviation, both of the training images;
    what it gives is brought back into the file's units.
    """

    name = "regression"

    def prepare(self, model: ImageClassifier) -> None:
        """Check a model's arguments, before its network is made.

        Raises:
            InputError: the task does not know one of them, or a scale is not above 0.
        """
        refuse_arguments(model, self.name, REFUSED)
        model.binary = model.independent = False
        mean, scale = (model.hparams.get(name) for name in ("target_mean", "target_scale"))
        if (mean is None) != (scale is None):
            raise InputError("target_mean and target_scale belong together. Give both, or none.")
        if not all(value > 0 for value in scale or ()):
            raise InputError(f"target_scale is {scale}, expected numbers above 0.")

    def build(self, model: ImageClassifier) -> None:
        """Make what depends on the number of targets."""
        model.register_buffer("_class_weights", None, persistent=False)
        self.restore(model)
        model.train_totals = EpochTotals(None)
        given = model.metrics, torch.float, ("loss", "r2")
        model.val_metrics = TaskMetrics("val_", *given, each=True)
        model.test_metrics = TaskMetrics("test_", *given, each=True)
        for metrics in (model.val_metrics, model.test_metrics):
            metrics.evaluate = evaluate_regression

    def restore(self, model: ImageClassifier) -> None:
        """Make the affine map from what the network gives to the file's units."""
        check_lengths(model, ("target_mean", "target_scale"))
        mean = model.hparams.get("target_mean") or [0.0] * model.num_classes
        scale = model.hparams.get("target_scale") or [1.0] * model.num_classes
        for name, values in (("_target_mean", mean), ("_target_scale", scale)):
            tensor = torch.tensor(values, dtype=torch.double, device=model.device)
            model.register_buffer(name, tensor, persistent=False)

    def learn(self, model: ImageClassifier, labels: np.ndarray | None) -> None:
        """Take the units of the targets from the training labels, unless they are known.

        Args:
            model: that is trained.
            labels: float64 (N, D); None where nothing tells them.

        Raises:
            InputError: they are not known, or the run's numbers are too short for them.
        """
        if model.trainer.precision in HALF:
            raise InputError(
                f"--trainer.precision {model.trainer.precision} would round the targets. Train "
                "with bf16-mixed, or in 32 bits."
            )
        if model.hparams.get("target_mean") is not None:
            return
        if labels is None:
            raise InputError(
                "Only an H5DataModule tells mean and deviation of the targets. Give the model "
                "target_mean and target_scale, a number for each target."
            )
        mean, scale = labels.mean(axis=0), labels.std(axis=0)
        scale[(labels == labels[:1]).all(axis=0)] = 1  # std need not be 0: it is rounded
        model.hparams.update(target_mean=mean.tolist(), target_scale=scale.tolist())
        self.restore(model)

    def targets(self, model: ImageClassifier, labels: Tensor) -> Tensor:
        """Labels float64 (N, D) in their units → standardised targets float32 (N, D)."""
        return ((labels.double() - model._target_mean) / model._target_scale).float()

    def loss(
        self, model: ImageClassifier, logits: Tensor, targets: Tensor, training: bool
    ) -> Tensor:
        """Return the mean squared error () of standardised targets, or the given loss of them."""
        if model.loss is not None:
            loss: Tensor = model.loss(logits, targets)
            return loss
        return F.mse_loss(logits, targets)

    def outputs(self, model: ImageModel, logits: Tensor) -> Tensor:
        """What the network gives, float32 (N, D) → values float32 (N, D) in the file's units."""
        return (logits.double() * model._target_scale + model._target_mean).float()

    def mean_logits(self, model: ImageModel, logits: list[Tensor]) -> Tensor:
        """What the network gives for several views of images → its mean."""
        return torch.stack(logits).mean(dim=0)

    def remembered(self, model: ImageClassifier) -> dict[str, list[float]]:
        """Return what an exported file says of the task, by argument."""
        units = {"target_mean": model._target_mean, "target_scale": model._target_scale}
        return {name: values.tolist() for name, values in units.items()}

    def evaluate_outputs(
        self, model: ImageModel, values: Tensor, labels: Tensor, loss: float | None = None
    ) -> RegressionEvaluation:
        """Return the figures of values and labels float64 (N, D).

        The loss is the squared error of these, standardised, where none is given.
        """
        if loss is None:
            scale = torch.tensor(model.hparams["target_scale"], dtype=torch.double)
            loss = F.mse_loss(values / scale, labels / scale).item()
        return evaluate_regression(loss, values, labels, model.class_names)

    def describe(self, figures: dict[str, float], count: int) -> str:
        """Return the figures of an epoch, in words, of so many images."""
        return describe_figures(figures, count)

    def decided(self, model: ImageClassifier, logits: Tensor) -> Tensor:
        """Nothing is decided: what the network gives."""
        return logits

    def seen_by_metrics(self, model: ImageClassifier, logits: Tensor) -> Tensor:
        """What the network gives → values float32 (N, D) in the file's units."""
        return model.probabilities(logits)


@dataclass(frozen=True, repr=False)
class RegressionEvaluation(Displayed):
    """The result of a test; it shows itself as a table of the targets.

    Attributes:
        loss: mean loss per image, of standardised targets.
        count: number of images n.
        class_names: the D targets, in the order of the labels' columns.
        r2: float64 (D,), 1 less the squared error's share of the variance; NaN where the target is
            the same in all images.
        mae: float64 (D,), mean absolute error in the target's units.
        rmse: float64 (D,), root of the mean squared error in the target's units.
        mean: float64 (D,) of the labels.
        deviation: float64 (D,) of the labels.
    """

    loss: float
    count: int
    class_names: list[str]
    r2: Tensor
    mae: Tensor
    rmse: Tensor
    mean: Tensor
    deviation: Tensor

    header = ("target", "R²>", "MAE>", "RMSE>", "mean>", "deviation>")

    def figures(self, each: bool) -> dict[str, float]:
        """Return the figures that are logged, by name; `each` adds those of every target."""
        figures = {"loss": self.loss, "r2": self.r2.nanmean().item()}
        for row in self.per_class() if each else ():
            names = ("r2", "mae", "rmse") if len(self.class_names) > 1 else ("mae", "rmse")
            for name in names:
                figures[f"{name}/{row['target']}"] = float(row[name])
        return figures

    def per_class(self) -> list[dict[str, float | str]]:
        """Return a row per target: name, r2, mae, rmse, mean, deviation."""
        columns = ("r2", "mae", "rmse", "mean", "deviation")
        return [
            {"target": name, **{key: getattr(self, key)[k].item() for key in columns}}
            for k, name in enumerate(self.class_names)
        ]

    def cells(self) -> list[list[str]]:
        """Return the rows of the table whose columns are `header`."""
        return [
            [
                str(row["target"]),
                "–" if math.isnan(float(row["r2"])) else f"{row['r2']:.3f}",
                *(f"{row[key]:.4g}" for key in ("mae", "rmse", "mean", "deviation")),
            ]
            for row in self.per_class()
        ]

    def __str__(self) -> str:
        return describe_figures(self.figures(each=True), self.count)

    def display_parts(self) -> list[str | DisplayTable]:
        return [str(self), DisplayTable([name.strip(">") for name in self.header], self.cells())]


def describe_figures(figures: dict[str, float], count: int) -> str:
    """Write `R² 0.912, MAE 1.2, RMSE 1.6, loss 0.088, of 120 images`; of several only the mean.

    Args:
        figures: r2, mae/NAME and rmse/NAME of each target, and loss where it is known.
        count: number of images.
    """
    parts = ["R² –" if math.isnan(figures["r2"]) else f"R² {figures['r2']:.3f}"]
    for name in ("mae", "rmse"):
        found = [value for key, value in figures.items() if key.startswith(f"{name}/")]
        if len(found) == 1:
            parts.append(f"{name.upper()} {found[0]:.4g}")
        elif found and name == "mae":
            parts[0] = parts[0].replace("R²", f"mean R² of {len(found)} targets")
    if "loss" in figures:
        parts.append(f"loss {format_figure(figures['loss'])}")
    return f"{', '.join(parts)}, of {count:,} images"


def evaluate_regression(
    loss: float, values: Tensor, labels: Tensor, names: list[str]
) -> RegressionEvaluation:
    """Return the figures of predictions.

    Args:
        loss: mean loss per image.
        values: float64 (N, D) in the labels' units.
        labels: float64 (N, D).
        names: the D targets.
    """
    count, targets = labels.shape
    is_constant = (labels == labels[:1]).all(0)
    mean, deviation = labels.mean(0), labels.std(0, correction=0).masked_fill(is_constant, 0)
    # R² does not change by the units, and torchmetrics takes small sums of squares for none.
    found, truth = (values - mean) / deviation, (labels - mean) / deviation
    r2 = torch.full((targets,), math.nan, dtype=torch.double)
    for k in range(targets):
        if not is_constant[k]:
            r2[k] = r2_score(found[:, k], truth[:, k])
    mae = [mean_absolute_error(values[:, k], labels[:, k]) for k in range(targets)]
    rmse = [mean_squared_error(values[:, k], labels[:, k], squared=False) for k in range(targets)]
    errors = [torch.stack(part).double() for part in (mae, rmse)]
    return RegressionEvaluation(loss, count, names, r2, errors[0], errors[1], mean, deviation)
