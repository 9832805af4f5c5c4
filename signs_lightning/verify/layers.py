"""Compares two networks layer by layer, and names the first layer that differs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from signs_lightning.verify.activation_reasons import name_activation, softmax_twice
from signs_lightning.verify.blame import Found, find_first
from signs_lightning.verify.case import INF, Case, consumers
from signs_lightning.verify.input_reasons import reasons_of_pixels
from signs_lightning.verify.layer_reasons import class_order, class_order_reason
from signs_lightning.verify.match_layers import match_layers, plain_name
from signs_lightning.verify.reasons import UNKNOWN, explain, explain_random, find_random_call
from signs_lightning.verify.result import PIXELS, Comparison, FirstDifference, Reason, Row, Status
from signs_lightning.verify.sides import Side
from signs_lightning.verify.trace import Trace, find_roundings, trace_network
from signs_lightning.verify.values import arrangements, difference, is_same


@dataclass
class Sides:
    """Both sides on the same images.

    Attributes:
        reference: the side that is right by definition.
        other: the other one.
        images: uint8 (N, H, W, C).
        pixels: what each prepares of them.
        traces: of both networks, on the same pixels where they can be.
        found: where the reference's values are in the other.
        pairs: the other's call for each call with weights of the reference.
    """

    reference: Side
    other: Side
    images: Tensor
    pixels: tuple[Tensor, Tensor]
    traces: tuple[Trace, Trace]
    found: Found
    pairs: dict[int, int]

    @property
    def names(self) -> tuple[str, str]:
        """Short names of both."""
        return Path(self.reference.name).name, Path(self.other.name).name


def make_sides(
    reference: Side,
    other: Side,
    images: Tensor,
    pixels: tuple[Tensor, Tensor],
    traces: tuple[Trace, Trace],
) -> Sides:
    """Return both sides with their layers matched; where pixels differ, on the reference's."""
    first, second = traces
    is_other_input = pixels[0].shape == pixels[1].shape and not is_same(*pixels)
    if is_other_input and other.network is not None:
        second = trace_network(other.network, pixels[0])
    pairs = match_layers(first, second)
    found = find_first(first, second, pairs)
    if found.blamed is not None and reference.network is not None and not first.roundings:
        find_roundings(first, reference.network)
        found = find_first(first, second, pairs)
    return Sides(reference, other, images, pixels, (first, second), found, pairs)


def compare_layers(result: Comparison, sides: Sides) -> None:
    """Add a row for each layer of the reference, and the first that differs."""
    reference, other = sides.traces
    first = find_first_difference(sides)
    own_names = {plain_name(name): name for name in other.kinds}
    agreeing, tainted = 0, set[int]()
    for name in reference.kinds:
        calls = reference.calls_of(name)
        if not calls:
            continue
        output, bound = reference.calls[calls[-1]].output, reference.bound(calls[-1])
        place = sides.found.places[calls[-1]]
        partner = next((sides.pairs[k] for k in calls if k in sides.pairs), None)
        counterpart = "" if partner is None else other.calls[partner].layer
        if first is not None and name == first[0]:
            off = None
            tainted |= set(calls)
            partner = partner or counterpart_of(sides, calls)
            if partner is not None:
                counterpart = other.calls[partner].layer
                value = other.calls[partner].output
                off = min((difference(output, v) for v in arrangements(output, value)), default=INF)
            result.first = FirstDifference(name, counterpart, off, agreeing, first[1])
            row = Row("layer", name, counterpart, off, bound, "differs")
        elif place is not None and not _rests_on(reference, calls, tainted):
            counterpart = own_names.get(plain_name(name), "") or counterpart
            counterpart = counterpart or other.calls[place[0]].layer
            row = Row("layer", name, counterpart, place[1], bound)
            agreeing += not tainted
        else:
            status: Status = "after" if tainted else "no counterpart"
            tainted |= set(calls) if tainted else set()
            row = Row("layer", name, counterpart, status=status)
        result.rows.append(row)


def _rests_on(trace: Trace, calls: list[int], tainted: set[int]) -> bool:
    """Return whether a layer is applied to what differs, or to what comes of that."""
    return any(index in tainted for k in calls for index in trace.calls[k].inputs)


def counterpart_of(sides: Sides, calls: list[int]) -> int | None:
    """Return the other's call that is applied to what a layer without weights is applied to."""
    reference, other = sides.traces
    sources = [i for k in calls for i in reference.calls[k].inputs if i not in calls and i >= 0]
    places = [sides.found.places[i] for i in sources]
    for place in places:
        behind = [] if place is None else consumers(other, place[0])
        if behind:
            return behind[0]
    return None


def find_first_difference(sides: Sides) -> tuple[str, list[Reason]] | None:
    """Return the first layer that differs and why, or None."""
    (reference, other), blamed, network = sides.traces, sides.found.blamed, sides.other.network
    if blamed is None or network is None:
        return None
    case = Case(
        reference, other, sides.found, sides.pairs, sides.names, sides.images, blamed
    )  # fmt: skip
    random = find_random_call(other, trace_network(network, other.images, seed=1))
    if random is None:
        return explain(case)
    at_rest = trace_network(network, other.images, has_dropout=False)
    pairs = match_layers(reference, at_rest)
    found = find_first(reference, at_rest, pairs)
    explained = explain_random(case, random, found.blamed)
    if explained is not None or found.blamed is None:
        return explained
    return explain(Case(reference, at_rest, found, pairs, sides.names, sides.images, found.blamed))


def explain_pixels(result: Comparison, sides: Sides) -> None:
    """Let pixels be the first difference, where they differ."""
    row = next((row for row in result.rows if row.part == "pixels"), None)
    if row is None or row.status != "differs":
        return
    reasons = list(reasons_of_pixels(*sides.pixels, sides.images, sides.names))
    if result.first is not None:
        result.notes.append(f"on the same pixels, layer '{result.first.layer}' differs, too")
    else:
        result.notes.append("on the same pixels, all layers agree")
    result.first = FirstDifference(PIXELS, "", row.difference, 0, reasons or [UNKNOWN])


def explain_end(
    result: Comparison, probabilities: tuple[Tensor, Tensor], sides: Sides | None = None
) -> None:
    """Find why probabilities differ behind layers that agree.

    Args:
        result: the row of its probabilities is the last one; gets the first difference.
        probabilities: (N, K) of the reference and of the other.
        sides: both, where their layers were compared.
    """
    if result.first is not None or result.rows[-1].status != "differs":
        return
    here = Path(result.names[1]).name
    found = [softmax_twice(*probabilities, here)]
    if (order := class_order(*probabilities)) is not None:
        found.append(class_order_reason(here, order))
    if sides is not None:
        raw = [trace.output.flatten(1) for trace in sides.traces]
        name = name_activation(raw[0], raw[1], skip_linear=True)
        if name is not None and "softmax" not in name:
            text = f"{here} ends in {name}, the reference does not"
            found.append(Reason("activation variant", text, "With it the difference vanishes."))
    reasons = [reason for reason in found if reason is not None]
    layers = [row for row in result.rows if row.part == "layer"]
    name, counterpart = (layers[-1].name, layers[-1].counterpart) if layers else ("outputs", "")
    agreeing = sum(row.status == "agrees" for row in layers)
    off = difference(*probabilities)
    result.first = FirstDifference(name, counterpart, off, agreeing, reasons or [UNKNOWN])
