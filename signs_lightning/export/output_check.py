"""Whether an exported file gives what the model gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier

TOLERANCE = 1e-4  # largest difference between a probability of the file and of the model
LAST_DIGIT = 2.4e-7  # of a float32, as a share of it


def check_outputs(
    path: Path,
    predict: Callable[[dict[str, Tensor]], Tensor],
    inputs: dict[str, Tensor],
    expected: Tensor,
    unit: Tensor,
) -> float:
    """Return the largest difference of probabilities, for batches of 1, 3 and more.

    Raises an `InputError` where it is too large.

    Args:
        path: that is written.
        predict: the file's, of inputs by name.
        inputs: all, by name.
        expected: the model's probabilities float32 (N, K), or values.
        unit: by which differences are divided, (K,) or ().
    """
    parts = [slice(0, 1), slice(1, 4), slice(4, None)]
    parts = [part for part in parts if len(expected[part])]
    given = [{name: values[part] for name, values in inputs.items()} for part in parts]
    found = torch.cat([predict(part) for part in given])
    difference = ((found - expected).abs() / unit).max().item()
    if not difference <= TOLERANCE:  # also where it is NaN
        raise InputError(
            f"{path} would give outputs that differ by up to {difference:.2g} from the model's, "
            f"expected at most {TOLERANCE:g}: nothing was written. Does the model give finite "
            "numbers?"
        )
    return difference


def unit_of(model: ImageClassifier) -> Tensor:
    """Return what differences of outputs are measured by: 1 for probabilities.

    Values of a regression are measured by their deviation, or by what float32 can tell of them.
    """
    if model.task_rules.name != "regression":
        return torch.ones(())
    mean, scale = model._target_mean.cpu(), model._target_scale.cpu()
    return torch.maximum(scale, mean.abs() * LAST_DIGIT / TOLERANCE).float()
