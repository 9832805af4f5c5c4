"""What we make of the files of a case."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras

from .draw_case import Case
from .keras_side import Outputs


def read(case: Case, path: Path, architecture: Path | None = None) -> FromKeras:
    model = from_keras(path, scale="/255", architecture=architecture)
    assert isinstance(model, FromKeras)
    return model


def to_torch(case: Case, images: np.ndarray, model: FromKeras) -> torch.Tensor:
    tensor, rank = torch.from_numpy(images), images.ndim
    if rank == 2:
        side = math.isqrt(images.shape[1])
        return tensor.reshape(-1, 1, side, side)
    if rank == 3:
        return tensor[:, None]
    if model.plan.graph.channels_first:
        return tensor
    return tensor.permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)


@torch.no_grad()
def run(case: Case, model: FromKeras, images: np.ndarray) -> Outputs:
    """Images in whatever range: the scale is "/255", so the network gets them as they are."""
    logits = model(to_torch(case, images, model))
    if logits.dtype == torch.float64:  # `probabilities` gives float32
        is_sigmoid = model.binary or model.plan.ending.kind == "sigmoid"
        values = logits.sigmoid() if is_sigmoid else logits.softmax(-1)
    else:
        values = model.probabilities(logits)
        values = values[:, 1:] if model.binary else values
    # After an average or a Dropout of probabilities, logits are their logarithms.
    is_watched = model.plan.ending.kind != "probabilities"
    return Outputs(values.numpy(), logits.numpy() if is_watched else None)


@torch.no_grad()
def perturb(model: FromKeras, share: float, rng: np.random.Generator) -> None:
    """Change every weight and constant in place, up or down by a share of itself."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            signs = torch.from_numpy(rng.choice([-1.0, 1.0], tuple(tensor.shape)))
            tensor.mul_(1 + share * signs)
