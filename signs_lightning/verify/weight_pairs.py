"""Which weight of one network is which of another, and how its axes are turned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.verify.blame import image_of
from signs_lightning.verify.case import ARGUMENTS, bind
from signs_lightning.verify.layers import Sides
from signs_lightning.verify.trace import Trace
from signs_lightning.verify.values import channels_first_rows, channels_last_rows

AVERAGES = ("running_mean", "running_var")
ROLES = ("weight", "bias", *AVERAGES)
Turn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class WeightPair:
    """A weight of the reference, and the other's.

    Attributes:
        layer: the reference's layer.
        counterpart: the other's.
        role: "weight", "bias", "running_mean" or "running_var".
        names: of both in their networks.
        turn: puts the other's in the reference's order.
        calls: indices of the calls that take them.
    """

    layer: str
    counterpart: str
    role: str
    names: tuple[str, str]
    turn: Turn
    calls: tuple[int, int]


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by their names."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def pair_weights(sides: Sides) -> list[WeightPair]:
    """Return the weights that correspond, each once."""
    reference, other = sides.traces
    places = [
        {value.data_ptr(): name for name, value in state_of(side.network).items() if value.numel()}
        for side in (sides.reference, sides.other)
        if side.network is not None
    ]
    found: dict[tuple[str, str], WeightPair] = {}
    for k, partner in sides.pairs.items():
        first, second = reference.calls[k], other.calls[partner]
        if first.name != second.name or first.name not in ARGUMENTS:
            continue
        given = bind(reference, k), bind(other, partner)
        for role in ROLES:
            values = [v for v in (g.get(role) for g in given) if isinstance(v, Tensor)]
            if len(values) < 2:
                continue
            names = [p.get(v.data_ptr()) for p, v in zip(places, values, strict=True)]
            turn = _turn(reference, k, other, partner, values)
            if None in names or turn is None:
                continue
            key = (str(names[0]), str(names[1]))
            found[key] = WeightPair(first.layer, second.layer, role, key, turn, (k, partner))
    return list(found.values())


def _turn(
    reference: Trace, index: int, other: Trace, partner: int, values: list[Any]
) -> Turn | None:
    """Return what puts the other's weight in the reference's order, or None."""
    turns: list[Turn] = [lambda value: value]
    for trace, k in ((other, partner), (reference, index)):
        image = image_of(trace, k, is_input=True)
        if image is not None and values[0].dim() == 2:
            turns.append(lambda value, image=image: channels_last_rows(value, image))  # type: ignore[misc]
            turns.append(lambda value, image=image: channels_first_rows(value, image))  # type: ignore[misc]
    for turn in turns:
        if values[0].shape == values[1].shape and torch.equal(values[0], turn(values[1])):
            return turn
    return None
