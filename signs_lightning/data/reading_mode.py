"""Which way images are read: chosen from the file and the machine, or as the user says."""

from __future__ import annotations

import os

import torch

from signs_lightning.data.dataset import H5Images, ReadingMode
from signs_lightning.data.readers import free_memory
from signs_lightning.errors import InputError


def choose_reading(dataset: H5Images, wish: str, device: torch.device, buffer: int) -> str:
    """Sets `dataset.reading`, and loads the images where they are to be resident.

    By default they are resident on a CUDA device when they take up to half of its free memory;
    mapped when every file is contiguous and all together are smaller than the machine's memory;
    resident in memory when they fit into the shuffle buffer; and streamed otherwise.

    Args:
        dataset: the images of one role.
        wish: "auto", "mapped", "streamed" or "resident".
        device: where the model trains.
        buffer: bytes of the shuffle buffer.

    Returns:
        What was chosen, for a message.

    Raises:
        InputError: the wish cannot be granted.
    """
    size = f"{len(dataset):,} images, {dataset.nbytes / 1e6:,.0f} MB"
    where = device if device.type == "cuda" else torch.device("cpu")
    split = next((reader for reader in dataset.readers if not reader.layout.mapped), None)
    if wish == "mapped" and split is not None:
        raise InputError(
            f"The images in {split.images.name} are {split.layout.description}, so they cannot be "
            "mapped. Drop --data.reading, or "
            "rewrite the file with `h5repack -l CONTI`."
        )
    room = torch.cuda.mem_get_info(where)[0] if where.type == "cuda" else free_memory()
    held = dataset.resident_on == where  # a loader that is made again finds its images there
    if wish == "resident" and not held and dataset.nbytes > room:
        raise InputError(
            f"{size} do not fit into the {room / 1e6:,.0f} MB that are free on {where}. Drop "
            "--data.reading resident."
        )
    reading: ReadingMode
    if wish != "auto":
        reading = wish  # type: ignore[assignment]  # one of the three: the parser and this module's callers see to it
    elif held or (where.type == "cuda" and dataset.nbytes <= room // 2):
        reading = "resident"
    elif split is None and dataset.nbytes <= _memory():
        reading = "mapped"
    else:
        reading = "resident" if dataset.nbytes <= buffer else "streamed"
    dataset.reading = reading
    if reading == "mapped":
        return f"mapped ({size})"
    layouts = ", ".join(sorted({reader.layout.description for reader in dataset.readers}))
    if reading == "resident":
        dataset.load(where)
        return f"held {'in memory' if where.type == 'cpu' else f'on {where}'} ({size}, {layouts})"
    return f"streamed through a shuffle buffer of {buffer / 2**20:g} MiB ({size}, {layouts})"


def _memory() -> int:
    """Bytes of memory in this machine: a mapped file larger than that would be read from the disk again in every epoch, image by image."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
