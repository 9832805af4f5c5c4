"""Values of variable length in an HDF5 file, read past HDF5.

Such values (texts, or the bytes of pictures) lie in the file's global heap, and the dataset holds
references to them. HDF5 may hang or crash on a damaged heap; here every size is checked against
the file, and every search ends. The format: https://support.hdfgroup.org/documentation/hdf5/latest/
_f_m_t3.html, "Global Heap".
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data.hdf5_dataset_checks import check_dataset_header, list_filters
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.open_handles import RawFile
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

WINDOW = 4096  # bytes read at a time, the smallest collection that HDF5 writes
SIZE_CODES = {2: "H", 4: "I", 8: "Q"}  # of `struct`, by the bytes of a size in the file
MAX_REFERENCE_BYTES = 2**30  # of one dataset, which are read at once


def is_variable_length(dtype: np.dtype) -> bool:
    """Whether values are texts or bytes of any length."""
    text = h5py.check_string_dtype(dtype)
    if text is not None:
        return text.length is None
    base = h5py.check_vlen_dtype(dtype)
    return isinstance(base, np.dtype) and base.kind in "iuSV" and base.itemsize == 1


def read_texts(
    path: str | Path, key: str, max_bytes: int, expected: str = "class numbers or texts"
) -> list[str]:
    """Return the texts of variable length of a dataset, flat.

    Args:
        path: the HDF5 file.
        key: the dataset.
        max_bytes: that all texts together may have.
        expected: what it should hold, for messages.

    Returns:
        The texts; bytes that are not UTF-8 are written as `\\xe9`.

    Raises:
        InputError: it holds no such texts, too many, or damaged ones.
    """
    with open_hdf5(Path(path)) as file:
        dataset = file[key]
        where = f"'{shorten(key)}' in {path}"
        wrong = f"{where} holds no text, or too much of it, expected {expected}."
        if h5py.check_string_dtype(dataset.dtype) is None or not is_variable_length(dataset.dtype):
            raise InputError(wrong)
        if dataset.shape is None or 0 in dataset.shape:
            return []
        values = VariableLengthValues(path, dataset)
        if values.lengths.sum(dtype=np.uint64) > max_bytes:
            raise InputError(wrong)
    # A text ends at its first zero byte, as it does for HDF5.
    contents = (content.partition(b"\0")[0] for content in values.read(np.arange(len(values))))
    return [content.decode("utf-8", "backslashreplace") for content in contents]


class VariableLengthValues:
    """The values of a dataset of variable length, by their place in it (flat).

    The dataset itself is not needed any more once this exists. Safe in several threads.

    Args:
        path: the HDF5 file.
        dataset: of it, texts or bytes of variable length.

    Attributes:
        lengths: uint32 (N,), bytes of each value.

    Raises:
        InputError: its references cannot be read.
    """

    def __init__(self, path: str | Path, dataset: h5py.Dataset) -> None:
        self.where = f"'{shorten(dataset.name.lstrip('/'))}' in {path}"
        check_dataset_header(self.where, dataset, MAX_REFERENCE_BYTES)
        self._file = RawFile(path)
        self._file_size = os.fstat(self._file.descriptor).st_size
        self._base = dataset.file.userblock_size  # that addresses count from
        address_bytes, self._size_bytes = dataset.file.id.get_create_plist().get_sizes()
        self._object = struct.Struct("<HHI" + SIZE_CODES[self._size_bytes])  # an object's header
        dtype = [("length", "<u4"), ("address", f"<u{address_bytes}"), ("index", "<u4")]
        content = self._read_references(dataset, np.dtype(dtype).itemsize)
        references = np.frombuffer(content, dtype)
        self.lengths = references["length"].copy()
        self._addresses, self._indices = references["address"].copy(), references["index"].copy()

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, rows: np.ndarray) -> list[bytes]:
        """Return the values of some rows, int64 (n,).

        Raises:
            InputError: one of them is not where its reference leads.
        """
        values = [b""] * len(rows)
        wanted: dict[int, dict[int, list[int]]] = {}  # address -> index -> places in `values`
        references = (self.lengths[rows], self._addresses[rows], self._indices[rows])
        lengths, addresses, indices = (part.tolist() for part in references)
        for place, length in enumerate(lengths):
            if length:  # else nothing is stored
                objects = wanted.setdefault(addresses[place], {})
                objects.setdefault(indices[place], []).append(place)
        walked = 0
        for address, objects in sorted(wanted.items()):
            longest = max(lengths[places[0]] for places in objects.values())
            size, found = self._read_collection(address, set(objects), longest)
            # Collections do not overlap; that they seem to may be meant to take forever.
            walked += size
            if walked > self._file_size:
                raise self._damage("its heap overlaps itself")
            for index, places in objects.items():
                for place in places:
                    if len(found[index]) != lengths[place]:
                        raise self._damage(
                            f"value {rows[place]} has {len(found[index]):,} bytes in the heap "
                            f"instead of {lengths[place]:,}"
                        )
                    values[place] = found[index]
        return values

    def _read_collection(
        self, address: int, wanted: set[int], longest: int
    ) -> tuple[int, dict[int, bytes]]:
        """Return the bytes of a collection of the heap, and its wanted objects by their index."""
        start, header = self._base + address, 8 + self._size_bytes
        ahead = max(WINDOW, header + self._object.size + longest)  # most often all there is
        if start >= self._file_size:
            raise self._damage("a reference leads out of the file")
        window, window_start = self._file.read(min(ahead, self._file_size - start), start), 0
        if len(window) < header or window[:5] != b"GCOL\x01":
            raise self._damage("a reference leads to no heap")
        size = int.from_bytes(window[8:header], "little")
        if not header <= size <= self._file_size - start:
            raise self._damage(f"a part of its heap claims to have {size:,} bytes")
        found: dict[int, bytes] = {}
        position = header
        while len(found) < len(wanted) and position + self._object.size <= size:
            if position + self._object.size > window_start + len(window):
                window_start = position
                window = self._file.read(min(ahead, size - position), start + position)
                if len(window) < self._object.size:
                    raise self._damage("the file has become shorter")
            index, _, _, length = self._object.unpack_from(window, position - window_start)
            if index == 0:  # free space, whose length counts from its header
                position += max(length, self._object.size)
                continue
            position += self._object.size
            if position + length > size:
                raise self._damage("a value reaches beyond its part of the heap")
            if index in wanted:
                first = position - window_start
                content = window[first : first + length]
                if len(content) < length:
                    content = self._read_value(start + position, length, longest)
                found.setdefault(index, content)
            position += -(-length // 8) * 8
        if len(found) < len(wanted):
            raise self._damage("a value is missing in its heap")
        return size, found

    def _read_value(self, position: int, length: int, longest: int) -> bytes:
        # One that is longer than any reference says is reported by the caller.
        content = self._file.read(min(length, longest + 1), position)
        if len(content) < min(length, longest + 1):
            raise self._damage("the file has become shorter")
        return content

    def _read_references(self, dataset: h5py.Dataset, size: int) -> bytes:
        """Return the dataset's own bytes, `size` for each value."""
        count = 0 if dataset.shape is None else math.prod(dataset.shape)
        if dataset.chunks is not None:
            return self._unpack_references(dataset, size)
        offset = dataset.id.get_offset()
        if dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT and count:
            raise InputError(
                f"{self.where} is stored inside its header, where its values cannot be found. "
                "Write it again, contiguous, with `h5repack -l CONTI`."
            )
        if offset is None or dataset.id.get_storage_size() == 0:
            self._check_fill_value(dataset)
            return bytes(count * size)  # never written: empty values
        content = self._file.read(count * size, offset)
        if len(content) != count * size or dataset.id.get_storage_size() != len(content):
            raise self._damage("the file ends before its references do")
        return content

    def _unpack_references(self, dataset: h5py.Dataset, size: int) -> bytes:
        """Return those of a dataset in chunks, in its order.

        Its chunks are copied into a dataset of plain bytes in memory, with the same filters, so
        that HDF5 unpacks them and does not follow them into the heap.
        """
        properties, filters = dataset.id.get_create_plist(), list_filters(dataset)
        kind = h5py.h5t.py_create(np.dtype((np.void, size)))
        references = np.zeros(dataset.shape, (np.void, size))
        copies: dict[int, h5py.Dataset] = {}  # by which filters their chunks leave out
        name = f"references {id(self)}"  # no other thread's
        with h5py.File(name, "w", driver="core", backing_store=False) as memory:
            count = dataset.id.get_num_chunks()
            grid = zip(dataset.shape, dataset.chunks, strict=True)
            if count < math.prod(-(-extent // step) for extent, step in grid):
                self._check_fill_value(dataset)
            for k in range(count):
                chunk = dataset.id.get_chunk_info(k)
                if chunk.size > self._file_size:
                    raise self._damage(f"a chunk claims to have {chunk.size:,} bytes")
                mask, content = dataset.id.read_direct_chunk(chunk.chunk_offset)
                if mask not in copies:
                    packing = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                    packing.set_chunk(dataset.chunks)
                    for n in range(len(filters)):
                        if not mask >> n & 1:
                            packing.set_filter(*properties.get_filter(n)[:3])
                    space = h5py.h5s.create_simple(dataset.shape)
                    new = h5py.h5d.create(memory.id, b"%d" % mask, kind, space, packing)
                    copies[mask] = h5py.Dataset(new)
                copies[mask].id.write_direct_chunk(chunk.chunk_offset, content, 0)
                corner = zip(chunk.chunk_offset, dataset.chunks, strict=True)
                area = tuple(slice(low, low + step) for low, step in corner)
                references[area] = copies[mask][area]
        return references.tobytes()

    def _check_fill_value(self, dataset: h5py.Dataset) -> None:
        """Check that values which were never written are empty ones."""
        defined = dataset.id.get_create_plist().fill_value_defined()
        if defined == h5py.h5d.FILL_VALUE_USER_DEFINED:
            raise InputError(f"{self.where} has values that were never written. Write them first.")

    def _damage(self, reason: str) -> InputError:
        return InputError(f"{self.where} is damaged: {reason}. Fetch or write it again.")
