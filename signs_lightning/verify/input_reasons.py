"""Finds what another scale or another order of channels makes of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from signs_lightning.keras_io.input_scales import RANGES, SCALES, rescale_inputs
from signs_lightning.verify.result import Reason
from signs_lightning.verify.sides import to_float
from signs_lightning.verify.values import bound_of, is_same


@dataclass(frozen=True)
class Relation:
    """How one side's pixels are made of the other's: factor · value + offset, channel by channel.

    Attributes:
        is_reversed: whether the channels come in reverse.
        factor: float (C,).
        offset: float (C,).
    """

    is_reversed: bool
    factor: Tensor
    offset: Tensor

    @property
    def is_scaled(self) -> bool:
        """Whether the values change."""
        tolerance = 1e-5 * max(1.0, float(self.offset.abs().max()))
        return not bool(((self.factor - 1).abs() < 1e-4).all()) or not bool(
            (self.offset.abs() < tolerance).all()
        )


def reasons_of_pixels(
    expected: Tensor, given: Tensor, images: Tensor, names: tuple[str, str]
) -> Iterator[Reason]:
    """Yield what explains that two first layers see other pixels.

    Args:
        expected: the reference's, float (N, C, H, W).
        given: the other's.
        images: uint8 (N, H, W, C), which both were made from.
        names: short names of reference and other.
    """
    there, here = names
    relation = relate(expected, given)
    if relation is None:
        return
    vanishes = "With the reference's pixels the difference vanishes."
    reverse = Reason(
        "channel order", f"{here} takes the channels in reverse (BGR for RGB)", vanishes
    )
    if relation.is_reversed and not relation.is_scaled:
        yield reverse
        return
    scales = [name_scale(pixels, images) for pixels in (expected, given)]
    factor, offset = (_number(values) for values in (relation.factor, relation.offset))
    text = f"pixels of {here} are {factor} · those of {there} + {offset}"
    if None not in scales:
        text = f"{here} takes {scales[1]}, {there} {scales[0]}"
    scale = Reason("scale", text, vanishes)
    # Channels in reverse less the right means: the order alone is wrong.
    is_order = relation.is_reversed and bool(((relation.factor - 1).abs() < 1e-3).all())
    if is_order and None in scales:
        yield reverse
    yield scale
    if relation.is_reversed and not is_order:
        yield reverse


@torch.no_grad()
def relate(expected: Tensor, given: Tensor) -> Relation | None:
    """Return how pixels are made of others of the same shape, or None."""
    if expected.shape != given.shape or expected.dim() != 4:
        return None
    for is_reversed in (False, True):
        x = (expected.flip(1) if is_reversed else expected).double().transpose(0, 1).flatten(1)
        y = given.double().transpose(0, 1).flatten(1)  # (C, values)
        centered = x - x.mean(1, keepdim=True)
        power = (centered * centered).sum(1)
        if not bool((power > 0).all()):
            return None
        factor = (centered * y).sum(1) / power
        offset = y.mean(1) - factor * x.mean(1)
        left = float((factor[:, None] * x + offset[:, None] - y).abs().max())
        if left <= 10 * bound_of(given) and bool((factor != 0).all()):
            return Relation(is_reversed, factor, offset)
    return None


def name_scale(pixels: Tensor, images: Tensor) -> str | None:
    """Return the scale that pixels have, and its range, or None for one without a name."""
    plain = to_float(images)
    for scale in SCALES:
        if scale in ("caffe", "torch") and plain.shape[1] != 3:
            continue
        if is_same(rescale_inputs(plain, scale).to(pixels.dtype), pixels):
            return f"'{scale}' ({RANGES[scale]})"
    return None


def _number(values: Tensor) -> str:
    """Return one number for all channels where they are equal, else all."""
    numbers = [f"{float(value):.4g}" for value in values]
    return numbers[0] if len(set(numbers)) == 1 else f"({', '.join(numbers)})"
