"""JPEG and PNG files inside an HDF5 file: where they are, and their bytes.

They are the values of one dataset (bytes of variable or fixed length, or rows of uint8), or each
is a dataset of its own in a group, or in a group for each class.
"""

from __future__ import annotations

import math
import os.path
from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data.global_heap import VariableLengthValues, is_variable_length
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_opening import DAMAGE
from signs_lightning.data.open_handles import RawFile
from signs_lightning.data.picture_headers import SIGNATURES, read_picture_header
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

MAX_PICTURE_BYTES = 2**28  # of one, encoded
MAX_WORDS = 64  # datasets of a group of pictures without a number in their name, looked at
SAMPLED = 64  # pictures whose sizes are compared


def is_encoded_dataset(dataset: h5py.Dataset) -> bool:
    """Whether the values of a dataset are JPEG or PNG files, by the first bytes of a few."""
    shape, dtype = dataset.shape, dataset.dtype
    if not shape or 0 in shape or dataset.is_virtual or dataset.external:
        return False
    if is_variable_length(dtype) or dtype.kind in "VS":
        if math.prod(shape[1:]) != 1 or dtype.names:
            return False
    elif dtype != np.uint8 or len(shape) != 2 or shape[1] < 32:
        return False
    pictures = EncodedPictures(dataset.file.filename, dataset.file, dataset.name)
    return _has_signatures([pictures.read(row) for row in _spread(shape[0], 8)])


def find_picture_groups(file: h5py.Group) -> tuple[str | None, list[str]]:
    """Return the group of which each dataset is a JPEG or PNG file, "/" for all of the file.

    Where they are in a group for each class, it is the group of these. None where there are none.

    Returns:
        The group, and the names of the groups right below it, all of which hold pictures.
    """
    parents = {f"/{os.path.dirname(name)}" for name in split_members(file)[1]}
    if not parents:
        return None, []
    group = os.path.commonpath(parents)
    below = {os.path.relpath(parent, group).partition("/")[0] for parent in parents}
    return group, sorted(below - {"."})


def is_picture_group(file: h5py.Group, key: str) -> bool:
    """Whether a key names a group with JPEG or PNG files."""
    start = f"{key.strip('/')}/".lstrip("/")
    return any(name.startswith(start) for name in split_members(file)[1])


def split_members(group: h5py.Group) -> tuple[list[str], list[str]]:
    """Return the names of the datasets below a group: the others, and those that are pictures.

    A few datasets of each group beneath are looked at, and tell what the others are; those without
    a number in their name are looked at, too. Links are not followed.
    """
    members: dict[str, list[str]] = {}

    def add(name: bytes, info: h5py.h5o.ObjInfo) -> None:
        if info.type == h5py.h5o.TYPE_DATASET:
            text = name.decode("utf-8", "surrogateescape")
            members.setdefault(os.path.dirname(text), []).append(text)

    h5py.h5o.visit(group.id, add, info=True)  # opens none: a file may have half a million pictures
    others: list[str] = []
    pictures: list[str] = []
    for names in members.values():
        few = [_read_beginning(group, names[k]) for k in _spread(len(names), 3)]
        if not _has_signatures(few):
            others += names
            continue
        # Among numbered pictures, names such as `labels` are those of something else.
        words = [name for name in names if not any(map(str.isdigit, os.path.basename(name)))]
        words = [
            name
            for name in words[:MAX_WORDS]
            if not _read_beginning(group, name).startswith(SIGNATURES)
        ]
        others += words
        pictures += set(names).difference(words)
    return others, sorted(pictures)


def list_class_folders(names: list[str]) -> list[str] | None:
    """Return the class of each picture, where their names are `class/picture`, else None."""
    folders = [os.path.dirname(name) for name in names]
    return folders if all(folders) and len(set(folders)) > 1 else None


