"""Keras's cross-entropies on logits, for labels as numbers or as shares."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from signs_lightning.errors import InputError

MIN_PROBABILITY = 1e-7  # that a probability is kept from 0 and 1, as in Keras
LOG_MIN = math.log(MIN_PROBABILITY)


def check_loss_arguments(loss: Any, class_weights: Any, label_smoothing: float | None) -> None:
    """Check a model's arguments of these names.

    Raises:
        InputError: two of them exclude each other, or the share is out of its range.
    """
    if loss is not None and (class_weights is not None or label_smoothing):
        name = "label_smoothing" if class_weights is None else "class_weights"
        raise InputError(
            f"{name} and loss are both given. Put it into the loss, or drop one of them."
        )
    if label_smoothing is not None and not 0 <= label_smoothing < 1:
        raise InputError(
            f"label_smoothing is {label_smoothing:g}, expected a share from 0 up to 1 (exclusive)."
        )


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    binary: bool,
    class_weights: Tensor | None,
    label_smoothing: float,
) -> Tensor:
    """Return a batch's mean loss () as Keras's crossentropies do.

    Args:
        logits: float (N, K); (N, 1) of a binary model, whose sigmoid is the probability of class 1.
        labels: int64 (N,), or shares of the K classes float (N, K) that sum to 1.
        binary: which of the two.
        class_weights: float (K,), Keras's `class_weight`; all 1 when omitted.
        label_smoothing: share of each label that is spread over all classes, in 0..1.
    """
    reduction = "mean" if class_weights is None else "none"
    if binary:
        targets = _share_of_class_1(labels, logits) * (1 - label_smoothing) + label_smoothing / 2
        loss = F.binary_cross_entropy_with_logits(logits.squeeze(1), targets, reduction=reduction)
    else:
        loss = F.cross_entropy(logits, labels, reduction=reduction, label_smoothing=label_smoothing)
    if class_weights is None:
        return loss
    # Keras divides by the number of images, PyTorch's own `weight` by the sum of their weights.
    is_soft = labels.is_floating_point()
    return (loss * (labels @ class_weights if is_soft else class_weights[labels])).mean()


def binary_cross_entropies(
    logits: Tensor,
    labels: Tensor,
    independent: bool,
    class_weights: Tensor | None,
    label_smoothing: float,
) -> Tensor:
    """Return a batch's mean loss () as Keras's binary_crossentropy over K classes does.

    Each class is told from the others: the mean over the classes, with labels as one-hot rows.

    Args:
        logits: float (N, K).
        labels: int64 (N,), or shares of the K classes float (N, K).
        independent: whether the probabilities are the sigmoids of the logits; else their softmax,
            within 1e-7 of 0 and 1, as in Keras.
        class_weights: float (K,), Keras's `class_weight`; all 1 when omitted.
        label_smoothing: how far the labels move towards 1/2, in 0..1.
    """
    shares = labels if labels.is_floating_point() else F.one_hot(labels, logits.shape[1])
    shares = shares.to(logits.dtype)
    targets = shares * (1 - label_smoothing) + label_smoothing / 2
    if independent:
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    else:
        probabilities = logits.softmax(dim=1).clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY)
        losses = -targets * probabilities.log() - (1 - targets) * (1 - probabilities).log()
    losses = losses.mean(dim=1)
    return (losses if class_weights is None else losses * (shares @ class_weights)).mean()


def bounded_cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None, label_smoothing: float
) -> Tensor:
    """Return a batch's mean loss () as Keras's crossentropies of probabilities do.

    Each probability counts as 1e-7 at least and as 1 - 1e-7 at most.

    Args:
        logits: float (N, K), the logarithms of the probabilities.
        labels: int64 (N,), or shares of the K classes float (N, K).
        class_weights: float (K,), Keras's `class_weight`; all 1 when omitted.
        label_smoothing: share of each label that is spread over all classes, in 0..1.
    """
    count = logits.shape[1]
    shares = labels if labels.is_floating_point() else F.one_hot(labels, count).to(logits.dtype)
    targets = shares * (1 - label_smoothing) + label_smoothing / count
    logarithms = logits.log_softmax(1).clamp(LOG_MIN, math.log1p(-MIN_PROBABILITY))
    losses = -(targets * logarithms).sum(1)
    return (losses if class_weights is None else losses * (shares @ class_weights)).mean()


def custom_loss(loss: nn.Module, logits: Tensor, labels: Tensor, binary: bool) -> Tensor:
    """Return a user's own loss of a batch.

    Args:
        loss: called with logits (N, K) and labels; of a binary model with float (N,) both.
        logits: float (N, K), or (N, 1) of a binary model.
        labels: int64 (N,), or shares of the classes float (N, K).
        binary: whether the model is one.
    """
    if not binary:
        return loss(logits, labels)
    return loss(logits.squeeze(1), _share_of_class_1(labels, logits))


def _share_of_class_1(labels: Tensor, logits: Tensor) -> Tensor:
    """Labels of two classes → float (N,)."""
    return labels[:, 1] if labels.is_floating_point() else labels.to(logits.dtype)
