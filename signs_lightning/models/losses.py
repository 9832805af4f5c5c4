"""The losses of a classifier: Keras's cross-entropies, on logits, with labels as numbers or as shares of the classes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    binary: bool,
    class_weights: Tensor | None,
    label_smoothing: float,
) -> Tensor:
    """Mean loss () of a batch, as Keras's CategoricalCrossentropy and BinaryCrossentropy.

    Args:
        logits: float (N, K); (N, 1) of a binary model, whose sigmoid is the probability of class 1.
        labels: int64 (N,), or shares of the K classes float (N, K) that sum to 1.
        binary: which of the two.
        class_weights: float (K,), Keras's `class_weight`; all 1 when omitted.
        label_smoothing: share of each label that is spread over all classes, in 0..1.
    """
    soft = labels.is_floating_point()
    reduction = "mean" if class_weights is None else "none"
    if binary:
        targets = _of_class_1(labels, logits) * (1 - label_smoothing) + label_smoothing / 2
        loss = F.binary_cross_entropy_with_logits(logits.squeeze(1), targets, reduction=reduction)
    else:
        loss = F.cross_entropy(logits, labels, reduction=reduction, label_smoothing=label_smoothing)
    if class_weights is None:
        return loss
    # Keras divides by the number of images, PyTorch's own `weight` by the sum of their weights.
    return (loss * (labels @ class_weights if soft else class_weights[labels])).mean()


def custom_loss(loss: nn.Module, logits: Tensor, labels: Tensor, binary: bool) -> Tensor:
    """The user's own loss of logits (N, K) and labels; a binary model's sees logits (N,) and float labels (N,)."""
    return loss(logits.squeeze(1), _of_class_1(labels, logits)) if binary else loss(logits, labels)


def _of_class_1(labels: Tensor, logits: Tensor) -> Tensor:
    """Labels of two classes → float (N,) share of class 1."""
    return labels[:, 1] if labels.is_floating_point() else labels.to(logits.dtype)
