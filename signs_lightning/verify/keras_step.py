"""Compares a training step here with one of Keras itself."""

from __future__ import annotations

import torch
from torch import Tensor

from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.verify.real_keras import STEP, KerasRun
from signs_lightning.verify.result import Comparison
from signs_lightning.verify.sides import Side
from signs_lightning.verify.values import difference

ROUNDING = 10.0  # how many times our own rounding is taken off
CUT = 1e-6  # probabilities nearer to 0 or 1
BOUND_OF_GRADIENTS = 1e-4  # Keras computes in float32; a share of a tensor's largest value


def compare_with_keras_step(
    result: Comparison,
    side: Side,
    run: KerasRun,
    gradients: dict[str, tuple[Tensor, Tensor]],
    chosen: Tensor,
) -> None:
    """Compare gradients of our reading of a file with those of Keras.

    Args:
        result: gets the row.
        side: the Keras file.
        run: has Keras's weights after a step.
        gradients: ours in float64 and in float32, by the weights' names; Keras may be as far off
            as the latter.
        chosen: probabilities (N,) of the labels in training.
    """
    network = side.network
    if not isinstance(network, KerasNetwork):
        return
    if not run.weights:
        reason = run.untrained or "each class has a probability of its own"
        result.not_compared.append(f"a training step of Keras itself: {reason}")
        return
    if not bool(((chosen > CUT) & (chosen < 1 - CUT)).all()):
        text = "probabilities are 0 or 1, where Keras cuts its loss off"
        result.not_compared.append(f"a training step of Keras itself: {text}")
        return
    names = {parameter.data_ptr(): name for name, parameter in network.named_parameters()}
    before = network.keras_weights()
    largest = max((float(exact.abs().max()) for exact, _ in gradients.values()), default=0.0)
    worst, count = 0.0, 0
    for layer, weights in network.plan.layers():
        after = run.weights.get("/".join(layer.path), [])
        if len(after) != len(weights):
            continue
        for weight, old, new in zip(weights, before[layer.path], after, strict=True):
            target = network.parameter(layer.path, weight)
            ours = gradients.get(names.get(target.data_ptr(), ""))
            if ours is None or new.shape != weight.shape:
                continue
            exact, rounded = ours
            theirs = torch.from_numpy((old.astype("f8") - new) / STEP)
            theirs = theirs.permute(weight.permutation).reshape(exact.shape)
            scale = max(float(exact.abs().max()), 1e-2 * largest, 1e-30)
            off = difference(exact, theirs) - ROUNDING * difference(exact, rounded)
            worst, count = max(worst, off / scale), count + 1
    if count:
        detail = f"{count} tensors"
        result.add("keras", "our gradients", worst, BOUND_OF_GRADIENTS, detail=detail)
