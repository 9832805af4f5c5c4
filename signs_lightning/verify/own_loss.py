"""Compares the loss of a user's LightningModule with plain cross-entropy."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import lightning as L
import torch
from torch import Tensor

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.verify.result import Comparison, FirstDifference, Reason
from signs_lightning.verify.sides import Side
from signs_lightning.verify.trace import WithoutDropout

BOUND_OF_LOSS = 1e-6  # in float64, as a share of the loss


def compare_own_loss(
    result: Comparison, side: Side, pixels: Tensor, labels: Tensor, probabilities: Tensor
) -> None:
    """Call `training_step` of a user's LightningModule, and compare its loss.

    Args:
        result: gets the row, or why there is none.
        side: whose it is.
        pixels: float (N, C, H, W), as its network takes them.
        labels: int64 (N,).
        probabilities: float64 (N, K), which its network gives of them in training mode.
    """
    model = side.model
    if not isinstance(model, L.LightningModule) or isinstance(model, ImageClassifier):
        return
    if type(model).training_step is L.LightningModule.training_step:
        return
    try:
        trained: Any = copy.deepcopy(model).double().train()
        with warnings.catch_warnings(), torch.no_grad(), WithoutDropout():
            warnings.simplefilter("ignore")  # of `self.log` without a Trainer
            output = trained.training_step((pixels.double(), labels), 0)
        loss = float(output["loss"] if isinstance(output, dict) else output)
    except Exception as error:  # its own code, which may need a Trainer
        said = " ".join(str(error).split())[:100] or type(error).__name__
        result.not_compared.append(f"the loss of its training_step, which fails here ({said})")
        return
    rows = torch.arange(len(labels))
    logs = probabilities.clamp(min=1e-30).log()
    expected = float(-logs[rows, labels].mean())
    again = float(-probabilities.log_softmax(1)[rows, labels].mean())
    bound = BOUND_OF_LOSS * max(abs(expected), 1e-3)
    result.add("training", "loss of training_step", abs(loss - expected), bound)
    if abs(loss - expected) <= bound or result.first is not None:
        return
    reason = Reason("", "its training_step has another loss than cross-entropy")
    if abs(loss - again) <= bound:
        text = "its training_step gives probabilities to a loss that takes the softmax of logits"
        reason = Reason("softmax twice", text, "With logits there the difference vanishes.")
    layers = [row for row in result.rows if row.part == "layer"]
    name, counterpart = (layers[-1].name, layers[-1].counterpart) if layers else ("loss", "")
    off, agreeing = abs(loss - expected), sum(row.status == "agrees" for row in layers)
    result.first = FirstDifference(name, counterpart, off, agreeing, [reason])
