"""Write HDF5 files to read from: noisy drawn hands in every layout and size."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

LAYOUTS: dict[
    str, dict[str, object]
] = {  # h5py's options; `images` in a chunk's shape stands for whole images
    "contiguous": {},
    "contiguous, uint16": {},
    "contiguous, float32": {},
    "chunked, 64 images": {"chunks": 64},
    "chunked, h5py's guess": {"chunks": True},
    "gzip, 64 images": {"chunks": 64, "compression": "gzip", "compression_opts": 4},
    "gzip, h5py's guess": {"chunks": True, "compression": "gzip", "compression_opts": 4},
}
DTYPES: dict[str, str] = {"contiguous, uint16": "u2", "contiguous, float32": "f4"}  # of others
BLOCK_BYTES = 2**25  # written or read at once, rounded to whole chunks


@cache
def drawn(size: int, count: int = 512) -> np.ndarray:
    """Draw hands, uint8 (count, size, size, 3), in 8..247 so that noise can be added."""
    from signs_lightning.data.synthetic import draw_hand

    hands = [draw_hand(k % 6, np.random.default_rng([0, k])) for k in range(count)]
    if size != 64:
        hands = [
            np.asarray(Image.fromarray(hand).resize((size, size), Image.Resampling.BILINEAR))
            for hand in hands
        ]
    return np.clip(np.stack(hands), 8, 247)


def rows_at_once(dataset: h5py.Dataset) -> int:
    """How many images a block holds: whole chunks, about `BLOCK_BYTES`."""
    step = dataset.chunks[0] if dataset.chunks else 1
    return step * max(1, BLOCK_BYTES // (step * int(np.prod(dataset.shape[1:]))))


def write(path: Path, count: int, size: int, layout: str) -> float:
    """Write a training file; return the share of the images' bytes it takes on disk."""
    hands, rng, dtype = drawn(size), np.random.default_rng(0), DTYPES.get(layout, "u1")
    options = dict(LAYOUTS[layout])
    if options.get("chunks") == 64:
        options["chunks"] = (min(64, count), size, size, 3)
    with h5py.File(path, "w") as file:
        images = file.create_dataset("train_set_x", (count, size, size, 3), dtype, **options)
        rows = rows_at_once(images)
        for start in range(0, count, rows):
            which = np.arange(start, min(start + rows, count))
            block = hands[which % len(hands)]
            block += np.frombuffer(rng.bytes(block.nbytes), np.uint8).reshape(block.shape) & 1
            # numbers that fill the dtype: 0..65535, 0..1
            full = {"u1": 1, "u2": 257, "f4": 1 / 255}[dtype]
            images[which[0] : which[-1] + 1] = block.astype(dtype) * np.dtype(dtype).type(full)
        file["train_set_y"] = np.arange(count, dtype=np.int64) % 6
        file["list_classes"] = np.arange(6)
        return float(images.id.get_storage_size() / images.nbytes)
