"""Finds why a layer differs, by trying porting bugs on it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from signs_lightning.verify.activation_reasons import (
    reasons_between,
    reasons_of_activation,
    reasons_of_pooling,
)
from signs_lightning.verify.blame import TRANSPARENT
from signs_lightning.verify.case import Case, before_padding
from signs_lightning.verify.input_reasons import reasons_of_pixels
from signs_lightning.verify.layer_reasons import reasons_of_weighted_layer
from signs_lightning.verify.match_layers import anchors
from signs_lightning.verify.result import Reason
from signs_lightning.verify.trace import DROPOUTS, IMAGE, Trace
from signs_lightning.verify.values import best_difference, bound_of, is_same

UNKNOWN = Reason("", "none of the known porting bugs explains it: compare this layer's code")


def explain(case: Case) -> tuple[str, list[Reason]]:
    """Return the layer to name and the likely reasons, best first."""
    layer = case.reference.calls[case.index].layer
    if is_at_image(case):
        reasons = list(_of_pixels(case))
        if reasons:
            return layer, reasons
    for source, reason in reasons_between(case):
        return case.reference.calls[source].layer, [reason]
    makers = (reasons_of_weighted_layer, reasons_of_pooling, reasons_of_activation)
    found: list[Reason] = []
    for make in makers:
        found += make(case)
        if any(reason.kind for reason in found):
            break
    found.sort(key=lambda reason: not reason.kind)
    return layer, found or [UNKNOWN]


def is_at_image(case: Case) -> bool:
    """Return whether no layer with weights comes before the call."""
    weighted = anchors(case.reference)
    return not weighted or case.index <= weighted[0]


def _of_pixels(case: Case) -> Iterator[Reason]:
    """Yield what explains other pixels at the first layer with weights."""
    first, second = (
        next((k for k in anchors(trace)), None) for trace in (case.reference, case.other)
    )
    if first is None or second is None:
        return
    second = case.pairs.get(first, second)
    expected, given = _before_rows(case.reference, first), _before_rows(case.other, second)
    if expected.shape == given.shape and is_same(expected, given):
        return
    yield from reasons_of_pixels(expected, given, case.images, (case.there, case.here))


def _before_rows(trace: Trace, index: int) -> Tensor:
    """Return what a call is applied to, before it was padded, permuted or flattened."""
    source = trace.calls[index].inputs[0]
    while source != IMAGE and trace.calls[source].name in TRANSPARENT:
        source = trace.calls[source].inputs[0]
    return trace.value(source)


def find_random_call(first: Trace, second: Trace) -> int | None:
    """Return the first call whose output differs between two runs with the same input."""
    if len(first.calls) != len(second.calls):
        return None
    for k, (a, b) in enumerate(zip(first.calls, second.calls, strict=True)):
        if a.output.shape != b.output.shape or best_difference(a.output, b.output) > bound_of(
            a.output
        ):
            return k
    return None


def explain_random(case: Case, random: int, blamed: int | None) -> tuple[str, list[Reason]] | None:
    """Return layer and reason where dropout is active, None where another layer differs before it.

    Args:
        case: the place where the trace with dropout differs.
        random: the other's first call that gives other values each time.
        blamed: the first call of the reference that the other lacks without dropout.
    """
    call, source = case.other.calls[random], before_padding(case.other, random)
    value: Tensor = case.other.value(source)
    dropouts = _dropouts_at(case.reference, value)
    before = [k for k in _dropouts_at(case.other, value) if k < random]
    place = dropouts[min(len(before), len(dropouts) - 1)] if dropouts else case.index
    if blamed is not None and blamed < place:
        return None
    evidence = "Without it the difference vanishes."
    if blamed is not None:
        evidence = f"Without it '{case.reference.calls[blamed].layer}' is the first that differs."
    layer = case.reference.calls[place].layer
    if not dropouts and source != IMAGE:
        layer = _layer_of(case.reference, value) or layer
    text = f"'{call.layer}' of {case.here} ({call.name}) drops values each time"
    return layer, [Reason("dropout active", text, evidence)]


def _dropouts_at(trace: Trace, value: Tensor) -> list[int]:
    """Return the dropouts that are applied to a value, one after the other."""
    return [
        k
        for k, call in enumerate(trace.calls)
        if call.name in DROPOUTS
        and best_difference(value, trace.value(before_padding(trace, k))) <= bound_of(value)
    ]


def _layer_of(trace: Trace, value: Tensor) -> str | None:
    """Return the last layer that gives a value."""
    layers = [
        call.layer
        for call in trace.calls
        if call.output.numel() == value.numel()
        and best_difference(call.output, value) <= bound_of(value)
    ]
    return layers[-1] if layers else None
