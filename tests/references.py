"""Models that Keras on TensorFlow trained: golden files on drawn pictures, and runs on photographs
where these are at hand.
"""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).resolve().parents[2] / "shared"
# What lies beside some checkouts, none of it in them.
PHOTOS = {"photos of hands": "signs", "photos of faces": "happy"}

# For `parametrize("reference", …, indirect=True)`: what the golden files prove, and once more on
# photographs.
SIGNS = ["signs", pytest.param("photos of hands", marks=pytest.mark.slow)]
SMILES = ["smiles", pytest.param("photos of faces", marks=pytest.mark.slow)]


@dataclass(frozen=True)
class Reference:
    """A trained model, its pictures, and what Keras made of them.

    Attributes:
        binary: whether it is the sequential model of two classes, else the functional one of six.
        folder: with initial.h5, trained.*, history.csv and test_probabilities.npy.
        train_file: HDF5 file of the pictures it was trained on, the first `train_count` of them.
        test_file: HDF5 file of those it was validated on, the last ones of them, as many as there
            are probabilities.
    """

    binary: bool
    folder: Path
    train_file: Path
    test_file: Path
    train_count: int | None = None

    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (N, 64, 64, 3) and int64 (N,)"""
        images, labels = read_images(self.train_file)
        return images[: self.train_count], labels[: self.train_count]

    def test(self) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (N, 64, 64, 3) and int64 (N,)"""
        images, labels = read_images(self.test_file)
        return images[-len(self.probabilities) :], labels[-len(self.probabilities) :]

    @property
    def probabilities(self) -> np.ndarray:
        """Keras's, float32 (N, 6), or (N, 1) of a binary model, for the N pictures of `test`."""
        return np.load(self.folder / "test_probabilities.npy")

    @property
    def history(self) -> dict[str, np.ndarray]:
        """A column of each of Keras's figures, one value an epoch."""
        with (self.folder / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}

    @property
    def correct(self) -> int:
        """How many of the N pictures of `test` Keras counted as right after the last epoch."""
        return round(self.history["val_accuracy"][-1] * len(self.probabilities))

    def trained(self, extension: str, folder: Path) -> Path:
        """The trained model as `.h5`, `.keras` or `.weights.h5`; this one is unpacked into a folder
        where it lies in the `.keras`.
        """
        path = self.folder / f"trained.{extension}"
        if extension == "weights.h5" and not path.exists():
            with zipfile.ZipFile(self.folder / "trained.keras") as archive:
                path = folder / path.name
                path.write_bytes(archive.read("model.weights.h5"))
        return path


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What is in a file of the course's schema: images (N, H, W, C) and labels (N,)."""
    with h5py.File(path) as file:
        kind = next(key.partition("_")[0] for key in file if key.endswith("_set_x"))
        return file[f"{kind}_set_x"][()], file[f"{kind}_set_y"][()].ravel()


def reference_of(name: str) -> Reference:
    """ "signs" and "smiles" are the golden files; photographs are skipped where there are none."""
    if name not in PHOTOS:
        train_file, test_file = (GOLDEN / f"{name}_{kind}.h5" for kind in ("train", "test"))
        return Reference(name == "smiles", GOLDEN / name, train_file, test_file)
    kind = PHOTOS[name]
    files = [SHARED / "datasets" / kind / f"{split}_{kind}.h5" for split in ("train", "test")]
    if (
        kind == "happy"
    ):  # its training file is not at hand: the first images of the test file stand for it
        files = [files[1], files[1]]
    folder = SHARED / "keras_reference" / kind
    if not (folder.is_dir() and all(file.is_file() for file in files)):
        pytest.skip(f"no photographs at hand: {files[1]}")
    return Reference(kind == "happy", folder, files[0], files[1], 100 if kind == "happy" else None)
