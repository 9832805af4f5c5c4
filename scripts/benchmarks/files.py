"""HDF5 files to read from: noisy drawn hands in every layout, and sparse files of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

LAYOUTS: dict[str, dict[str, Any]] = {  # h5py's options; 64 stands for chunks of whole images
    "contiguous": {},
    "contiguous, uint16": {"dtype": "u2"},
    "contiguous, float32": {"dtype": "f4"},
    "chunked, 64 images": {"chunks": 64},
    "chunked, h5py's guess": {"chunks": True},
    "gzip, 64 images": {"chunks": 64, "compression": "gzip", "compression_opts": 4},
    "gzip, h5py's guess": {"chunks": True, "compression": "gzip", "compression_opts": 4},
}
BLOCK_BYTES = 2**25  # written or read at once, rounded to whole chunks


def rows_at_once(dataset: h5py.Dataset) -> int:
    """How many images a block holds: whole chunks, about `BLOCK_BYTES`."""
    step = dataset.chunks[0] if dataset.chunks else 1
    return step * max(1, BLOCK_BYTES // (step * int(np.prod(dataset.shape[1:]))))


def write(path: Path, count: int, size: int, layout: str) -> float:
    """Write a training file; return the share of the images' bytes it takes on disk."""
    from signs_lightning.data.synthetic import draw_hand

    drawn = [Image.fromarray(draw_hand(k % 6, np.random.default_rng([0, k]))) for k in range(512)]
    resized = [np.asarray(hand.resize((size, size), Image.Resampling.BILINEAR)) for hand in drawn]
    hands, rng = np.clip(np.stack(resized), 8, 247), np.random.default_rng(0)  # room for noise
    options = {"dtype": "u1", **LAYOUTS[layout]}
    if options.get("chunks") == 64:
        options["chunks"] = (min(64, count), size, size, 3)
    # numbers that fill the dtype: 0..65535, 0..1
    full = np.dtype(options["dtype"]).type({"u1": 1, "u2": 257, "f4": 1 / 255}[options["dtype"]])
    with h5py.File(path, "w") as file:
        images = file.create_dataset("train_set_x", (count, size, size, 3), **options)
        for low in range(0, count, rows := rows_at_once(images)):
            block = hands[np.arange(low, min(low + rows, count)) % len(hands)]
            block += np.frombuffer(rng.bytes(block.nbytes), np.uint8).reshape(block.shape) & 1
            images[low : low + len(block)] = block.astype(full.dtype) * full
        file["train_set_y"] = np.arange(count, dtype=np.int64) % 6
        file["list_classes"] = np.arange(6)
        return float(images.id.get_storage_size() / images.nbytes)


def write_sparse(path: Path, count: int, size: int, classes: int = 6) -> None:
    """Write a contiguous file of black images that takes no room on the disk."""
    with h5py.File(path, "w") as file:
        kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        kind.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        kind.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((count, size, size, 3))
        h5py.h5d.create(file.id, b"train_set_x", h5py.h5t.NATIVE_UINT8, space, kind)
        file["train_set_y"] = np.arange(count, dtype=np.int32) % classes
        file["list_classes"] = np.arange(classes)
