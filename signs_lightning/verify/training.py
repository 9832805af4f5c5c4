"""Compares what two networks learn from one step: gradients, weights, moving averages."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from signs_lightning.models.fused_conv_pool import unfused
from signs_lightning.verify.case import SLACK, bind
from signs_lightning.verify.keras_step import compare_with_keras_step
from signs_lightning.verify.layers import Sides
from signs_lightning.verify.outputs import read_probabilities, reading_of
from signs_lightning.verify.own_loss import compare_own_loss
from signs_lightning.verify.real_keras import KerasRun
from signs_lightning.verify.reasons import UNKNOWN
from signs_lightning.verify.result import Comparison, FirstDifference, Reason
from signs_lightning.verify.sides import Side
from signs_lightning.verify.trace import WithoutDropout, first_tensor
from signs_lightning.verify.values import difference
from signs_lightning.verify.weight_pairs import AVERAGES, WeightPair, pair_weights, state_of

TRAINED = 1e-6  # largest difference in float64, as a share of a tensor's largest value
RATE = 0.1  # learning rate of the step


@dataclass
class Step:
    """What one step of plain SGD on a copy of a network gives, by weights' names."""

    loss: float
    probabilities: Tensor
    gradients: dict[str, Tensor]
    before: dict[str, Tensor]
    after: dict[str, Tensor]


def compare_training(
    result: Comparison,
    sides: Sides,
    expected: Tensor,
    labels: Tensor,
    keras_run: KerasRun | None,
) -> None:
    """Compare one step on the images, in float64, without dropout.

    Args:
        result: gets the rows, and the first difference.
        sides: both.
        expected: the reference's probabilities (N, K).
        labels: int64 (N,), to train on.
        keras_run: has what Keras itself learns from a step.
    """
    if result.has_differences:
        result.not_compared.append("gradients and a training step: the outputs differ already")
        return
    pairs = pair_weights(sides)
    steps = []
    for side, trace in zip((sides.reference, sides.other), sides.traces, strict=True):
        try:
            read = reading_of(side, trace.output, expected)
            steps.append(make_step(side, trace.images, labels, read))
            if steps[-1].loss != make_step(side, trace.images, labels, read, seed=1).loss:
                text = f"{side.name} is random in training, also without dropout"
                result.not_compared.append(f"gradients and a training step: {text}")
                return
        except (RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:100]
            text = f"gradients and a training step: one of {side.name} fails in float64 ({reason})"
            result.not_compared.append(text)
            return
    if keras_run is not None:
        read = reading_of(sides.reference, sides.traces[0].output, expected)
        given = sides.reference, sides.traces[0].images, labels, read
        rounded = make_step(*given, torch.float32).gradients
        gradients = {name: (value, rounded[name]) for name, value in steps[0].gradients.items()}
        chosen = steps[0].probabilities[torch.arange(len(labels)), labels]
        compare_with_keras_step(result, sides.reference, keras_run, gradients, chosen)
    bound = TRAINED * max(abs(steps[0].loss), 1e-3)
    result.add("training", "loss", abs(steps[0].loss - steps[1].loss), bound)
    own = sides.other, sides.traces[1].images, labels, steps[1].probabilities
    compare_own_loss(result, *own)
    if not pairs:
        result.not_compared.append("gradients and a training step: no weights that correspond")
        return
    _compare_gradients(result, pairs, steps)
    _compare_weights(result, pairs, steps, sides)


