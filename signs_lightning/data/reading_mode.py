"""How images are read: chosen from the file and the machine, or as the user asks."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from signs_lightning.data.dataset import H5Images, ReadingMode
from signs_lightning.errors import InputError

ASSUMED_MEMORY = 8 * 2**30  # bytes of a machine that does not tell
SMALL = 2**26  # bytes of images that are not worth reading anew in every epoch


def choose_reading(dataset: H5Images, requested: str, device: torch.device, buffer: int) -> str:
    """Set `dataset.reading`, and load the images where they are to be resident.

    By default they are resident on a CUDA device when they take up to half of its free memory;
    where every file is contiguous, resident in memory when they are small, and mapped when they are
    smaller than the machine's memory; resident when they fit into the shuffle buffer; and streamed
    otherwise.

    Args:
        dataset: the images of one role.
        requested: "auto", "mapped", "streamed" or "resident".
        device: where the model trains.
        buffer: bytes of the shuffle buffer.

    Returns:
        What was chosen, for a message.

    Raises:
        InputError: the images cannot be read as requested.
    """
    size = f"{len(dataset):,} images, {dataset.nbytes / 1e6:,.0f} MB"
    is_cuda = device.type == "cuda"
    where = device if is_cuda else torch.device("cpu")
    chunked = next((reader for reader in dataset.readers if not reader.layout.is_mapped), None)
    if requested == "mapped" and chunked is not None:
        rewrite = ", or rewrite the file with `h5repack -l CONTI`"
        raise InputError(
            f"The images in {chunked.images.name} are {chunked.layout.description}, so they cannot "
            f"be mapped. Drop --data.reading{'' if chunked.images.is_encoded else rewrite}."
        )
    free = torch.cuda.mem_get_info(where)[0] if is_cuda else free_memory()
    is_loaded = dataset.resident_on == where  # by a loader that was made before
    if requested == "resident" and not is_loaded and dataset.nbytes > free:
        raise InputError(
            f"{size} do not fit into the {free / 1e6:,.0f} MB that are free on {where}. Drop "
            "--data.reading resident."
        )
    is_small = chunked is None and dataset.nbytes <= SMALL
    reading: ReadingMode
    if requested != "auto":
        reading = requested  # type: ignore[assignment]  # checked by the parser and by the callers
    elif is_loaded or is_small or (is_cuda and dataset.nbytes <= free // 2):
        reading = "resident"
    elif chunked is None and dataset.nbytes <= total_memory():
        reading = "mapped"
    else:
        reading = "resident" if dataset.nbytes <= buffer else "streamed"
    dataset.reading = reading
    if reading == "mapped":
        return f"mapped ({size})"
    layouts = ", ".join(sorted({reader.layout.description for reader in dataset.readers}))
    if reading == "resident":
        dataset.load(where)
        return f"held {f'on {where}' if is_cuda else 'in memory'} ({size}, {layouts})"
    return f"streamed through a shuffle buffer of {buffer / 2**20:g} MiB ({size}, {layouts})"


def total_memory() -> int:
    """Return the bytes of memory in this machine.

    A mapped file larger than that would be read from the disk again in every epoch, image by image.
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows, or a system without these names
        return ASSUMED_MEMORY


def free_memory() -> int:
    """Return the bytes of memory that are free, or half of all if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return total_memory() // 2
    return int(available.split()[1]) * 1024
