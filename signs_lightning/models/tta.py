"""Test-time augmentation: the same image seen in several ways, whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

View = Literal["hflip", "vflip", "shifts"]


def augmented_views(images: Tensor, kinds: Sequence[View]) -> Iterator[Tensor]:
    """The images themselves, then each of them in other ways.

    Args:
        images: float (N, C, H, W) in 0..1.
        kinds: "hflip" and "vflip" add the mirror image, of all views so far; "shifts" adds the
            image a sixteenth of its size further up, down, left and right, its edge repeated.
    """
    yield images
    if "shifts" in kinds:
        down, right = images.shape[-2] // 16, images.shape[-1] // 16
        padded = F.pad(images, (right, right, down, down), mode="replicate")
        height, width = images.shape[-2:]
        for top, left in ((0, right), (2 * down, right), (down, 0), (down, 2 * right)):
            yield padded[..., top : top + height, left : left + width]
    for kind, axis in (("hflip", -1), ("vflip", -2)):
        if kind in kinds:
            rest = [
                other
                for other in kinds
                if other == "shifts" or (other == "hflip" and kind == "vflip")
            ]
            for view in augmented_views(images, rest):
                yield view.flip(axis)


def mean_logits(probabilities: Sequence[Tensor], binary: bool) -> Tensor:
    """Float (N, K) probabilities of each view → logits (N, K) of their mean; (N, 1), the log-odds of class 1, of a binary model."""
    mean = torch.stack(list(probabilities)).mean(dim=0)
    logs = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
    return logs[:, 1:] - logs[:, :1] if binary else logs
