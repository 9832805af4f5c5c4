"""Virtual datasets, put together from their sources, each of which must be there.

HDF5 itself gives fill values, without a word, for a source that is missing or that it cannot open
because the process has too many files open. So each source is opened here, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import h5py
import numpy as np

from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.data.open_handles import Stamp, check_stamp, stamp_file
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import format_shape


class Assembly(Protocol):
    """Where the values of a dataset are that lie in other files.

    Attributes:
        shape: of the whole.
        stamps: what changes when one of the files is replaced or written to, by its path.
    """

    shape: tuple[int, ...]
    stamps: Mapping[str, Stamp]

    def read(self, box: tuple[slice, ...]) -> np.ndarray:
        """Return the values in a box, a slice (start, stop) for each axis.

        Raises:
            InputError: a file is not what it was when it was first looked at.
            OSError: a file cannot be read.
        """


OpenSource = Callable[[str, str], h5py.Dataset]  # by the names of its file and in it
UNLIMITED = 2**32  # a count from here on means "as many as there are"


class Progression(NamedTuple):
    """Positions along an axis: start, start + step, … (`length` of them)."""

    start: int
    step: int
    length: int


@dataclass
class Part:
    """What a virtual dataset takes from one source.

    Attributes:
        path: the source's file.
        key: the dataset in it.
        target: where the values go, an item for each axis of the virtual dataset.
        source: where they come from, an item for each axis of the source.
        inner: how the source is put together itself, None where it holds its values.
    """

    path: str
    key: str
    target: tuple[Progression, ...]
    source: tuple[Progression, ...]
    inner: Assembly | None


@dataclass
class VirtualMap:
    """How a virtual dataset is put together.

    Attributes:
        shape: of the whole.
        dtype: of its values.
        fill: the value where no source has one.
        parts: in the order in which they are laid over each other.
        stamps: what changes when a source is replaced or written to, by its path.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fill: Any
    parts: tuple[Part, ...]
    stamps: Mapping[str, Stamp]

    def read(self, box: tuple[slice, ...]) -> np.ndarray:
        values = np.full([axis.stop - axis.start for axis in box], self.fill, self.dtype)
        for part in self.parts:
            places, cuts = [], []
            for axis, (start, step, count) in zip(box, part.target, strict=True):
                first = max(0, -((start - axis.start) // step))
                last = min(count, -((start - axis.stop) // step))
                if first >= last:
                    break
                cuts.append(slice(first, last))
                low = start + first * step - axis.start
                places.append(slice(low, low + (last - first - 1) * step + 1, step))
            else:
                values[tuple(places)] = self._read_part(part, tuple(cuts))
        return values

    def _read_part(self, part: Part, cuts: tuple[slice, ...]) -> np.ndarray:
        """Return the values of a part, cut along each axis of the target."""
        if part.inner is None:
            check_stamp(part.path, self.stamps[part.path])
        counts = tuple(axis.length for axis in part.target)
        is_aligned = counts == tuple(axis.length for axis in part.source)
        # Where the source has other axes, it is read whole.
        ranges = cuts if is_aligned else [slice(0, axis.length) for axis in part.source]
        chosen = tuple(
            slice(start + cut.start * step, start + (cut.stop - 1) * step + 1, step)
            for cut, (start, step, _) in zip(ranges, part.source, strict=True)
        )
        if part.inner is not None:
            box = tuple(slice(axis.start, axis.stop) for axis in chosen)
            values = part.inner.read(box)[tuple(slice(None, None, axis.step) for axis in chosen)]
        else:
            with open_read_only(Path(part.path)) as file:
                values = file[part.key].astype(self.dtype)[chosen]
        return values if is_aligned else values.reshape(counts)[cuts]


def map_virtual(where: str, dataset: h5py.Dataset, open_source: OpenSource) -> VirtualMap:
    """Return how a virtual dataset is put together; every source is opened and checked.

    Args:
        where: what messages call it.
        dataset: the virtual dataset.
        open_source: opens a source as the file names it, and refuses those that must not be read.

    Raises:
        InputError: a source cannot be used, or is put into its place in a way not known here.
    """
    parts: list[Part] = []
    stamps: dict[str, Stamp] = {}
    for virtual_space, file_name, key, source_space in dataset.virtual_sources():
        target = _list_positions(virtual_space, dataset.shape)
        if target is None or "%b" in file_name + key:  # which counts files, or blocks of a file
            raise _not_of_slices(where)
        source = open_source(file_name, key)
        path, key = source.file.filename, source.name
        positions = _list_positions(source_space, source.shape)
        if positions is None:
            raise _not_of_slices(where)
        inner = getattr(source, "parts", None)
        ends = [start + (count - 1) * step for start, step, count in positions]
        is_inside = all(end < size for end, size in zip(ends, source.shape, strict=True))
        if not is_inside or _count(positions) != _count(target):
            raise InputError(
                f"{where} expects {_count(target):,} values of '{key}' in {path}, which has shape "
                f"{format_shape(source.shape)}. Fetch or write the two files again."
            )
        are_numbers = {dataset.dtype.kind, source.dtype.kind} <= set("iuf")
        if dataset.dtype != source.dtype and (inner is not None or not are_numbers):
            raise InputError(
                f"{where} holds values of type {dataset.dtype}, '{key}' in {path} of type "
                f"{source.dtype}. Write them with one type."
            )
        if inner is None:
            check_dataset_header(f"'{key}' in {path}", h5py.Dataset(source.id))
        stamps |= {path: stamp_file(path)} if inner is None else inner.stamps
        parts.append(Part(path, key, target, positions, inner))
    fill = dataset.fillvalue
    return VirtualMap(dataset.shape, dataset.dtype, fill, tuple(parts), stamps)


def _not_of_slices(where: str) -> InputError:
    return InputError(
        f"{where} is a virtual dataset that is put together from more than plain slices of its "
        "sources. Copy its values into a dataset of their own, with h5py."
    )


def _count(positions: tuple[Progression, ...]) -> int:
    return int(np.prod([axis.length for axis in positions], dtype=object))


def _list_positions(
    space: h5py.h5s.SpaceID, shape: tuple[int, ...]
) -> tuple[Progression, ...] | None:
    """Return what is selected along each axis, None for what is no grid of evenly spaced values."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return tuple(Progression(0, 1, size) for size in shape)
    is_grid = space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab()
    if not is_grid or len(space.shape) != len(shape):
        return None
    found = []
    for start, stride, count, block in zip(*space.get_regular_hyperslab(), strict=True):
        if not 0 < count < UNLIMITED or not 0 < block < UNLIMITED:
            return None
        if block == 1:
            found.append(Progression(start, stride, count))
        elif count == 1 or stride == block:
            found.append(Progression(start, 1, count * block))
        else:
            return None
    return tuple(found)


class AssembledDataset(h5py.Dataset):
    """A dataset whose values are put together here, and not by HDF5.

    Args:
        dataset: as HDF5 opened it.
        parts: where its values are.
    """

    def __init__(self, dataset: h5py.Dataset, parts: Assembly) -> None:
        super().__init__(dataset.id)
        self.parts = parts
        self.is_followed = True

    def __getitem__(self, selection: Any, new_dtype: Any = None) -> np.ndarray:
        """Return values by slices without a step, and by integers."""
        items = selection if isinstance(selection, tuple) else (selection,)
        items = tuple(item for item in items if item is not Ellipsis)
        box, squeezed = [], []
        for axis, size in enumerate(self.shape):
            item = items[axis] if axis < len(items) else slice(None)
            if isinstance(item, slice):
                start, stop, _ = item.indices(size)
                box.append(slice(start, max(start, stop)))
            else:
                box.append(slice(int(item), int(item) + 1))
                squeezed.append(axis)
        return self.parts.read(tuple(box)).squeeze(tuple(squeezed))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[()], dtype)
