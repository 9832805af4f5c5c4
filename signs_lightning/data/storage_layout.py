"""How the images of a set are stored, and which are best read together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from signs_lightning.data.hdf5_filters import describe_filters
from signs_lightning.data.hdf5_links import open_dataset
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.data.hdf5_virtual import AssembledDataset, Assembly
from signs_lightning.data.image_set import ImageSet, translate_read_errors
from signs_lightning.runtime.escaping import format_shape

BLOCK_BYTES = 2**20  # a block is at least this long, so that small chunks are not read one by one
MAX_BLOCK = 2**28  # bytes, which a chunk of very many images is cut to
# Where images lie across each other, a block has runs of so many values in the file, and the bytes.
RUN, RUN_BLOCK = 2**12, 2**26
UNSAID_FILTERS = ("shuffle", "checksum")  # which make nothing smaller


@dataclass(frozen=True)
class StorageLayout:
    """How the images of a set are stored.

    Attributes:
        description: `contiguous`, `in chunks of 64×64×64×3, gzip`, or `an array`.
        is_mapped: whether any image can be read at its place, without reading others.
        offset: the byte of the file at which contiguous images begin, else None.
        block: number of images that are best read together: whole chunks.
        chunk: number of images that are unpacked together, 1 where each is stored alone.
        path: the file that the images lie in, which a link may have led to; None for an array.
        parts: where the images of a virtual dataset, or of external storage, are.
    """

    description: str
    is_mapped: bool
    offset: int | None
    block: int
    chunk: int = 1
    path: Path | None = None
    parts: Assembly | None = None


def read_storage_layout(images: ImageSet) -> StorageLayout:
    """Return how a set is stored; reads its header only."""
    image_bytes = images.image_bytes
    few = max(1, BLOCK_BYTES // image_bytes)
    most = max(1, MAX_BLOCK // image_bytes)
    if images.path is None:
        return StorageLayout("an array", True, None, few)
    if images.is_encoded:
        return StorageLayout("JPEG or PNG files", False, None, few, path=images.path)
    with translate_read_errors(images), open_read_only(images.path) as file:
        dataset = open_dataset(file, images.images_key, images.follow_links)
        path = Path(dataset.file.filename)
        axis = find_row_axis(images.axes, len(dataset.shape))
        if dataset.chunks is not None:
            packing = [name for name in describe_filters(dataset) if name not in UNSAID_FILTERS]
            rows = dataset.chunks[axis]
            block = min(rows * max(1, few // rows), most)
            text = ", ".join([f"in chunks of {format_shape(dataset.chunks)}", *packing])
            return StorageLayout(text, False, None, block, rows, path)
        if isinstance(dataset, AssembledDataset):
            text = f"in {len(dataset.parts.stamps):,} other files"
            return StorageLayout(text, False, None, few, few, path, dataset.parts)
        offset = dataset.id.get_offset()
        # An unwritten dataset reports an offset, too, but stores fewer bytes than it has.
        if offset is None or dataset.id.get_storage_size() != dataset.nbytes:
            text = "not written, or inside the file's header"
            return StorageLayout(text, False, None, few, path=path)
        if axis == 0:
            return StorageLayout("contiguous", True, offset, few, path=path)
        block = max(few, min(RUN, RUN_BLOCK // image_bytes))
        text = "contiguous, images not on the first axis"
        return StorageLayout(text, False, offset, block, path=path)


def find_row_axis(axes: str, rank: int) -> int:
    """Return the stored axis that counts images; flat rows have fewer than an image has."""
    return rank - 1 if axes[-1] == "N" else axes.index("N")
