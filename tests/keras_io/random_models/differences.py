"""How far outputs are from Keras's."""

from __future__ import annotations

import numpy as np

from .keras_side import Outputs

TOLERANCE = 1e-5  # of probabilities; of the largest logit


def agree(ours: Outputs, theirs: Outputs) -> bool:
    return all(off <= 1 for off in differences(ours, theirs, TOLERANCE))


def differences(ours: Outputs, theirs: Outputs, tolerance: float) -> list[float]:
    """The largest differences, in units of what is tolerated; inf where shapes differ."""
    pairs = []
    if theirs.values is not None and ours.values is not None:
        pairs.append((ours.values, theirs.values, 1.0))
    if theirs.logits is not None and ours.logits is not None:
        scale = max(np.abs(theirs.logits).max(), 1e-6)
        pairs.append((ours.logits, theirs.logits, scale))
    return [
        float(np.abs(a.astype("float64") - b).max() / (tolerance * scale))
        if a.shape == b.shape and np.isfinite(a).all()
        else np.inf
        for a, b, scale in pairs
    ]
