"""Images whose axes are stored in another order, against NumPy's transpose of what h5py reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from signs_lightning import H5DataModule, InputError
from signs_lightning.data import storage_layout
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.direct_chunk_reader import ChunkedReader
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_storage_readers import ContiguousReader, HDF5Reader, ImageReader
from signs_lightning.data.image_axes import find_axes
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.value_range import Values

N, H, W = 23, 6, 5
SIZES = {"N": N, "H": H, "W": W}
LABELS = np.arange(N) % 4
WANTED = [5, 0, 22, 5, 7, 6, 1, 22]
ORDERS = [
    "NHWC",
    "NCHW",
    "NCWH",
    "NWHC",
    "HWCN",
    "CWHN",
    "HWNC",
    "CNHW",
    "NHW",
    "NWH",
    "WHN",
    "HNW",
]
CHUNK = {"N": 4, "H": 4, "W": 2, "C": 3}
WHOLE = {"N": 4, "H": H, "W": W, "C": 3}
STORED: dict[str, tuple[dict[str, Any], dict[str, int] | None, type]] = {
    "contiguous": ({}, None, ContiguousReader),
    "whole images": ({"compression": "gzip", "shuffle": True}, WHOLE, ChunkedReader),
    "pieces": ({"compression": "gzip"}, CHUNK, ChunkedReader),
    "splinters": ({}, {"N": 7, "H": 2, "W": 1, "C": 1}, ChunkedReader),
    "lzf": ({"compression": "lzf"}, CHUNK, HDF5Reader),
    "checksums": ({"fletcher32": True}, WHOLE, HDF5Reader),
}


def image_set(path: Path, axes: str, dtype: str = "u1", **source: Any) -> ImageSet:
    channels = 3 if "C" in axes else 1
    values = Values(np.dtype(np.float32), 0, 1, (0, 1), "bytes") if dtype == "f4" else Values()
    return ImageSet(
        str(path),
        (N, H, W, channels),
        values,
        LABELS,
        None,
        4,
        path,
        "x",
        axes=axes,
        **source,
    )


def stored(axes: str, dtype: str = "u1") -> np.ndarray:
    sizes = SIZES | {"C": 3}
    rng = np.random.default_rng(len(axes))
    values = rng.integers(0, 256, [sizes[axis] for axis in axes], dtype=np.uint8)
    return values / np.float32(255) if dtype == "f4" else values.astype(dtype)


def expected(path: Path, axes: str, dtype: str = "u1") -> np.ndarray:
    """What h5py reads, transposed, with an axis of channels."""
    with h5py.File(path) as file:
        values = file["x"][()]
    values = np.einsum(f"{axes}->{''.join(axis for axis in 'NHWC' if axis in axes)}", values)
    values = values if "C" in axes else values[..., None]
    return np.rint(values * 255 if dtype == "f4" else values).astype(np.uint8)


def write(path: Path, values: np.ndarray, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, **options)


@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("axes", ORDERS)
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_axes_in_any_order(axes: str, storage: str, dtype: str, tmp_path: Path) -> None:
    """By the batch, in blocks and all at once: the same pictures, upright and whole."""
    options, sizes, kind = STORED[storage]
    chunks = {} if sizes is None else {"chunks": tuple(sizes[axis] for axis in axes)}
    write(tmp_path / "f.h5", stored(axes, dtype), **options, **chunks)
    right = expected(tmp_path / "f.h5", axes, dtype)
    dataset = H5Images([image_set(tmp_path / "f.h5", axes, dtype)])
    reader = dataset.readers[0]
    np.testing.assert_array_equal(dataset.__getitems__(WANTED)[0].numpy(), right[WANTED])
    np.testing.assert_array_equal(dataset.read_sorted(np.unique(WANTED)), right[np.unique(WANTED)])
    np.testing.assert_array_equal(reader.read(0, N), right)
    np.testing.assert_array_equal(reader.read(3, 21), right[3:21])
    assert reader.read(0, 2).flags.c_contiguous
    assert type(reader._source) is kind
    assert reader.layout.is_mapped == (axes[0] == "N" and kind is ContiguousReader)
    if sizes is not None:
        assert reader.layout.chunk == sizes["N"]


@pytest.mark.parametrize("axes", ORDERS)
def test_arrays_in_any_order(axes: str) -> None:
    """Arrays in memory have axes, too."""
    values = stored(axes)
    right = np.einsum(f"{axes}->{''.join(axis for axis in 'NHWC' if axis in axes)}", values)
    images = image_set(Path("arrays"), axes)
    images = ImageSet(
        "the arrays", images.shape, Values(), LABELS, None, 4, array=values, axes=axes
    )
    read = H5Images([images]).__getitems__(WANTED)[0].numpy()
    np.testing.assert_array_equal(read, right.reshape(N, H, W, -1)[WANTED])


@pytest.mark.parametrize("storage", ["contiguous", "gzip", "lzf"])
@pytest.mark.parametrize("axes", ["NHWC", "NCHW", "NCWH", "NHW", "NWH", "HWCN", "CWHN", "WHN"])
def test_flat_rows(axes: str, storage: str, tmp_path: Path) -> None:
    """Rows (N, D), or columns (D, N), unfold to the axes."""
    values = stored(axes)
    flat = values.reshape(N, -1) if axes[0] == "N" else values.reshape(-1, N)
    chunks = (4, 7) if axes[0] == "N" else (7, 4)
    options = {} if storage == "contiguous" else {"compression": storage, "chunks": chunks}
    write(tmp_path / "f.h5", flat, **options)
    write(tmp_path / "unfolded.h5", values)
    right = expected(tmp_path / "unfolded.h5", axes)
    dataset = H5Images([image_set(tmp_path / "f.h5", axes)])
    np.testing.assert_array_equal(dataset.__getitems__(WANTED)[0].numpy(), right[WANTED])
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(N)), right)


def test_images_across_each_other_have_longer_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their runs in the file are as long as a block has images; all blocks give all images."""
    monkeypatch.setattr(storage_layout, "BLOCK_BYTES", 90)
    write(tmp_path / "f.h5", stored("HWCN"))
    assert ImageReader(image_set(tmp_path / "f.h5", "HWCN")).layout.block == 4096
    monkeypatch.setattr(storage_layout, "RUN", 4)
    dataset = H5Images([image_set(tmp_path / "f.h5", "HWCN")])
    assert dataset.readers[0].layout.block == 4
    assert dataset.blocks.tolist() == [0, 4, 8, 12, 16, 20, 23]
    right = expected(tmp_path / "f.h5", "HWCN")
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(N)), right)


