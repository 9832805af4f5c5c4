"""Reads what a verb reads of an HDF5 file when it opens it, in a process that may crash.

`runtime.file_guard` starts it, with the seconds of computing that a file may take. It takes paths
on standard input and answers for each with a line.
Imports neither PyTorch nor Pillow.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.hdf5_attributes import read_attribute
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_filters import PLUGIN_FILTERS, list_filters
from signs_lightning.data.hdf5_opening import DAMAGE, open_read_only
from signs_lightning.errors import InputError
from signs_lightning.runtime.file_guard import stamp_of
from signs_lightning.runtime.sandbox import limit_processor_time, limit_resources

IDLE_SECONDS = 5.0  # without a question, after which the process ends
BUDGET = 5.0  # seconds, after which no other object is looked at
MAX_OBJECTS = 5000
MAX_ATTRIBUTES = 1000  # of a group
WHOLE_BYTES = 2**20  # of a dataset that is read whole


@contextmanager
def open_any(path: str) -> Iterator[h5py.File]:
    """Open an HDF5 file, or the weights inside a `.keras` file."""
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if not is_zip:
        with open_read_only(Path(path)) as root:
            yield root
        return
    from signs_lightning.keras_io.keras_archive import open_archive  # start-up

    with open_archive(Path(path)) as (_, _, stream), h5py.File(stream, "r") as root:
        yield root


class Walk:
    """A look at the groups, attributes and datasets of a file.

    Args:
        root: the file.

    Attributes:
        is_sound: whether all could be read without an error.
    """

    def __init__(self, root: h5py.File) -> None:
        self.is_sound, self._seen = True, set[Any]()
        self._end = time.monotonic() + BUDGET
        with self._tolerated():
            h5py.h5o.visit(root.id, lambda name, info: None, info=True)
        with self._tolerated():
            root.id.links.visit(lambda name, info: None, info=True)
        groups: list[h5py.Group] = [root["/"]]
        while groups:
            self._read_group(groups.pop(), groups)

    @contextmanager
    def _tolerated(self) -> Iterator[None]:
        """Go on after an error of Python, which this project refuses in its own words."""
        try:
            yield
        except InputError:
            pass  # a header that is refused before it is read
        except DAMAGE:
            self.is_sound = False

    def _read_group(self, group: h5py.Group, groups: list[h5py.Group]) -> None:
        with self._tolerated():
            for k in range(min(h5py.h5a.get_num_attrs(group.id), MAX_ATTRIBUTES)):
                with self._tolerated():
                    name = h5py.h5a.open(group.id, index=k).name
                    read_attribute(group, name if isinstance(name, str) else name.decode())
        with self._tolerated():
            for name in group:
                if len(self._seen) >= MAX_OBJECTS or time.monotonic() > self._end:
                    return
                with self._tolerated():
                    self._read_member(group, name, groups)

    def _read_member(self, group: h5py.Group, name: str, groups: list[h5py.Group]) -> None:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            return  # what a soft link leads to is seen by itself
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in self._seen:
            return
        self._seen.add(address)
        if isinstance(item, h5py.Group):
            groups.append(item)
        elif isinstance(item, h5py.Dataset):
            read_dataset(item, self._end)


def read_dataset(dataset: h5py.Dataset, end: float) -> None:
    """Read the header of a dataset, where its values lie, and some of them.

    Of one that a filter of hdf5plugin packed, something of every row of chunks: such filters
    believe what is in a chunk.

    Args:
        dataset: any.
        end: the time of the monotonic clock at which to stop.

    Raises:
        InputError: it is none that this project reads.
    """
    shape, dtype = dataset.shape, dataset.dtype
    if dataset.is_virtual:
        list(dataset.virtual_sources())
        return
    check_dataset_header("", dataset)
    dataset.fillvalue, dataset.id.get_offset(), dataset.id.get_storage_size()
    if dataset.chunks is not None:
        dataset.id.get_num_chunks()
        if hasattr(dataset.id, "chunk_iter"):
            dataset.id.chunk_iter(lambda chunk: None)
    if shape is None or dtype.names or dtype.kind == "V":
        return
    if h5py.check_ref_dtype(dtype) is h5py.Reference and dataset.nbytes <= WHOLE_BYTES:
        for reference in np.ravel(dataset[()])[:MAX_ATTRIBUTES]:  # to texts of MATLAB
            target = dataset.file[reference] if reference else None
            if isinstance(target, h5py.Dataset) and target.dtype.kind != "O":
                read_dataset(target, end)
    if dtype.kind == "O":
        return  # texts and pictures of any length are read past HDF5
    if dataset.nbytes <= WHOLE_BYTES:
        dataset[()]
        return
    step = dataset.chunks[0] if dataset.chunks else 1
    if PLUGIN_FILTERS.keys() & list_filters(dataset):
        for low in range(0, shape[0], step):
            if time.monotonic() < end:
                dataset[low : low + 1]
        return
    for low in (0, shape[0] - 1):
        dataset[(low, *[0] * (len(shape) - 1))]


def check(path: str) -> bool:
    """Return whether all that is read of a file when it is opened could be read."""
    try:
        with open_any(path) as root:
            return Walk(root).is_sound
    except (InputError, *DAMAGE):
        return False


def main(processor_seconds: int) -> None:
    """Answer for every path on standard input, until it ends or nothing comes."""
    limit_resources(None)
    waiting = b""
    while select.select([0], [], [], IDLE_SECONDS)[0] and (content := os.read(0, 2**16)):
        *lines, waiting = (waiting + content).split(b"\n")
        for line in lines:
            limit_processor_time(processor_seconds)
            path, stamp = json.loads(line), None
            with contextlib.suppress(OSError):  # it has gone: who opens it says so
                stamp = stamp_of(path)
            answer = json.dumps((path, check(path), stamp))
            os.write(1, answer.encode() + b"\n")


if __name__ == "__main__":
    gc.disable()  # what is imported stays
    main(int(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)
