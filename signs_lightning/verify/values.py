"""Whether two tensors hold the same values, whatever the order of their axes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BOUND = 1e-5  # largest difference, as a share of the reference's largest value; of a probability
LAST_AXIS = (0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
FIRST_AXIS = (0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
Image = tuple[int, int, int]


def bound_of(reference: Tensor) -> float:
    """Return the largest difference that is allowed beside these values."""
    finite = reference.detach()[reference.detach().isfinite()].double()
    return BOUND * max(float(finite.abs().max()) if finite.numel() else 0.0, 1e-30)


def difference(reference: Tensor, value: Tensor) -> float:
    """Return the largest difference; inf for another shape, or where one is not finite."""
    if reference.shape != value.shape:
        return float("inf")
    if not reference.numel():
        return 0.0
    a, b = reference.detach().double(), value.detach().double()
    found = float(torch.where(a == b, 0.0, a - b).abs().max())  # infinities may be equal, too
    return found if found == found else float("inf")


def is_same(reference: Tensor, value: Tensor) -> bool:
    """Return whether two tensors of one shape agree within the bound."""
    return difference(reference, value) <= bound_of(reference)


def arrangements(reference: Tensor, value: Tensor, image: Image | None = None) -> Iterator[Tensor]:
    """Yield a value in a reference's shape, in each order that its axes may have.

    Args:
        reference: (N, …).
        value: (N, …) with as many values.
        image: channels, height and width that rows of values were made from.
    """
    if value.shape == reference.shape:
        yield value
    if value.numel() != reference.numel() or len(value) != len(reference):
        return
    if value.dim() == 4 and reference.dim() == 4:
        for order in (LAST_AXIS, FIRST_AXIS):
            if (permuted := value.permute(order)).shape == reference.shape:
                yield permuted
    elif _sizes(value) == _sizes(reference):
        if value.shape != reference.shape:  # (N, C, 1, 1) is (N, C)
            yield value.reshape(reference.shape)
    elif value.dim() == 3 and reference.dim() == 3 and value.mT.shape == reference.shape:
        yield value.mT
    elif value.dim() == 4:
        yield value.reshape(reference.shape)
        yield value.permute(LAST_AXIS).reshape(reference.shape)
    elif reference.dim() == 4:
        yield value.reshape(reference.shape)
        count, channels, height, width = reference.shape
        yield value.reshape(count, height, width, channels).permute(FIRST_AXIS)
    if image is not None and value.dim() == reference.dim() == 2 and value.shape == reference.shape:
        channels, height, width = image
        if channels * height * width == value.shape[1]:
            yield channels_last_rows(value, image)
            yield channels_first_rows(value, image)


def channels_last_rows(rows: Tensor, image: Image) -> Tensor:
    """Rows (N, C · H · W) -> (N, H · W · C)."""
    return rows.reshape(len(rows), *image).permute(LAST_AXIS).reshape(len(rows), -1)


def channels_first_rows(rows: Tensor, image: Image) -> Tensor:
    """Rows (N, H · W · C) -> (N, C · H · W)."""
    channels, height, width = image
    return rows.reshape(-1, height, width, channels).permute(FIRST_AXIS).reshape(len(rows), -1)


def best_difference(reference: Tensor, value: Tensor, image: Image | None = None) -> float:
    """Return the smallest of the largest differences over all orders of the axes."""
    found = [difference(reference, v) for v in arrangements(reference, value, image)]
    return min(found, default=float("inf"))


class Values:
    """The values of a trace, to be searched.

    Args:
        values: in the order of the calls.
    """

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values
        self._sums = [float(v.double().abs().sum()) for v in values]

    def find(
        self, reference: Tensor, image: Image | None = None, bound: float | None = None
    ) -> tuple[int, float] | None:
        """Return the index of the first that is the same, and the largest difference; or None.

        Args:
            reference: what is looked for.
            image: as of `arrangements`.
            bound: largest difference; `bound_of` the reference when omitted.
        """
        if not torch.is_floating_point(reference):
            return None
        bound = bound_of(reference) if bound is None else bound
        total = float(reference.double().abs().sum())
        for k, value in enumerate(self.values):
            if value.numel() != reference.numel():
                continue
            if not abs(self._sums[k] - total) <= bound * max(reference.numel(), 1):
                continue
            found = best_difference(reference, value, image)
            if found <= bound:
                return k, found
        return None


def _sizes(value: Tensor) -> list[int]:
    return [size for size in value.shape[1:] if size != 1]
