"""The split of a file into two parts, class by class."""

from __future__ import annotations

import numpy as np


def stratified_split(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split 0..N-1 so that every class has its share on both sides.

    Shares are exact to within one image.

    Args:
        labels: int64 (N,).
        fraction: share of the second part, in 0..1 (exclusive).
        seed: of the choice.

    Returns:
        Sorted int64 indices of the first part and of the second.
    """
    rng = np.random.default_rng(seed)
    chosen, owed = [], 0.0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        owed += len(members) * fraction  # what rounding left over counts for the next class
        take = min(round(owed), len(members) - 1)
        owed = min(owed - take, 0.5)  # what a class is too small to give is taken from no other
        chosen.append(members[:take])
    second = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), second), second