class EncodedPictures:
    """The bytes of pictures in an HDF5 file, by their number. Safe in several threads.

    Args:
        path: of the file.
        file: the same, open; it must stay open where pictures are read.
        key: the dataset, or the group of datasets.

    Attributes:
        names: of the datasets below the group, in their order; None for a single dataset.
    """

    def __init__(self, path: str | Path, file: h5py.File, key: str) -> None:
        self.where = f"'{shorten(key)}' in {path}"
        self.names: list[str] | None = None
        self._item = file[key]
        self._file = RawFile(path)
        self._values: VariableLengthValues | None = None
        if isinstance(self._item, h5py.Group):
            self.names = split_members(self._item)[1]
            # Byte offset and size of those that were read before, and lie in one piece
            self._places = np.zeros((len(self.names), 2), np.int64)
            return
        dataset = self._item
        if is_variable_length(dataset.dtype):
            self._values = VariableLengthValues(path, dataset)
            return
        check_dataset_header(self.where, dataset)
        self._size = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
        if self._size > MAX_PICTURE_BYTES:
            raise InputError(f"{self.where} claims to hold pictures larger than can be read.")
        self._offset = _find_offset(dataset)

    @property
    def descriptor(self) -> int:
        """The system's number of the open file."""
        return self._file.descriptor

    def __len__(self) -> int:
        if self.names is not None:
            return len(self.names)
        return len(self._item if self._values is None else self._values)

    def describe(self, row: int) -> str:
        """Return what messages call a picture."""
        if self.names is None:
            return f"Picture {row} of {self.where}"
        return f"Picture '{shorten(self.names[row])}' of {self.where}"

    def read(self, row: int) -> bytes:
        """Return the bytes of one picture.

        Raises:
            InputError: they are too many, or not where the file says.
        """
        if self._values is not None:
            if self._values.lengths[row] > MAX_PICTURE_BYTES:
                raise InputError(f"{self.describe(row)} claims to be larger than can be read.")
            return self._values.read(np.array([row]))[0]
        if self.names is not None:
            offset, size = self._places[row].tolist()
            if not size:
                self._places[row], content = _read_whole(open_member(self._item, self.names[row]))
                return content
        elif self._offset is None:
            return np.asarray(self._item[row]).tobytes()
        else:
            offset, size = self._offset + row * self._size, self._size
        content = self._file.read(size, offset)
        if len(content) < size:
            raise InputError(f"{self.describe(row)} is cut off: the file has become shorter.")
        return content


def find_picture_shape(
    pictures: EncodedPictures, image_size: tuple[int, int] | None
) -> tuple[int, int, int]:
    """Return height, width and channels that pictures are decoded to.

    Some headers are read. Channels are 1 where all of these are grey, else 3.

    Args:
        pictures: at least one.
        image_size: height and width to scale them to, None for their own.

    Raises:
        InputError: none can be read, or they differ in size and none is named.
    """
    rows = _spread(len(pictures), SAMPLED)
    headers = [read_picture_header(pictures.read(row)) for row in rows]
    readable = [header for header in headers if header is not None]
    if not readable:
        raise InputError(
            f"{pictures.describe(rows[0])} is no JPEG or PNG file, or a damaged one, and so are "
            "others. Fetch or write the file again."
        )
    channels = 1 if all(header.is_grey for header in readable) else 3
    sizes = {header.size for header in readable}
    if image_size is None and len(sizes) > 1:
        (height, width), (other_height, other_width) = sorted(sizes)[0], sorted(sizes)[-1]
        raise InputError(
            f"{pictures.where} holds pictures of different sizes, such as {height}×{width} and "
            f"{other_height}×{other_width}. Name the size to scale them to, such as "
            "`--data.image_size 64`."
        )
    return (*(image_size or next(iter(sizes))), channels)


def open_member(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a dataset by one of the names of `split_members`, which need not be UTF-8."""
    return group[name.encode("utf-8", "surrogateescape")]


def _read_beginning(group: h5py.Group, name: str) -> bytes:
    """Return how a dataset of one picture begins; nothing for what cannot be one."""
    try:
        dataset = open_member(group, name)
        shape, dtype = dataset.shape, dataset.dtype
        if is_variable_length(dtype) or (dtype.kind in "VS" and not dtype.names):
            return _read_whole(dataset)[1] if shape in ((), (1,)) else b""
        if dtype not in (np.uint8, np.int8) or len(shape or ()) != 1:
            return b""
        check_dataset_header(dataset.name, dataset)
        return dataset[:16].tobytes()
    except (InputError, *DAMAGE):  # is reported where the dataset is needed
        return b""


def _read_whole(dataset: h5py.Dataset) -> tuple[tuple[int, int], bytes]:
    """Return byte offset and size, 0 where it is not in one piece, and the bytes of a picture."""
    where = f"'{shorten(dataset.name)}' in {dataset.file.filename}"
    check_dataset_header(where, dataset, MAX_PICTURE_BYTES)
    if is_variable_length(dataset.dtype):
        values = VariableLengthValues(dataset.file.filename, dataset)
        if len(values) != 1 or values.lengths[0] > MAX_PICTURE_BYTES:
            raise InputError(f"{where} claims to be larger than can be read.")
        return (0, 0), values.read(np.array([0]))[0]
    offset = _find_offset(dataset)
    place = (0, 0) if offset is None else (offset, dataset.nbytes)
    return place, np.asarray(dataset[()]).tobytes()


def _find_offset(dataset: h5py.Dataset) -> int | None:
    """Return the byte of the file where a dataset in one piece begins."""
    if dataset.chunks is not None or dataset.id.get_storage_size() != dataset.nbytes:
        return None
    return dataset.id.get_offset()


def _has_signatures(contents: list[bytes]) -> bool:
    """Whether most of some files begin as JPEG and PNG files do."""
    return 2 * sum(content.startswith(SIGNATURES) for content in contents) > len(contents)


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` numbers from 0 to count - 1, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
