"""No verb writes over a file that it reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

SAID = "is the file that is read. Name another file.\n"


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, bytes]:
    """The bytes of a Keras file, a picture and an HDF5 file, by name."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    keras.Sequential([keras.Input((4, 4, 3)), *layers]).save(tmp_path / "net.keras")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["train_set_x"] = np.zeros((4, 4, 4, 3), np.uint8)
    os.link(tmp_path / "net.keras", tmp_path / "other name.keras")
    np.savez(tmp_path / "x.npz", x=np.zeros(1))
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    os.link(tmp_path / "net.keras", tmp_path / "run/checkpoints/last.ckpt")
    return contents(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "args",
    [
        ("export", "net.keras", "--output", "net.keras"),
        ("export", "net.keras", "--output", "other name.keras"),
        ("import-keras", "net.keras", "--output", "./net.keras"),
        ("predict", "net.keras", "--images", "a.png", "--output", "a.png"),
        ("predict", "net.keras", "--images", "a.png", "--output", "net.keras"),
        ("predict", "net.keras", "--images", ".", "--output", "a.png"),
        ("predict", "run", "--images", "a.png", "--output", "run/checkpoints/last.ckpt"),
        ("predict", "net.keras", "--images", "a.png", "--inputs", "x.npz", "--output", "x.npz"),
        ("verify", "net.keras", "--against", "net.keras", "--json", "net.keras"),
        ("verify", "net.keras", "--against", "net.keras", "--images", ".", "--output", "a.png"),
        ("convert", "images.h5", "--output", "images.h5"),
        ("import-safetensors", "a.png", "--model", "SignsFunctional", "--output", "a.png"),
    ],
    ids=" ".join,
)
def test_an_input_is_never_written_over(
    args: tuple[str, ...], inputs: dict[str, bytes], cli: Callable, tmp_path: Path
) -> None:
    result = cli(*args)
    assert (result.code, result.err[-len(SAID) :]) == (2, SAID)
    assert contents(tmp_path) == inputs
