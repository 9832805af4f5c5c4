"""Ways to damage an HDF5 file that bytes alone would rarely hit: sizes in its headers, types,
filters, links, attributes.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

SIZES = (
    0, 1, 2, 5, 7, 23, 25, 48, 255, 10**4, 10**6, 2**24, 2**31 - 1, 2**32 - 1, 2**40, 2**60, 2**63,
    2**64 - 1,
)  # fmt: skip
FILTERS = (1, 2, 3, 4, 5, 6, 32000, 32001, 32004, 32015, 65000)


def mutate_hdf5(content: bytes, rng: random.Random) -> bytes:
    """One damaged copy, often one that HDF5 itself still opens."""
    if rng.random() < 0.45:
        return _resize(content, rng)
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        found: list[h5py.Dataset] = []
        file.visititems(
            lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None
        )
        if rng.random() < 0.25:
            _change_attribute(file, found, rng)
        else:
            dataset = rng.choice(found)
            rng.choice(WAYS)(file, dataset.name, dataset, rng)
    return buffer.getvalue()


def _resize(content: bytes, rng: random.Random) -> bytes:
    """Finds a dataset's shape, chunk shape or stored size among the bytes of its header, and writes
    other numbers there.
    """
    with h5py.File(io.BytesIO(content)) as file:
        found: list[h5py.Dataset] = []
        file.visititems(
            lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None
        )
        dataset = rng.choice(found)
        shape, chunks, size = dataset.shape, dataset.chunks, dataset.id.get_storage_size()
    patterns = [(struct.pack(f"<{len(shape)}Q", *shape), "Q")]
    if chunks:
        patterns.append((struct.pack(f"<{len(chunks)}I", *chunks), "I"))
        patterns.append(
            (struct.pack(f"<{len(chunks)}B", *(min(255, size) for size in chunks)), "B")
        )
    patterns.append((struct.pack("<Q", size), "Q"))
    pattern, code = rng.choice(patterns)
    step = struct.calcsize(f"<{code}")
    places = [k for k in range(len(content) - len(pattern)) if content.startswith(pattern, k)]
    damaged = bytearray(content)
    new = [rng.choice(SIZES) if rng.random() < 0.5 else None for _ in range(len(pattern) // step)]
    for place in places if rng.random() < 0.7 else places[:1]:
        for k, value in enumerate(new):
            if value is not None:
                struct.pack_into(f"<{code}", damaged, place + k * step, value % 256**step)
    return bytes(damaged)


Way = Callable[[h5py.File, str, h5py.Dataset, random.Random], Any]


def _other_values(file: h5py.File, name: str, dataset: h5py.Dataset, rng: random.Random) -> None:
    """Values of another type, or other numbers of the same."""
    values = dataset[()]
    count = len(values) if values.ndim else 1
    others: list[Any] = [
        values.astype("S4"),
        values.astype(np.complex64),
        values.astype("f2"),
        values.astype(">f8"),
        values.astype(bool),
        values.astype(np.int64) - 1000 if values.dtype.kind in "iufb" else values,
        np.full(values.shape, np.nan),
        np.zeros((count,), [("a", "u1"), ("b", "f4", 3)]),
        np.zeros(values.shape, "V7"),
        np.array(["\x1b[2J\x00"] * count, dtype=object),
        np.arange(2**16),
        np.uint8(3),
        h5py.Empty("u1"),
        np.zeros((0, *values.shape[1:])),
        values[..., None],
        values.T,
    ]
    del file[name]
    file[name] = rng.choice(others)


def _odd_type(file: h5py.File, name: str, dataset: h5py.Dataset, rng: random.Random) -> None:
    """Types that NumPy has no name for."""
    shape = dataset.shape
    types = (
        h5py.vlen_dtype(np.uint8),
        h5py.ref_dtype,
        h5py.regionref_dtype,
        h5py.enum_dtype({"a": 1}),
        h5py.string_dtype(length=3),
        np.dtype("(4,3)u1"),
    )
    del file[name]
    kind = rng.choice(types)
    made = file.create_dataset(name, shape, kind)
    if kind == h5py.ref_dtype:
        made[...] = file.ref
    elif kind == h5py.regionref_dtype:
        made[...] = made.regionref[:1]


def _other_filters(file: h5py.File, name: str, dataset: h5py.Dataset, rng: random.Random) -> None:
    """A filter that is not built in or has nonsense for options, and bytes in the chunks that no
    filter wrote.
    """
    values = dataset[()]
    if values.ndim == 0 or values.dtype.kind not in "iuf":
        return
    del file[name]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(tuple(max(1, size // rng.choice((1, 2))) for size in values.shape))
    for _ in range(rng.choice((1, 1, 2))):
        code = rng.choice(FILTERS)
        properties.set_filter(
            code,
            h5py.h5z.FLAG_OPTIONAL,
            tuple(rng.choice(SIZES) % 2**32 for _ in range(rng.randrange(4))),
        )
    made = h5py.h5d.create(
        file.id,
        name.encode(),
        h5py.h5t.py_create(values.dtype),
        h5py.h5s.create_simple(values.shape),
        properties,
    )
    for chunk in range(rng.randrange(1, 3)):
        corner = (chunk * properties.get_chunk()[0], *[0] * (values.ndim - 1))
        if corner[0] < values.shape[0]:
            made.write_direct_chunk(
                corner,
                rng.choice((rng.randbytes(64), bytes(10**5), b"\x78\x9c" + rng.randbytes(99))),
                0,
            )


def _elsewhere(file: h5py.File, name: str, dataset: h5py.Dataset, rng: random.Random) -> None:
    """Links and storage that lead to another place."""
    shape, kind = dataset.shape, dataset.dtype
    del file[name]
    way = rng.randrange(6)
    if way == 0:
        file[name] = h5py.SoftLink(name)
    elif way == 1:
        file[name] = h5py.ExternalLink("/etc/passwd", "/x")
    elif way == 2:
        file.create_dataset(name, shape, kind, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    elif way == 3:
        layout = h5py.VirtualLayout(shape, kind)
        layout[...] = h5py.VirtualSource(rng.choice((".", "/etc/passwd")), name, shape)
        file.create_virtual_dataset(name, layout)
    elif way == 4:
        file[name] = file["/"]
    else:
        file[name] = np.dtype("f4")


def _exchange(file: h5py.File, name: str, dataset: h5py.Dataset, rng: random.Random) -> None:
    """Two datasets change places, or one gets another name."""
    names: list[str] = []
    file.visititems(
        lambda key, item: names.append(f"/{key}") if isinstance(item, h5py.Dataset) else None
    )
    other = rng.choice(
        [*names, "/y", "/x", "/list_classes", "/a\x1b[31m\n", "/train_set_x2", "/layers/\udc80"]
    )
    if other in names and other != name:
        file.move(name, "/swap")
        file.move(other, name)
        file.move("/swap", other)
    elif other != name:
        file.move(name, other)


def _drop(file: h5py.File, name: str, dataset: h5py.Dataset, rng: random.Random) -> None:
    del file[name]


WAYS: tuple[Way, ...] = (
    _other_values, _other_values, _odd_type, _other_filters, _other_filters, _elsewhere, _exchange,
    _drop,
)  # fmt: skip


def _change_attribute(file: h5py.File, datasets: list[h5py.Dataset], rng: random.Random) -> None:
    """An attribute that stands somewhere gets a value of another type, another's value, or goes."""
    places: list[Any] = [file, *datasets]
    file.visititems(lambda _, item: places.append(item) if isinstance(item, h5py.Group) else None)
    places = [place for place in places if len(place.attrs)] or [file]
    place = rng.choice(places)
    name = rng.choice(
        [*place.attrs, "layer_names", "weight_names", "model_config", "keras_version"]
    )
    values: list[Any] = [
        7,
        2.5,
        "",
        "text\x1b\x00",
        b"bytes\xff",
        [b"a", b"b"],
        ["x" * 3000],
        np.zeros((3, 3)),
        h5py.Empty("f4"),
        np.zeros(2, [("a", "u1")]),
        file.ref,
        np.zeros(0),
        np.array(["dense", "dense"], dtype=object),
        np.array([[b"a"]]),
        [b"../x", b"/etc/passwd"],
    ]
    other = rng.choice(places)
    if len(other.attrs):
        values.append(other.attrs[rng.choice(list(other.attrs))])
    if rng.random() < 0.15 and name in place.attrs:
        del place.attrs[name]
    else:
        place.attrs[name] = rng.choice(values)