def make_step(
    side: Side,
    pixels: Tensor,
    labels: Tensor,
    read: Callable[[Tensor], Tensor],
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Step:
    """Train a copy of a network for a step of plain SGD without dropout.

    Args:
        side: has the network.
        pixels: float (N, C, H, W), as it takes them.
        labels: int64 (N,).
        read: its output → probabilities (N, K).
        dtype: to compute in.
        seed: of what is random in training beside dropout.
    """
    network: Any = copy.deepcopy(side.network)
    network.to(dtype).train()
    before = {name: value.detach().clone() for name, value in state_of(network).items()}
    with (
        torch.enable_grad(), torch.random.fork_rng(devices=[]), unfused(network), WithoutDropout(),
    ):  # fmt: skip
        torch.manual_seed(seed)
        probabilities = read(first_tensor(network(pixels.to(dtype))))
        chosen = probabilities[torch.arange(len(labels)), labels]
        loss = -chosen.clamp(min=1e-30).log().mean()
        loss.backward()
    gradients = {
        name: parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    after = {name: value.detach().clone() for name, value in state_of(network).items()}
    for name, gradient in gradients.items():
        after[name] -= RATE * gradient
    return Step(float(loss.detach()), probabilities.detach(), gradients, before, after)


def labels_for(output: Tensor, side: Side, expected: Tensor | None = None) -> Tensor:
    """Return the most probable class and the second in turn, int64 (N,).

    Args:
        output: of a side's network.
        side: the side.
        expected: probabilities (N, K) that it stands for.
    """
    if side.probabilities is not None:
        expected = side.probabilities(output)
    order = read_probabilities(output, expected).argsort(dim=1, descending=True)
    rows = torch.arange(len(order))
    return order[rows, rows % 2]


def _compare_gradients(result: Comparison, pairs: list[WeightPair], steps: list[Step]) -> None:
    compared, frozen = [], 0
    largest = max((float(g.abs().max()) for g in steps[0].gradients.values()), default=0.0)
    for pair in pairs:
        gradients = [step.gradients.get(name) for step, name in zip(steps, pair.names, strict=True)]
        first, second = gradients
        if first is None or second is None:
            frozen += (first is None) != (second is None)
            continue
        scale = max(float(first.abs().max()), 1e-3 * largest, 1e-30)
        compared.append((difference(first, pair.turn(second)) / scale, pair))
    for k, step in enumerate(steps):
        lone = step.gradients.keys() - {pair.names[k] for pair in pairs}
        if lone:
            text = (
                f"gradients of {len(lone)} weights of {result.names[k]}, which have no counterpart"
            )
            result.not_compared.append(text)
    if frozen:
        text = f"gradients of {frozen} weights that one side has frozen"
        result.not_compared.append(text)
    if compared:
        worst = max(off for off, _ in compared)
        detail = f"{len(compared)} tensors"
        result.add("training", "gradients", worst, TRAINED, detail=detail)
        bad = [(pair.calls[0], off, pair) for off, pair in compared if not off <= TRAINED]
        if bad:  # gradients come from behind: those before a wrong layer are wrong, too
            _, off, pair = max(bad, key=lambda item: item[0])
            _name(result, pair, off, [UNKNOWN])


def _compare_weights(
    result: Comparison, pairs: list[WeightPair], steps: list[Step], sides: Sides
) -> None:
    """Compare weights and moving averages after the step."""
    for is_average, name in ((False, "weights after a step"), (True, "moving averages")):
        compared = []
        for pair in pairs:
            is_trained = all(n in s.gradients for s, n in zip(steps, pair.names, strict=True))
            if (pair.role in AVERAGES) != is_average or not (is_average or is_trained):
                continue
            first, second = (s.after[n] for s, n in zip(steps, pair.names, strict=True))
            old = steps[0].before[pair.names[0]]
            second = pair.turn(second)
            if pair.role == "running_var":
                second = _as_biased(pair, sides, first, second, old)
            scale = max(float(first.abs().max()), 1e-30)
            compared.append((difference(first, second) / scale, pair))
        if not compared:
            continue
        worst, _ = max(compared, key=lambda item: item[0])
        detail = f"{len(compared)} tensors"
        result.add("training", name, worst, TRAINED, detail=detail)
        for off, pair in compared:
            if off > TRAINED:
                reasons = _reasons_of_momentum(pair, steps, sides) if is_average else []
                _name(result, pair, off, reasons or [UNKNOWN])
                break


def _as_biased(
    pair: WeightPair, sides: Sides, first: Tensor, second: Tensor, old: Tensor
) -> Tensor:
    """Return a moving variance as if both sides fed it with the same kind of variance.

    Keras 3 takes the biased one of a batch, n / (n − 1) times smaller than PyTorch's.
    """
    value = sides.traces[0].value(sides.traces[0].calls[pair.calls[0]].inputs[0])
    n = value.numel() / value.shape[1]
    momentum = bind(sides.traces[1], pair.calls[1]).get("momentum") or 0.1
    kept = old * (1 - momentum)
    readings = [kept + (second - kept) * factor for factor in (1.0, (n - 1) / n, n / max(n - 1, 1))]
    return min(readings, key=lambda reading: difference(first, reading))


def _reasons_of_momentum(pair: WeightPair, steps: list[Step], sides: Sides) -> list[Reason]:
    """Return the momentum of the other side if that of the reference makes averages agree."""
    momenta = [
        float(bind(trace, k).get("momentum") or 0.0)
        for trace, k in zip(sides.traces, pair.calls, strict=True)
    ]
    if 0.0 in momenta or momenta[0] == momenta[1]:
        return []
    first, second = (s.after[n] for s, n in zip(steps, pair.names, strict=True))
    old, ratio = steps[0].before[pair.names[0]], momenta[0] / momenta[1]
    left = difference(first, old + ratio * (second - old))
    if left > SLACK * 1e-2 * float(first.abs().max()):
        return []
    there, here = sides.names
    text = (
        f"a step moves the averages of {here} by a share of {momenta[1]:g}, those of {there} by "
        f"{momenta[0]:g}; in Keras's words the momentum is {1 - momenta[1]:g} for "
        f"{1 - momenta[0]:g}"
    )
    evidence = f"With a share of {momenta[0]:g} the difference vanishes ({left:.1g} is left)."
    return [Reason("BatchNorm's momentum", text, evidence)]


def _name(result: Comparison, pair: WeightPair, off: float, reasons: list[Reason]) -> None:
    """Let a layer be the first difference, where none is and its weights differ."""
    if result.first is None and not off <= TRAINED:
        agreeing = sum(row.part == "layer" and row.status == "agrees" for row in result.rows)
        result.first = FirstDifference(pair.layer, pair.counterpart, off, agreeing, reasons)
