"""HDF5 files with filters and types that are not read in training, each written by HDF5 itself."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

UNTRUSTED = {  # what is refused: what the message says
    "scale-offset": "is packed by scale-offset, which is not unpacked here",
    "scale-offset, gzip": "is packed by scale-offset, which is not unpacked here",
    "n-bit": "is packed by n-bit, which is not unpacked here",
    "szip": "is packed by szip, which is not unpacked here",
    "12 bits": "has values with unused bits",
}
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
LABELS = np.arange(24) % 3
CHUNK = 8  # images


def pack(group: h5py.Group, key: str, values: np.ndarray, packing: str) -> h5py.Dataset:
    """Write values as a dataset, and check that the filter is in its header."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    stored, code = h5py.h5t.py_create(values.dtype), None
    if packing != "12 bits":
        properties.set_chunk((min(CHUNK, values.shape[0]), *values.shape[1:]))
    if packing.startswith("scale-offset"):
        code = h5py.h5z.FILTER_SCALEOFFSET
        if values.dtype.kind == "f":
            properties.set_scaleoffset(h5py.h5z.SO_FLOAT_DSCALE, 3)
        else:
            properties.set_scaleoffset(h5py.h5z.SO_INT, 0)
        if packing.endswith("gzip"):
            properties.set_deflate(4)
    elif packing == "n-bit":
        code = h5py.h5z.FILTER_NBIT
        properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL, ())
    elif packing == "szip":
        code = h5py.h5z.FILTER_SZIP
        properties.set_szip(h5py.h5z.SZIP_NN_OPTION_MASK, 8)
    elif values.dtype.kind != "f":
        stored = h5py.h5t.STD_U16LE.copy()
        stored.set_precision(12)
        stored.set_offset(2)
    space = h5py.h5s.create_simple(values.shape)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, key.encode(), stored, space, properties))
    dataset[...] = values
    properties = dataset.id.get_create_plist()
    codes = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
    assert code is None or codes[0] == code
    return dataset


def write_untrusted(path: Path, packing: str, key: str = "x") -> Path:
    """Write a file of images and labels, one of which is packed."""
    with h5py.File(path, "w") as file:
        for name, values in (("x", IMAGES), ("y", LABELS)):
            if name == key:
                pack(file, name, values, packing)
            else:
                file[name] = values
        file["list_classes"] = ["one", "two", "three"]
        file["soft"] = h5py.SoftLink("/y")
        file.create_group("z")["twice"] = file["y"]
        for name in ("/", "x", "y", "z"):
            file[name].attrs["unit"] = "cm"
    return path
