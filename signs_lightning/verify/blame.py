"""Finds the first layer of a reference whose output the other network does not have."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from signs_lightning.verify.match_layers import has_same_weights
from signs_lightning.verify.trace import DROPOUTS, IMAGE, Trace
from signs_lightning.verify.values import Image, Values, best_difference, bound_of

# Operations that move values, or leave them as they are: a network may do without them, and what
# they do wrong shows in the next one.
TRANSPARENT = {"pad", "permute", "movedim", "transpose", "reshape", "view", "flatten", "squeeze"}
TRANSPARENT |= {"unsqueeze", "contiguous", "clone", "to", "float", "double", "detach", "unflatten"}
TRANSPARENT |= {"mT", "T", "swapaxes", *DROPOUTS}


@dataclass(frozen=True)
class Found:
    """Where the outputs of a reference's calls are in another trace.

    Attributes:
        places: index of the other's call and the largest difference, by call; None where it has
            none.
        blamed: the first call whose output the other should have and has not, or None.
    """

    places: list[tuple[int, float] | None]
    blamed: int | None


def find_first(reference: Trace, other: Trace, pairs: dict[int, int]) -> Found:
    """Look for the output of every call of a reference among those of another network.

    A call without a counterpart is not blamed where a later one that rests on it has one: the other
    network may compute the same in other steps. One whose twin has the same weights and the same
    input, and another output, always is.

    Args:
        reference: the trace that is right.
        other: the other one.
        pairs: the other's call for each call with weights of the reference.
    """
    values = Values([call.output for call in other.calls])
    places = [
        values.find(call.output, image_of(reference, k), reference.bound(k))
        for k, call in enumerate(reference.calls)
    ]
    reached = [place is not None for place in places]
    tells = [reached[k] and tells_apart(call.output) for k, call in enumerate(reference.calls)]
    for k in range(len(reference.calls) - 1, -1, -1):
        if tells[k]:
            for index in reference.calls[k].inputs:
                if index != IMAGE:
                    reached[index] = tells[index] = True
    bad = [
        k
        for k, call in enumerate(reference.calls)
        if (not reached[k] and call.name not in TRANSPARENT and call.output.is_floating_point())
        or (k in pairs and _parts_here(reference, k, other, pairs[k]))
    ]
    return Found(places, bad[0] if bad else None)


def _parts_here(reference: Trace, index: int, other: Trace, partner: int) -> bool:
    """Return whether two calls make different outputs of the same weights and the same input."""
    calls = reference.calls[index], other.calls[partner]
    if best_difference(calls[0].output, calls[1].output) <= reference.bound(index):
        return False
    if not has_same_weights(reference, index, other, partner):
        return False
    given = reference.value(calls[0].inputs[0]), other.value(calls[1].inputs[0])
    image = image_of(reference, index, is_input=True)
    return best_difference(given[0], given[1], image) <= bound_of(given[0])


def tells_apart(value: Tensor) -> bool:
    """Return whether two networks do not give a value by chance, as zeros behind a ReLU."""
    return len(value.unique()) >= min(16, value.numel() / 4)


def image_of(trace: Trace, index: int, is_input: bool = False) -> Image | None:
    """Return channels, height and width that rows of values were made from, or None.

    Args:
        trace: of a network.
        index: the call that gives the rows.
        is_input: whether it takes them instead.
    """
    if is_input:
        inputs = trace.calls[index].inputs
        if not inputs:
            return None
        index = inputs[0]
    value = trace.value(index)
    if value.dim() != 2:
        return None
    while index != IMAGE and trace.calls[index].inputs:
        index = trace.calls[index].inputs[0]
        earlier: Tensor = trace.value(index)
        if earlier.numel() != value.numel():
            return None
        if earlier.dim() == 4:
            is_permuted = index != IMAGE and trace.calls[index].name in ("permute", "movedim")
            if not is_permuted:  # (N, H, W, C) otherwise, and (N, C, H, W) before that
                return earlier.shape[1], earlier.shape[2], earlier.shape[3]
        elif earlier.dim() != 2:
            return None
    return None
