"""Keras (TensorFlow backend) reads small pictures of random sizes from a folder.

    KERAS_BACKEND=tensorflow python make_resized.py

writes resized.npz beside this file: the pictures, and what `image_dataset_from_directory` makes of
them. It needs keras, tensorflow and pillow, nothing of this project.
"""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

SIZES = [(1, 1), (7, 5), (16, 12), (5, 40), (33, 20), (90, 61), (64, 64), (37, 111)]
SIZE = (12, 16)
FITS = {"stretch": {}, "crop": {"crop_to_aspect_ratio": True}, "pad": {"pad_to_aspect_ratio": True}}


def main() -> None:
    rng = np.random.default_rng(5)
    arrays: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate(SIZES):
            blocks = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            arrays[f"picture_{number}"] = blocks
            Image.fromarray(blocks).save(Path(folder, f"{number}.png"))
        for name, fit in FITS.items():
            dataset = keras.utils.image_dataset_from_directory(
                folder, labels=None, image_size=SIZE, batch_size=None, shuffle=False, **fit
            )
            arrays[name] = np.stack([image.numpy() for image in dataset])  # float32 (N, 12, 16, 3)
    np.savez_compressed(Path(__file__).with_name("resized.npz"), **arrays)


if __name__ == "__main__":
    main()
