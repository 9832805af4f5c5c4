"""Measure one reader in a process of its own: images read per second.

`signs_lightning`, `blocks` and `inflate` read everything once; the per-sample DataLoaders read for
some seconds. The clock starts when everything is imported: opening and setting up count, and so
does whatever a reader does ahead of its first batch. Each reader yields 0 when its imports are
done, then the number of images of each batch.
"""

from __future__ import annotations

import argparse
import os
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import h5py
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.files import rows_at_once
from benchmarks.machine import own_memory
from benchmarks.marks import hand_over

BATCH_SIZE = 64
VALUES = {"uint8": None, "uint16": (0, 65535), "float32": (0, 1)}  # what the numbers mean


def signs_lightning(path: str, options: argparse.Namespace) -> Iterator[int]:
    """The DataLoader of H5DataModule, without a Trainer."""
    from signs_lightning import H5DataModule

    yield 0
    module = H5DataModule(train_file=path, batch_size=BATCH_SIZE, value_range=VALUES[_dtype(path)])
    module.prepare_data()
    module.setup("fit")
    for images, _ in module.train_dataloader():
        yield len(images)


def _dtype(path: str) -> str:
    with h5py.File(path, "r") as file:
        return str(file["train_set_x"].dtype)


class Images(Dataset):
    """One image at a time through h5py, kept open: uint8 (H, W, C) and its label.

    Each process opens the file and the dataset in it once, at its first image: looking the dataset
    up anew takes several times as long as reading an image of 64×64. The labels are in memory.
    """

    images: Any = None

    def __init__(self, path: str) -> None:
        self.path = path
        with h5py.File(path, "r") as file:
            self.labels: list[int] = file["train_set_y"][()].tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if self.images is None:
            self.images = h5py.File(self.path, "r")["train_set_x"]
        return torch.from_numpy(self.images[index]), self.labels[index]


def per_sample(path: str, options: argparse.Namespace, workers: int) -> Iterator[int]:
    """`Images` in PyTorch's DataLoader with its own collation."""
    probe, began = Images(path), time.perf_counter()
    probe[len(probe) // 2]
    slow = time.perf_counter() - began > options.seconds / BATCH_SIZE
    del probe
    yield 0
    # where a single image takes that long, a batch is more than there is time for
    for images, _ in DataLoader(
        Images(path), batch_size=2 if slow else BATCH_SIZE, shuffle=True, num_workers=workers
    ):
        yield len(images)


def blocks(path: str, options: argparse.Namespace) -> Iterator[int]:
    """Read whole chunks in file order through h5py: the limit of h5py."""
    yield 0
    with h5py.File(path, "r") as file:
        images = file["train_set_x"]
        rows = rows_at_once(images)
        for start in range(0, len(images), rows):
            yield len(images[start : start + rows])


def inflate(path: str, options: argparse.Namespace, threads: int) -> Iterator[int]:
    """Decompress every chunk with zlib and drop it; count whole images at the end."""
    with h5py.File(path, "r") as file, ThreadPoolExecutor(threads) as pool:
        dataset = file["train_set_x"]
        where = [dataset.id.get_chunk_info(k) for k in range(dataset.id.get_num_chunks())]
        yield 0
        descriptor = os.open(path, os.O_RDONLY)

        def unpack(some: list[Any]) -> None:
            for chunk in some:
                zlib.decompress(os.pread(descriptor, chunk.size, chunk.byte_offset))

        list(pool.map(unpack, [where[k::threads] for k in range(threads)]))
        os.close(descriptor)
        yield len(dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description="Reads a file with one reader.")
    parser.add_argument("reader")
    parser.add_argument("path")
    parser.add_argument("--seconds", type=float, default=3, help="for the per-sample DataLoaders")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    readers = {
        "signs_lightning": lambda: signs_lightning(options.path, options),
        "per_sample_0": lambda: per_sample(options.path, options, 0),
        "per_sample_2": lambda: per_sample(options.path, options, 2),
        "blocks": lambda: blocks(options.path, options),
        "inflate_1": lambda: inflate(options.path, options, 1),
        "inflate_all": lambda: inflate(options.path, options, options.threads),
    }
    batches = readers[options.reader]()
    next(batches)  # everything is imported
    before = own_memory(os.getpid())
    began, images, first = time.perf_counter(), 0, 0.0
    for count in batches:
        images += count
        first = first or time.perf_counter() - began
        if (
            options.reader.startswith("per_sample")
            and time.perf_counter() - began > options.seconds
        ):
            break
    seconds = time.perf_counter() - began
    hand_over(
        {
            "images_read": images,
            "seconds": seconds,
            "first_batch_seconds": first,
            "bytes_before": before,
        }
    )


if __name__ == "__main__":
    main()
