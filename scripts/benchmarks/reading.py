"""Measure images per second out of HDF5, and the memory that it takes.

`python reading.py CONTESTANT FILE` is a reader in a process of its own. The clock starts when
everything is imported: opening and setting up count, and so does whatever is read ahead of the
first batch. Rivals that are slow read for some seconds only, the others everything once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from glob import iglob
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks import files
from benchmarks.marks import hand_over
from benchmarks.process import Bench, Task, cores

BATCH_SIZE = 64
# Pixels: numbers of images, the smaller one for its memory; layouts.
SIZES: dict[int, tuple[tuple[int, ...], tuple[str, ...]]] = {
    64: ((200_000, 20_000), tuple(files.LAYOUTS)),
    224: ((10_000,), ("contiguous", "chunked, 64 images", "gzip, 64 images")),
}
QUICK_SIZES = {64: ((512, 256), ("contiguous", "gzip, 64 images"))}


def ours(path: str) -> Iterator[int]:
    """The DataLoader of H5DataModule, without a Trainer."""
    from signs_lightning import H5DataModule

    with h5py.File(next(iglob(path)), "r") as file:  # the path may stand for several
        dtype = str(file["train_set_x"].dtype)
    values = {"uint16": (0, 65535), "float32": (0, 1)}.get(dtype)  # what the numbers mean
    yield 0
    module = H5DataModule(train_file=path, batch_size=BATCH_SIZE, value_range=values)
    module.prepare_data()
    module.setup("fit")
    for images, _ in module.train_dataloader():
        yield len(images)


class Images(Dataset):
    """One image at a time through h5py, kept open: uint8 (H, W, C) and its label.

    Each process opens the file and the dataset in it once, at its first image: looking the dataset
    up anew takes several times as long as reading an image of 64×64. The labels are in memory.
    """

    images: Any = None

    def __init__(self, path: str) -> None:
        self.path = path
        with h5py.File(path, "r") as file:
            self.labels: np.ndarray = file["train_set_y"][()]

    def __len__(self) -> int:
        return len(self.labels)

    def open(self) -> Any:
        if self.images is None:
            self.images = h5py.File(self.path, "r")["train_set_x"]
        return self.images

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.open()[index]), int(self.labels[index])


class SortedBatches(Images):
    """A batch of indices at a time: sorted, one selection of h5py, and back in their order."""

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        wanted, back = np.unique(indices, return_inverse=True)
        return torch.from_numpy(self.open()[wanted][back]), torch.from_numpy(self.labels[indices])


class Memory(Images):
    """Everything in memory; a batch is one index selection."""

    def open(self) -> Any:
        if self.images is None:
            with h5py.File(self.path, "r") as file:
                self.images = torch.from_numpy(file["train_set_x"][()])
        return self.images

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.as_tensor(indices)
        return self.open().index_select(0, chosen), torch.from_numpy(self.labels[indices])


def _as_it_is(batch: Any) -> Any:
    return batch


def loader(kind: type[Images], path: str, workers: int = 0, loaded: bool = False) -> Iterator[int]:
    """A Dataset in PyTorch's DataLoader, shuffled, with the options that its workers need."""
    dataset, batch_size = kind(path), BATCH_SIZE
    if loaded:
        dataset.open()
    if kind is Images:
        began = time.perf_counter()
        kind(path)[len(dataset) // 2]
        # where an image takes that long, a batch is more than there is time for
        batch_size = 2 if time.perf_counter() - began > 0.05 else BATCH_SIZE
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": True, "num_workers": workers}
    if workers:
        options |= {"persistent_workers": True, "prefetch_factor": 4}
    if kind is not Images:
        options["collate_fn"] = _as_it_is
    yield 0
    for images, _ in DataLoader(dataset, **options):
        yield len(images)


def blocks(path: str) -> Iterator[int]:
    """Read whole chunks in file order through h5py: the limit of h5py."""
    yield 0
    with h5py.File(path, "r") as file:
        images = file["train_set_x"]
        rows = files.rows_at_once(images)
        for start in range(0, len(images), rows):
            yield len(images[start : start + rows])


def inflate(path: str, threads: int) -> Iterator[int]:
    """Decompress every chunk with zlib and drop it; count whole images at the end."""
    with h5py.File(path, "r") as file, open(path, "rb") as raw, ThreadPoolExecutor(threads) as pool:
        dataset = file["train_set_x"]
        where = [dataset.id.get_chunk_info(k) for k in range(dataset.id.get_num_chunks())]
        yield 0

        def unpack(some: list[Any]) -> None:
            for chunk in some:
                zlib.decompress(os.pread(raw.fileno(), chunk.size, chunk.byte_offset))

        list(pool.map(unpack, [where[k::threads] for k in range(threads)]))
        yield len(dataset)


READERS: dict[str, Callable[[str], Iterator[int]]] = {
    "signs_lightning": ours,
    "per_sample_0": lambda path: loader(Images, path),
    "per_sample_2": lambda path: loader(Images, path, 2),
    "sorted_batches_0": lambda path: loader(SortedBatches, path),
    "sorted_batches_2": lambda path: loader(SortedBatches, path, 2),
    "memory_first": lambda path: loader(Memory, path),
    "memory_loaded": lambda path: loader(Memory, path, loaded=True),
    "blocks": blocks,
    "inflate_1": lambda path: inflate(path, 1),
    "inflate_all": lambda path: inflate(path, int(os.environ.get("OMP_NUM_THREADS", cores()))),
}
COLD = ("signs_lightning", "per_sample_0", "sorted_batches_0", "blocks")  # measured from disk, too


def main() -> None:
    """Read a file with one reader, and hand over how long it took."""
    parser = argparse.ArgumentParser(description="Reads a file with one reader.")
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("path")
    parser.add_argument("--seconds", type=float, default=3, help="for the per-sample DataLoaders")
    options = parser.parse_args()
    batches = READERS[options.reader](options.path)
    next(batches)  # everything is imported
    began, images = time.perf_counter(), 0
    is_slow = options.reader.startswith(("per_sample", "sorted"))
    for count in batches:
        images += count
        if is_slow and time.perf_counter() - began > options.seconds:
            break
    hand_over({"images_read": images, "seconds": time.perf_counter() - began})


def reader(contestant: str, path: object, *more: str) -> list[str]:
    """A reader's command."""
    return [sys.executable, __file__, contestant, str(path), *more]


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # dirty pages stay otherwise
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(path: Path) -> None:
    """Read a file once, so that it is in the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(2**24):
            pass


def measure(bench: Bench) -> None:
    """Measure each file in turn; only one of them is on the disk at a time."""
    path = bench.scratch / "reading.h5"
    sizes = QUICK_SIZES if bench.quick else SIZES
    for size, (counts, layouts) in sizes.items():
        some = [layout for layout in layouts if bench.layout in f"{size}×{size}, {layout}"]
        for layout, count in ((layout, count) for layout in some for count in counts):
            print(f"writing {count:,} images of {size}×{size}, {layout}", flush=True)
            labels: dict[str, Any] = {
                "part": "reading",
                "subject": f"{size}×{size}",
                "layout": layout,
            }
            labels |= {"images": count, "stored": round(files.write(path, count, size, layout), 3)}
            planned = [(name, "warm") for name in READERS] + [(name, "cold") for name in COLD]
            if "gzip" not in layout:
                planned = [pair for pair in planned if "inflate" not in pair[0]]
            if count < max(counts):
                planned = [("signs_lightning", "warm")]
            tasks = [
                Task(
                    {**labels, "contestant": name, "cache": cache},
                    reader(name, path, f"--seconds={0.2 if bench.quick else 3}"),
                    before=partial(remember if cache == "warm" else forget, path),
                )
                for name, cache in planned
                if bench.is_chosen(name)
            ]
            bench.in_turn(tasks)
            path.unlink()


if __name__ == "__main__":
    main()
