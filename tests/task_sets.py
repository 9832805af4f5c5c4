"""Images with several labels each, or with numbers to be predicted, drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

SIZE = 40  # pixels of a side
PLACES = ((0, 0), (0, 20), (20, 0), (20, 20))  # of the squares: a label each
NAMES = ["north-west", "north-east", "south-west", "south-east"]
TARGETS = ["warmth", "metres"]


def draw_labelled(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images with squares in any of four quarters, and which quarters have one.

    Returns:
        images uint8 (count, 40, 40, 3), grey noise and squares of the quarter's own brightness;
        labels uint8 (count, 4) of 0 and 1.
    """
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 4)) < (0.5, 0.4, 0.3, 0.2)).astype(np.uint8)
    images = rng.integers(0, 90, (count, SIZE, SIZE, 3))
    for k, (top, left) in enumerate(PLACES):
        images[labels[:, k] == 1, top + 3 : top + 15, left + 3 : left + 15] += 40 + 20 * k
    return images.astype(np.uint8), labels


def draw_measured(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images of one value, and two numbers that depend on it, in units far apart.

    Returns:
        images uint8 (count, 40, 40, 3); numbers float64 (count, 2): 1000 and more, hundredths.
    """
    rng = np.random.default_rng(seed)
    levels = rng.uniform(20, 230, count)
    noise = rng.normal(0, 12, (count, SIZE, SIZE, 3))
    images = np.clip(levels[:, None, None, None] + noise, 0, 255).astype(np.uint8)
    images[:, :20, :, 1] = rng.uniform(0, 255, count)[:, None, None]
    numbers = np.stack([1000 + 3 * levels, 0.05 - images[:, 0, 0, 1] / 9000], axis=1)
    return images, numbers


def write_set(
    path: Path, images: np.ndarray, labels: np.ndarray, names: list[str] | None = None
) -> Path:
    """Write an HDF5 file in the course's layout, and return its path."""
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = images, labels
        if names is not None:
            file["list_classes"] = np.array(names, "S")
    return path


def write_sets(folder: Path, task: str, counts: tuple[int, int] = (240, 61)) -> tuple[Path, Path]:
    """Write a training and a test file of a task, and return their paths."""
    draw = draw_labelled if task == "multilabel" else draw_measured
    names = NAMES if task == "multilabel" else TARGETS
    train, test = (
        write_set(folder / f"{task}_{role}.h5", *draw(count, seed), names)
        for seed, (role, count) in enumerate(zip(("train", "test"), counts, strict=True))
    )
    return train, test
