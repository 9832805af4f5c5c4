"""Compares what two models give in the end: probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

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
    output = torch.from_numpy(run.output).float()
    output = output.reshape(len(output), -1)
    ending = network.plan.ending.kind  # type: ignore[union-attr]
    if ending == "logits" and side.probabilities is not None:
        return side.probabilities(output)
    if output.shape[1] == 1:
        return torch.cat([1 - output, output], dim=1)
    return output


def _probabilities(
    side: Side, images: Tensor, raw: Tensor | None, expected: Tensor | None
) -> Tensor:
    if raw is None:
        return side.predict(images)  # type: ignore[misc]
    if side.probabilities is not None:
        return side.probabilities(raw)
    return read_probabilities(raw, expected)


def read_probabilities(raw: Tensor, expected: Tensor | None) -> Tensor:
    """Return the probabilities (N, K) that a module's output stands for.

    A module may give probabilities, their logarithms, or logits; one value for two classes.

    Args:
        raw: its output.
        expected: what they should be; the reading that comes nearest is taken.
    """
    rows = raw.float().reshape(len(raw), -1)
    if rows.shape[1] == 1:
        readings = [rows, rows.sigmoid()]
        readings = [torch.cat([1 - p, p], dim=1) for p in readings]
    else:
        readings = [rows, rows.softmax(dim=1), rows.sigmoid()]
    if expected is None:
        is_probability = bool(((rows >= 0) & (rows <= 1)).all())
        is_probability &= rows.shape[1] == 1 or bool(((rows.sum(1) - 1).abs() < 1e-4).all())
        return readings[0] if is_probability else readings[1]
    return min(readings, key=lambda reading: difference(expected, reading))
