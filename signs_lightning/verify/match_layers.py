"""Which layer with weights of one network is which of another."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from difflib import SequenceMatcher

import torch
from torch import Tensor

from signs_lightning.verify.trace import Trace

WITH_WEIGHTS = {"conv2d", "conv_transpose2d", "linear", "batch_norm", "layer_norm", "group_norm"}
WITH_WEIGHTS |= {"instance_norm", "matmul", "prelu", "rms_norm", "conv1d", "where", "mul"}


def anchors(trace: Trace) -> list[int]:
    """Return the calls that take weights, in order."""
    return [
        k
        for k, call in enumerate(trace.calls)
        if call.name in WITH_WEIGHTS and any(w.numel() > 1 for w in call.weights)
    ]


def match_layers(reference: Trace, other: Trace) -> dict[int, int]:
    """Return the other's call for each call with weights of a reference, as far as one fits.

    Calls with the same weights in any order belong together, then those of layers with one name,
    and then those of equal shapes in the same order.
    """
    sides = [anchors(reference), anchors(other)]
    traces = (reference, other)
    keys: list[list[Hashable]] = [[("shape", *_shape_key(t, k)) for k in side]
                                  for t, side in zip(traces, sides, strict=True)]  # fmt: skip
    for make in (_weights_key, _name_key):
        made = [[make(t, k) for k in side] for t, side in zip(traces, sides, strict=True)]
        unique = [{key for key, n in Counter(side).items() if n == 1} for side in made]
        shared = unique[0] & unique[1]
        for side, names in zip(keys, made, strict=True):
            for position, name in enumerate(names):
                if name in shared and side[position][0] == "shape":  # type: ignore[index]
                    side[position] = (make.__name__, name)
    pairs: dict[int, int] = {}
    places = dict(zip(keys[1], sides[1], strict=True))
    for key, k in zip(keys[0], sides[0], strict=True):
        if key[0] != "shape" and key in places:  # type: ignore[index]
            pairs[k] = places[key]
    matcher = SequenceMatcher(None, keys[0], keys[1], autojunk=False)
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            k, partner = sides[0][block.a + step], sides[1][block.b + step]
            if k not in pairs and partner not in pairs.values():
                pairs[k] = partner
    return pairs


def plain_name(name: str) -> str:
    """Return a layer's name without what the rules of a language add: `conv2d_1`, `backbone.a`."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def _name_key(trace: Trace, index: int) -> Hashable:
    call = trace.calls[index]
    return plain_name(call.layer), _shape_key(trace, index)


def _shape_key(trace: Trace, index: int) -> tuple[Hashable, ...]:
    call = trace.calls[index]
    sizes = (tuple(sorted(w.shape)) for w in call.weights if w.numel() > 1)
    return call.name, tuple(sorted(sizes))


def _weights_key(trace: Trace, index: int) -> Hashable:
    """Return what the order of the values in a call's weights does not change."""
    return trace.calls[index].name, tuple(map(_sums, trace.calls[index].weights))


def has_same_weights(reference: Trace, index: int, other: Trace, partner: int) -> bool:
    """Return whether two calls take the same weights, whatever the order of their values."""
    return _weights_key(reference, index) == _weights_key(other, partner)


def _sums(weight: Tensor) -> tuple[str, str]:
    values = weight.detach().double()
    return f"{float(values.abs().sum()):.6g}", f"{float(torch.square(values).sum()):.6g}"
