"""Test-time augmentation: mean probabilities of several views of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

View = Literal["hflip", "vflip", "shifts"]


def check_views(kinds: Any) -> None:
    """Check what a model remembers as its `test_time_augmentation`.

    Raises:
        InputError: it is no list of views.
    """
    known = get_args(View)
    if kinds and not (isinstance(kinds, list | tuple) and all(kind in known for kind in kinds)):
        raise InputError(
            f"test_time_augmentation is {shorten(str(kinds))}, expected a list of some of "
            f"{', '.join(known)}."
        )


def augmented_views(images: Tensor, kinds: Sequence[View]) -> Iterator[Tensor]:
    """Yield the images themselves, then other views of them.

    Args:
        images: float (N, C, H, W) in 0..1.
        kinds: "hflip" and "vflip" add the mirror image, of all views so far; "shifts" adds the
            image a sixteenth of its size further up, down, left and right, its edge repeated.
    """
    yield images
    if "shifts" in kinds:
        height, width = images.shape[-2:]
        down, right = height // 16, width // 16
        padded = F.pad(images, (right, right, down, down), mode="replicate")
        for top, left in ((0, right), (2 * down, right), (down, 0), (down, 2 * right)):
            yield padded[..., top : top + height, left : left + width]
    if "hflip" in kinds:
        for view in augmented_views(images, ["shifts"] if "shifts" in kinds else []):
            yield view.flip(-1)
    if "vflip" in kinds:
        for view in augmented_views(images, [kind for kind in kinds if kind != "vflip"]):
            yield view.flip(-2)


def mean_logits(probabilities: Sequence[Tensor], binary: bool, independent: bool = False) -> Tensor:
    """Return logits of the mean probabilities of several views.

    Args:
        probabilities: float (N, K) of each view.
        binary: whether the model has one logit.
        independent: whether each class has a probability of its own.

    Returns:
        float (N, K); (N, 1), the log-odds of class 1, of a binary model.
    """
    mean = torch.stack(list(probabilities)).mean(dim=0)
    smallest = torch.finfo(mean.dtype).tiny
    logs = mean.clamp_min(smallest).log()
    if independent:
        return logs - (1 - mean).clamp_min(smallest).log()
    return logs[:, 1:] - logs[:, :1] if binary else logs