def test_images_not_on_the_first_axis_cannot_be_mapped(tmp_path: Path) -> None:
    """They are held in memory or streamed, and the batches of an epoch are the same."""
    write(tmp_path / "f.h5", stored("HWCN"))
    module = H5DataModule(test_file="f.h5", batch_size=9)
    module._datasets = {"test": H5Images([image_set(tmp_path / "f.h5", "HWCN")])}
    batches = [images.numpy() for images, _ in module.test_dataloader()]
    assert module._datasets["test"].reading == "resident"
    np.testing.assert_array_equal(np.concatenate(batches), expected(tmp_path / "f.h5", "HWCN"))


@pytest.mark.parametrize("dtype", ["<u2", ">i4", "<f4", ">f8"])
@pytest.mark.parametrize("packing", [{}, {"compression": "gzip"}])
def test_shuffled_bytes_of_larger_values(dtype: str, packing: dict, tmp_path: Path) -> None:
    """Byte shuffle is undone without HDF5, with gzip and without, in either byte order."""
    values = np.random.default_rng(0).integers(0, 256, (N, H, W, 3)).astype(dtype)
    write(tmp_path / "f.h5", values, shuffle=True, chunks=(4, 4, 5, 3), **packing)
    reader = ImageReader(image_set(tmp_path / "f.h5", "NHWC"))
    np.testing.assert_array_equal(reader.read(1, N), values[1:].astype(np.uint8))
    assert isinstance(reader._source, ChunkedReader)


@pytest.mark.parametrize("mask", range(4))
def test_chunks_without_some_filters(mask: int, tmp_path: Path) -> None:
    """A chunk says which filters of the dataset were left out in it."""
    values = np.random.default_rng(0).integers(0, 256, (4, H, W, 3)).astype("<u2")
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        kept = {"shuffle": not mask & 1, "compression": None if mask & 2 else "gzip"}
        file.create_dataset("x", data=values, chunks=values.shape, **kept)
        content = file["x"].id.read_direct_chunk((0, 0, 0, 0))[1]
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset(
            "x", (N, H, W, 3), "<u2", chunks=values.shape, shuffle=True, compression="gzip"
        )
        file["x"].id.write_direct_chunk((4, 0, 0, 0), content, filter_mask=mask)
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["x"][4:8], values)
    reader = ImageReader(image_set(tmp_path / "f.h5", "NHWC"))
    np.testing.assert_array_equal(reader.read(4, 8), values.astype(np.uint8))


def test_square_images_of_too_many_channels() -> None:
    """Not as 9 channels of 9×200 pixels, unless the user says so."""
    shape = 50, 9, 9, 200
    with pytest.raises(InputError, match="has images of 200 channels"):
        find_axes("'x' in a.h5", shape)
    assert find_axes("'x' in a.h5", shape, "C,H,W") == ("NCHW", (50, 9, 200, 9))
    assert find_axes("'x' in a.h5", (50, 16, 32, 32)) == ("NCHW", (50, 32, 32, 16))


def test_matlab_asks_where_images_are_as_many_as_pixels(tmp_path: Path) -> None:
    """Of (H, W, N) and (N, H, W), whose axes its files have reversed, either could be meant."""
    path, images = tmp_path / "a.mat", np.random.default_rng(0).integers(0, 256, (18, 20, 18))
    with h5py.File(path, "w", userblock_size=512) as file:
        file["X"], file["y"] = images.astype(np.uint8), np.arange(18) % 3
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    with pytest.raises(InputError, match="along the first axis or the last") as error:
        check_file(path)
    readings = {"N,W,H": images.transpose(0, 2, 1), "W,H,N": images.transpose(2, 1, 0)}
    for axes, expected in readings.items():
        assert f"`--data.axes {axes}`" in str(error.value)
        found = ImageReader(check_file(path, axes=axes)).read(0, 18)[..., 0]
        np.testing.assert_array_equal(found, expected)
