"""Compares what two models give in the end: probabilities."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.verify.real_keras import KerasRun
from signs_lightning.verify.result import Comparison
from signs_lightning.verify.sides import Side
from signs_lightning.verify.values import BOUND, difference


@torch.no_grad()
def compare_outputs(
    result: Comparison,
    reference: Side,
    other: Side,
    images: Tensor,
    raw: list[Tensor | None],
    keras_run: KerasRun | None,
) -> tuple[Tensor, Tensor]:
    """Compare probabilities, those of Keras itself where it ran.

    Args:
        result: gets the row.
        reference: the side that is right by definition.
        other: the other one.
        images: uint8 (N, H, W, C).
        raw: what both networks gave; None for one that does not run in PyTorch.
        keras_run: what Keras gave.

    Returns:
        Probabilities (N, K) of both.
    """
    expected = _probabilities(reference, images, raw[0], None)
    if keras_run is not None and keras_run.output is not None:
        expected = _of_keras(reference, keras_run, expected)
    given = _probabilities(other, images, raw[1], expected)
    result.add("outputs", "probabilities", difference(expected, given), BOUND)
    return expected, given


def _of_keras(side: Side, run: KerasRun, ours: Tensor) -> Tensor:
    """Return probabilities (N, K) from the output of Keras's model."""
    network = side.network
    output = _rows(torch.from_numpy(run.output).float())
    ending = network.plan.ending.kind  # type: ignore[union-attr]
    if ending == "logits" and side.probabilities is not None:
        return side.probabilities(output)
    return _both_classes(output)


def _probabilities(
    side: Side, images: Tensor, raw: Tensor | None, expected: Tensor | None
) -> Tensor:
    if raw is None:
        return side.predict(images)  # type: ignore[misc]
    if side.probabilities is not None:
        return side.probabilities(raw)
    return read_probabilities(raw, expected)


def read_probabilities(raw: Tensor, expected: Tensor | None) -> Tensor:
    """Return the probabilities float32 (N, K) that a module's output stands for.

    A module may give probabilities, their logarithms, or logits; one value for two classes.

    Args:
        raw: its output.
        expected: what they should be; the reading that comes nearest is taken.
    """
    return _nearest(raw, expected)(raw).float()


def reading_of(side: Side, raw: Tensor, expected: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function that makes probabilities of a side's output, in its own precision.

    Args:
        side: the model.
        raw: its output on some images.
        expected: probabilities (N, K) on these.
    """
    model = side.model
    if not isinstance(model, ImageClassifier):
        return _nearest(raw, expected)
    if model.independent:
        return torch.sigmoid
    return _sigmoid if model.binary else _softmax


def _nearest(raw: Tensor, expected: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return what makes probabilities of an output, which may be wrong itself."""
    rows = _rows(raw)
    is_probability = bool(((rows >= 0) & (rows <= 1)).all())
    if rows.shape[1] > 1 and is_probability and _adds_up(rows):
        return _as_they_are
    if rows.shape[1] > 1 and (expected is None or _adds_up(expected)):
        return _softmax
    readings = [_sigmoid, *([_as_they_are] if is_probability else [])]
    if expected is None:
        return readings[-1]
    return min(readings, key=lambda reading: difference(expected, reading(raw).float()))


def _adds_up(rows: Tensor) -> bool:
    return bool(((rows.sum(1) - 1).abs() < 1e-4).all())


def _rows(raw: Tensor) -> Tensor:
    return raw.reshape(len(raw), -1)


def _as_they_are(raw: Tensor) -> Tensor:
    return _both_classes(_rows(raw))


def _softmax(raw: Tensor) -> Tensor:
    return _rows(raw).softmax(dim=1)


def _sigmoid(raw: Tensor) -> Tensor:
    return _both_classes(_rows(raw).sigmoid())


def _both_classes(rows: Tensor) -> Tensor:
    """Probabilities (N, 1) of the second of two classes → (N, 2); others stay."""
    return torch.cat([1 - rows, rows], dim=1) if rows.shape[1] == 1 else rows
