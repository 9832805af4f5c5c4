"""Data of zeros in the files and under the names that the notebooks read, and stand-ins for what
they only plot with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import h5py
import numpy as np
from PIL import Image

IMAGES = 40  # of each class
STAND_INS = (
    *("matplotlib", "matplotlib.pyplot", "pandas", "seaborn", "IPython", "IPython.display"),
    *("google", "google.colab", "pydot"),
)
SHAPES = {"mnist": (28, 28), "fashion_mnist": (28, 28), "cifar10": (32, 32, 3)}


def write_files() -> None:
    """Write folders of pictures, and HDF5 files of signs and smiles."""
    for folder, classes in (("data", ("cats", "dogs")), ("data3", ("a", "b", "c"))):
        for part in ("train", "validation"):
            for name in classes:
                place = Path(folder, part, name)
                place.mkdir(parents=True)
                for number in range(IMAGES):
                    Image.new("RGB", (8, 8)).save(place / f"{name}.{number}.png")
    Path("datasets").mkdir()
    for name, count in (("signs", 6), ("happy", 2)):
        for part in ("train", "test"):
            with h5py.File(f"datasets/{part}_{name}.h5", "w") as file:
                file[f"{part}_set_x"] = np.zeros((72, 64, 64, 3), "uint8")
                file[f"{part}_set_y"] = np.resize(np.arange(count), 72)
                file["list_classes"] = np.arange(count)


def install(keras: Any) -> None:
    """Make the data of `keras.datasets` zeros, and helpers importable."""
    for name, shape in SHAPES.items():
        data = getattr(keras.datasets, name)
        data.load_data = lambda shape=shape: (_part(600, shape), _part(100, shape))
    for name in STAND_INS:
        sys.modules[name] = MagicMock()
    _module(
        "imutils", paths=MagicMock(list_images=lambda folder: map(str, Path(folder).rglob("*.png")))
    )
    _module("cv2", imread=lambda file: np.zeros((8, 8, 3)), resize=_resize)
    _module("sklearn")
    _module("sklearn.model_selection", train_test_split=_split)
    signs = (np.zeros((80, 64, 64, 3)), np.zeros((1, 80), int))
    _module("happy_utils", load_dataset=lambda: (*signs, *signs, np.arange(2)))
    _module("resnets_utils", load_dataset=lambda: (*signs, *signs, np.arange(6)),
            convert_to_one_hot=lambda y, n: np.eye(n)[y.reshape(-1)].T)  # fmt: skip


def _module(name: str, **contents: Any) -> None:
    module = ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


def _part(count: int, shape: tuple[int, ...]) -> tuple[Any, Any]:
    return np.zeros((count, *shape), "uint8"), np.arange(count) % 10


def _pictures(folder: str) -> list[str]:
    return list(map(str, Path(folder).rglob("*.png")))


def _resize(image: Any, size: tuple[int, int]) -> Any:
    return np.zeros((size[1], size[0], 3))


def _split(*arrays: Any, test_size: float, **settings: Any) -> list[Any]:
    count = int(len(arrays[0]) * test_size)
    return [part for array in arrays for part in (array[count:], array[:count])]
