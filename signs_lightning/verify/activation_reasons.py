"""Tries activations on a layer's values, and paddings on a pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.keras_io import activations
from signs_lightning.models.layers import pair
from signs_lightning.verify.case import Case, attempt, before_padding, bind, consumers
from signs_lightning.verify.layer_reasons import try_paddings
from signs_lightning.verify.match_layers import anchors
from signs_lightning.verify.result import Reason
from signs_lightning.verify.trace import IMAGE, Trace
from signs_lightning.verify.values import Values, best_difference, bound_of, is_same

Function = Callable[[Tensor], Tensor]
SLOPES = (0.01, 0.1, 0.2, 0.3, 0.05, 0.25, 0.02, 0.5)
MAX_STEPS = 6  # operations that make up one activation
POOLINGS = ("max_pool2d", "avg_pool2d")


def named_activations() -> dict[str, Function]:
    """Return activations by what messages call them, those that are taken for others near them."""
    found: dict[str, Function] = {"no activation": activations.linear}
    found |= {k: f for k, f in activations.ELEMENTWISE.items() if k not in ("linear", "leaky_relu")}
    found["hard_sigmoid of Keras 2"] = activations.hard_sigmoid_keras2
    found["hard_sigmoid of Keras 3"] = F.hardsigmoid
    found["gelu (exact)"] = F.gelu
    found["gelu (tanh approximation)"] = partial(F.gelu, approximate="tanh")
    found["gelu (sigmoid approximation)"] = lambda x: x * torch.sigmoid(1.702 * x)
    found["relu up to 1"] = lambda x: x.clamp(0, 1)
    for slope in SLOPES:
        found[f"leaky_relu, slope {slope:g}"] = partial(F.leaky_relu, negative_slope=slope)
        found[f"elu, alpha {slope:g}"] = partial(F.elu, alpha=slope)
        found[f"celu, alpha {slope:g}"] = partial(F.celu, alpha=slope)
    for name in ("gelu", "hard_sigmoid", "swish", "hard_swish"):
        found.pop(name)
    found["softmax"] = lambda x: x.softmax(1)
    return found


def reasons_of_activation(case: Case) -> Iterator[Reason]:
    """Yield which activation the other has where the reference has its own."""
    reference, layer = case.reference, case.reference.calls[case.index].layer
    inside = reference.calls_of(layer)
    weighted = [k for k in anchors(reference) if k in inside]
    if weighted:
        before, after = weighted[-1], inside[-1]
    else:
        inputs = [i for i in reference.calls[inside[0]].inputs if i not in inside]
        if len(inputs) != 1:
            return
        before, after = inputs[0], inside[-1]
    if before == IMAGE or reference.value(before).numel() != reference.value(after).numel():
        return
    place = case.found.places[before]
    source = None if place is None else place[0]
    if source is None:
        found = Values([call.output for call in case.other.calls]).find(reference.value(before))
        if found is None:
            return
        source = found[0]
    x, expected = reference.value(before), reference.value(after)
    own = name_activation(x, expected) or reference.kinds.get(layer, "another")
    for value in _values_behind(case.other, source):
        theirs = name_activation(x, value, skip_linear=value is not None)
        if theirs is not None and theirs != own:
            yield _reason(case, theirs, own)
            return
    if any(k in anchors(case.other) or case.other.calls[k].name in POOLINGS
           for k in consumers(case.other, source)):  # fmt: skip
        yield _reason(case, "no activation", own)


def _reason(case: Case, theirs: str, own: str) -> Reason:
    evidence = f"With {theirs} the reference's layer gives what {case.here} gives."
    text = f"{case.here} has {theirs}, {case.there} {own}"
    return Reason("activation variant", text, evidence)


def reasons_between(case: Case) -> Iterator[tuple[int, Reason]]:
    """Yield an activation that the other has before a layer, with the call that it follows."""
    if case.partner is None:
        return
    source = before_padding(case.reference, case.index)
    if source == IMAGE:
        return
    x = case.reference.value(source)
    value = case.other.value(before_padding(case.other, case.partner))
    if best_difference(x, value) <= bound_of(x):
        return
    name = name_activation(x, value, skip_linear=True)
    if name is not None:
        yield source, _reason(case, name, "none there")


def name_activation(x: Tensor, value: Tensor, skip_linear: bool = False) -> str | None:
    """Return the activation that makes one tensor of another, or None."""
    if x.shape != value.shape:
        return None
    for name, function in named_activations().items():
        if not (skip_linear and name == "no activation") and is_same(value, function(x)):
            return name
    negative = x < 0  # a slope or an alpha that is not in the list
    if not bool(negative.any()) or not is_same(value[~negative], x[~negative]):
        return None
    for name, basis in (("leaky_relu, slope", x), ("elu, alpha", torch.expm1(x))):
        factor = float((value[negative] / basis[negative]).median())
        if is_same(value, torch.where(negative, factor * basis, x)):
            return f"{name} {factor:.3g}"
    return None


def _values_behind(trace: Trace, source: int) -> Iterator[Tensor]:
    """Yield what operations without weights make of a value, the first ones last."""
    weighted, size = set(anchors(trace)), trace.value(source).shape
    found: list[int] = []
    edge = [source]
    for _ in range(MAX_STEPS):
        edge = [
            k
            for index in edge
            for k in consumers(trace, index)
            if k not in weighted and trace.calls[k].output.shape == size and k not in found
        ]
        found += edge
    for k in found:
        yield trace.calls[k].output


def reasons_of_pooling(case: Case) -> Iterator[Reason]:
    """Yield which padding explains a pooling whose output differs."""
    reference = case.reference
    inside = reference.calls_of(reference.calls[case.index].layer)
    pools = [k for k in inside if reference.calls[k].name in POOLINGS]
    if not pools:
        return
    name, expected = reference.calls[pools[0]].name, reference.value(inside[-1])
    source = reference.value(before_padding(reference, pools[0]))
    for k, call in enumerate(case.other.calls):
        value = case.other.value(before_padding(case.other, k))
        if call.name not in POOLINGS or best_difference(source, value) > bound_of(source):
            continue
        if call.name != name:
            yield Reason("", f"{case.here} has {call.name}, {case.there} {name}")
            return
        given = bind(case.other, k)
        kernel, stride = pair(given["kernel_size"]), pair(given["stride"] or given["kernel_size"])
        pool: Function = partial(F.max_pool2d, kernel_size=kernel, stride=stride)
        paddings = [(pool, float("-inf"))]
        if name == "avg_pool2d":
            pool = partial(F.avg_pool2d, kernel_size=kernel, stride=stride)
            paddings = [(partial(_mean_of_known, pool), float("nan")), (pool, 0.0)]
        for apply, fill in paddings:
            yield from try_paddings(case, value, expected, given, apply, fill, is_pooling=True)
        return


def _mean_of_known(average: Function, x: Tensor) -> Tensor:
    """Average what is not padding, which is NaN."""
    counts = average((~x.isnan()).to(x.dtype))
    return average(x.nan_to_num(0.0)) / counts


def softmax_twice(expected: Tensor, given: Tensor, here: str) -> Reason | None:
    """Return the reason if probabilities went through a softmax (or a sigmoid) again.

    Args:
        expected: probabilities (N, K).
        given: the other's.
        here: its name.
    """
    again = {"softmax": expected.softmax(1)}
    if expected.shape[1] == 2:
        positive = expected[:, 1].sigmoid()
        again["sigmoid"] = torch.stack([1 - positive, positive], dim=1)
    again["sigmoid "] = expected.sigmoid()
    for name, value in again.items():
        reason = attempt(
            "softmax twice",
            f"{here} applies {name.strip()} to what are probabilities already",
            f"one {name.strip()} less", value, lambda: given,
        )  # fmt: skip
        if reason is not None:
            return reason
    return None
