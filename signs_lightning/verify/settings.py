"""Compares what outputs on some images need not show: weights, epsilons and rates of dropouts."""

from __future__ import annotations

from torch import Tensor

from signs_lightning.verify.case import ARGUMENTS, bind
from signs_lightning.verify.layers import Sides
from signs_lightning.verify.result import Comparison, FirstDifference, Reason, Row
from signs_lightning.verify.trace import DROPOUTS, Trace
from signs_lightning.verify.values import bound_of, difference, is_same
from signs_lightning.verify.weight_pairs import ROLES

NORMS = {"batch_norm": "BatchNorm", "layer_norm": "LayerNorm", "group_norm": "GroupNorm"}


def compare_settings(result: Comparison, sides: Sides) -> None:
    """Add a row for each setting that differs, and what cannot be compared."""
    _compare_epsilons(result, sides)
    _compare_dropouts(result, sides)
    if not result.has_differences:  # else the first layer that differs is named
        _compare_weights(result, sides)


def _compare_epsilons(result: Comparison, sides: Sides) -> None:
    """Find an epsilon that differs by so little that the outputs agree."""
    for k, partner in sides.pairs.items():
        calls = sides.traces[0].calls[k], sides.traces[1].calls[partner]
        if calls[0].name not in NORMS or calls[1].name != calls[0].name:
            continue
        places = zip(sides.traces, (k, partner), strict=True)
        values = [bind(trace, index).get("eps", 1e-5) for trace, index in places]
        if abs(values[0] - values[1]) <= 1e-3 * abs(values[0]):
            continue
        there, here = sides.names
        detail = f"epsilon {values[0]:g} against {values[1]:g}"
        name, counterpart = calls[0].layer, calls[1].layer
        result.rows.append(Row("setting", name, counterpart, status="differs", detail=detail))
        if result.first is None:
            text = f"{here} has epsilon {values[1]:g}, {there} {values[0]:g}"
            evidence = "On these images the outputs agree within the bound all the same."
            reasons = [Reason(f"{NORMS[calls[0].name]}'s epsilon", text, evidence)]
            result.first = FirstDifference(name, counterpart, None, 0, reasons)


def _compare_dropouts(result: Comparison, sides: Sides) -> None:
    """Compare the rates of dropouts, one after the other."""
    first, second = ([*_rates(trace)] for trace in sides.traces)
    if len(first) != len(second):
        counts = f"{len(first)} in {sides.names[0]}, {len(second)} in {sides.names[1]}"
        result.not_compared.append(f"rates of dropouts: {counts} are seen")
        return
    for (name, rate), (counterpart, other) in zip(first, second, strict=True):
        if abs(rate - other) > 1e-6:
            detail = f"dropout {rate:g} against {other:g}"
            result.rows.append(Row("setting", name, counterpart, status="differs", detail=detail))


def _rates(trace: Trace) -> list[tuple[str, float]]:
    """Return layer and rate of each dropout that drops anything in training."""
    found = []
    for call in trace.calls:
        if "dropout" in call.name and call.name in DROPOUTS:
            rate = call.kwargs.get("p", call.args[1] if len(call.args) > 1 else 0.5)
            found += [(call.layer, float(rate))] if rate else []
    return found


def _compare_weights(result: Comparison, sides: Sides) -> None:
    """Find weights that differ where inputs and outputs of their layers agree."""
    reference, other = sides.traces
    for k, partner in sides.pairs.items():
        first, second = reference.calls[k], other.calls[partner]
        if first.name != second.name or first.name not in ARGUMENTS:
            continue
        values = [
            (t.value(c.inputs[0]), c.output)
            for t, c in zip(sides.traces, (first, second), strict=True)
        ]
        if not all(is_same(*pair) for pair in zip(*values, strict=True)):
            continue
        given = bind(reference, k), bind(other, partner)
        for role in ROLES:
            mine, theirs = (g.get(role) for g in given)
            if not isinstance(mine, Tensor) or not isinstance(theirs, Tensor):
                continue
            off, bound = difference(mine, theirs), bound_of(mine)
            if mine.shape != theirs.shape or off <= bound:
                continue
            row = Row("weights", first.layer, second.layer, off, bound, "differs", role)
            result.rows.append(row)
            if result.first is None:
                text = f"the weights themselves differ ('{role}')"
                reason = Reason("", text, "On these images the outputs agree all the same.")
                result.first = FirstDifference(first.layer, second.layer, off, 0, [reason])
