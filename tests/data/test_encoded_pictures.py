"""JPEG and PNG files inside HDF5: what torchvision and Pillow decode of the same bytes."""

from __future__ import annotations

import io
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from signs_lightning.data.dataset import H5Images
from signs_lightning.data.encoded_pictures import (
    EncodedPictures,
    find_picture_groups,
    find_picture_shape,
    is_encoded_dataset,
    list_class_folders,
    split_members,
)
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.value_range import Values
from signs_lightning.errors import InputError
from signs_lightning.runtime.image_files import read_image

SIZE = (24, 32)
COUNT = 11
KINDS = ("L", "RGB", "RGBA", "P", "LA", "1", "I;16")


def picture(number: int, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """A picture with smooth and noisy parts."""
    height, width = size
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
    values = np.asarray(coarse.resize((width, height))) // 2 + rng.integers(0, 128, (height, 1, 3))
    drawn = Image.fromarray(values.astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 2**16, size, np.uint16))
    if mode in ("RGBA", "LA"):
        drawn.putalpha(Image.fromarray(rng.integers(0, 256, size, np.uint8)))
    return drawn.convert(mode)


def encode(drawn: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    drawn.save(buffer, form, **options)
    return buffer.getvalue()


def decode(content: bytes, channels: int = 3) -> np.ndarray:
    """torchvision's own (H, W, C)."""
    mode = ImageReadMode.RGB if channels == 3 else ImageReadMode.GRAY
    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return decode_image(encoded, mode).permute(1, 2, 0).numpy()


CONTENTS = [encode(picture(k), "PNG" if k % 4 == 1 else "JPEG") for k in range(COUNT)]
LONGEST = max(map(len, CONTENTS))


def as_variable(file: h5py.File, shape: tuple[int, ...], **options: Any) -> None:
    dataset = file.create_dataset("x", shape, h5py.vlen_dtype(np.uint8), **options)
    for k, content in enumerate(CONTENTS):
        dataset[k] = np.frombuffer(content, np.uint8)


def as_opaque(file: h5py.File, **options: Any) -> None:
    values = np.array([c.ljust(LONGEST, b"\0") for c in CONTENTS], f"V{LONGEST}")
    file.create_dataset("x", data=values, **options)


def as_rows(file: h5py.File) -> None:
    file["x"] = np.stack([np.frombuffer(c.ljust(LONGEST, b"\0"), np.uint8) for c in CONTENTS])


def as_group(file: h5py.File, name: str = "x/{:04d}", **options: Any) -> None:
    """Scalars of opaque bytes or uint8 in turn."""
    for k, content in enumerate(CONTENTS):
        key = name.format(k, "cat" if k < 5 else "dog")
        if options or k % 2:
            file.create_dataset(key, data=np.frombuffer(content, np.uint8), **options)
        else:
            file[key] = np.void(content)


STORAGE = {
    "variable": lambda file: as_variable(file, (COUNT,)),
    "variable, a column": lambda file: as_variable(file, (COUNT, 1)),
    "variable, gzip": lambda file: as_variable(file, (COUNT,), chunks=(3,), compression="gzip"),
    "opaque": as_opaque,
    "opaque, chunked": lambda file: as_opaque(file, chunks=(3,), compression="gzip"),
    "text": lambda file: file.create_dataset("x", data=np.array(CONTENTS, f"S{LONGEST}")),
    "rows": as_rows,
    "group": as_group,
    "group, gzip": lambda file: as_group(file, chunks=True, compression="gzip"),
}


def image_set(path: Path, key: str = "x", **options: Any) -> ImageSet:
    """A set of the pictures of a file; of their own size without `size`."""
    size = options.pop("size", None)
    with h5py.File(path) as file:
        pictures = EncodedPictures(path, file, key)
        shape = (len(pictures), *find_picture_shape(pictures, size))
    labels = np.zeros(shape[0], np.int64)
    resizing: Any = None if size is None else ("bilinear", "crop")
    return ImageSet(
        str(path), shape, Values(), labels, None, 1, path, key, is_encoded=True, resizing=resizing
    )


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("userblock", [0, 512])
def test_pictures_are_those_of_torchvision(tmp_path: Path, storage: str, userblock: int) -> None:
    """However they are stored; a batch, a block, one by one, in threads, in another process."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        STORAGE[storage](file)
    with h5py.File(path) as file:
        found = find_picture_groups(file)[0]
        encoded = not isinstance(file["x"], h5py.Group) and is_encoded_dataset(file["x"])
        assert (found, encoded) == (("/x", False) if "group" in storage else (None, True))
    expected = np.stack([decode(content) for content in CONTENTS])
    reader = ImageReader(image_set(path))
    assert reader.images.shape == (COUNT, *SIZE, 3)
    np.testing.assert_array_equal(reader.read(0, COUNT), expected)
    order = np.array([7, 0, 7, 3])
    for copy in (reader, pickle.loads(pickle.dumps(reader))):
        np.testing.assert_array_equal(copy.take(order), expected[order])
    with ThreadPoolExecutor(4) as threads:
        for row, one in enumerate(threads.map(lambda k: reader.read(k, k + 1), range(COUNT))):
            np.testing.assert_array_equal(one[0], expected[row])
    dataset = H5Images([reader.images])
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(COUNT)), expected)
    np.testing.assert_array_equal(dataset.__getitems__(order.tolist())[0], expected[order])


@pytest.mark.parametrize(
    ("form", "mode"),
    [*(("PNG", mode) for mode in KINDS), ("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK")],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_those_of_loose_files(
    tmp_path: Path, form: str, mode: str, channels: int
) -> None:
    """Any kind of PNG and JPEG is what `read_image` makes of it, to the bit."""
    content = encode(picture(0, mode=mode), form)
    (tmp_path / "picture").write_bytes(content)
    expected = read_image(str(tmp_path / "picture"), (*SIZE, channels))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["x/a"] = file["x/b"] = np.void(content)
    images = image_set(tmp_path / "f.h5")
    assert images.shape == (2, *SIZE, 1 if mode in ("L", "LA", "1", "I;16") else 3)
    images = ImageSet(**{**vars(images), "shape": (2, *SIZE, channels)})
    np.testing.assert_array_equal(ImageReader(images).read(0, 2)[1], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    """As their EXIF orientation says, like loose pictures."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(picture(0), quality=95, exif=exif)
    (tmp_path / "picture.jpg").write_bytes(content)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        as_variable(file, (COUNT,))
        for k in range(COUNT):
            file["x"][k] = np.frombuffer(content, np.uint8)
    images = image_set(tmp_path / "f.h5")
    expected = read_image(str(tmp_path / "picture.jpg"), images.shape[1:])
    found = ImageReader(images).read(0, 1)[0]
    assert images.shape[1:3] == (SIZE if orientation < 5 else SIZE[::-1])
    assert abs(found.astype(int) - expected).max() <= 3


def test_pictures_of_different_sizes(tmp_path: Path) -> None:
    """They are scaled to the size that is named; without one, the message names the option."""
    sizes = [(20 + k, 50 - k) for k in range(COUNT)]
    contents = [encode(picture(k, size), "PNG") for k, size in enumerate(sizes)]
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        for k, content in enumerate(contents):
            file[f"x/{k:02d}"] = np.void(content)
            (tmp_path / f"{k:02d}.png").write_bytes(content)
    with pytest.raises(InputError) as error:
        image_set(path)
    assert str(error.value) == (
        f"'x' in {path} holds pictures of different sizes, such as 20×50 and 30×40. Name the size "
        "to scale them to, such as `--data.image_size 64`."
    )
    found = ImageReader(image_set(path, size=(16, 12))).read(0, COUNT)
    expected = [read_image(str(tmp_path / f"{k:02d}.png"), (16, 12, 3)) for k in range(COUNT)]
    np.testing.assert_array_equal(found, expected)


def test_a_picture_of_another_size_than_those_looked_at(tmp_path: Path) -> None:
    """The 64 headers that are read agree; the odd one between them is named when it is read."""
    usual, odd = encode(picture(0)), encode(picture(0, (48, 48)))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for k in range(200):
            file[f"x/{k:03d}"] = np.void(odd if k == 1 else usual)
    reader = ImageReader(image_set(tmp_path / "f.h5"))
    assert reader.read(2, 4).shape == (2, *SIZE, 3)
    with pytest.raises(InputError) as error:
        reader.take(np.array([0, 1]))
    assert str(error.value) == (
        f"Picture '001' of 'x' in {tmp_path / 'f.h5'} has 48×48 pixels, others have 24×32. Name "
        "the size to scale them to: `--data.image_size 24` or another."
    )


def claim(height: int, width: int) -> bytes:
    """A JPEG whose header says another size."""
    content = encode(picture(0))
    place = content.index(b"\xff\xc0")
    return content[: place + 5] + struct.pack(">HH", height, width) + content[place + 9 :]


BROKEN = {
    "no picture": b"GIF89a" + bytes(300),
    "nothing": b"",
    "a header alone": CONTENTS[0][:100],
    "cut PNG": CONTENTS[1][:-200],
    "cut JPEG": encode(picture(0))[:400],
    "noise": CONTENTS[1][:60] + bytes(range(256)) * 4,
    "too many pixels": claim(60_000, 60_000),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("storage", ["variable", "group"])
def test_broken_pictures_are_named(tmp_path: Path, broken: str, storage: str) -> None:
    """By their number or their dataset; the others can be read."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        STORAGE[storage](file)
        if storage == "group":
            del file["x/0003"]
            file["x/0003"] = np.frombuffer(BROKEN[broken], np.uint8)
        else:
            file["x"][3] = np.frombuffer(BROKEN[broken], np.uint8)
    images = image_set(path, size=SIZE)
    reader = ImageReader(images)
    rows = np.array([0, 1, 2, *range(4, COUNT)])
    np.testing.assert_array_equal(reader.take(rows), [decode(CONTENTS[row]) for row in rows])
    name = "'0003'" if storage == "group" else "3"
    with pytest.raises(InputError, match=rf"^Picture {name} of 'x' in .* is damaged: .*\.$"):
        reader.read(2, 5)


def test_class_folders(tmp_path: Path) -> None:
    """Groups for each class, at the top of the file, beside other datasets."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        as_group(file, "{1}/{0}")
        file["labels"] = np.arange(COUNT)
        file["more"] = np.zeros(300, np.uint8)
    with h5py.File(tmp_path / "f.h5") as file:
        assert find_picture_groups(file) == ("/", ["cat", "dog"])
        others, names = split_members(file)
    assert others == ["labels", "more"]
    assert names == sorted(f"{'cat' if k < 5 else 'dog'}/{k}" for k in range(COUNT))
    assert list_class_folders(names) == ["cat"] * 5 + ["dog"] * 6
    found = ImageReader(image_set(tmp_path / "f.h5", "/")).read(0, COUNT)
    np.testing.assert_array_equal(
        found, [decode(CONTENTS[int(name.partition("/")[2])]) for name in names]
    )


@pytest.mark.parametrize("above", ["", "data/"])
def test_groups_of_roles(tmp_path: Path, above: str) -> None:
    """Groups for training and test, in each a group for each class; each can be named, too."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        as_group(file, above + "train/{1}/{0}")
        as_group(file, above + "Test/{1}/test_{0}")
    with pytest.raises(InputError, match=r"for several roles: test \('/.*Test'\), train"):
        check_file(path)
    for images in (check_file(path, role="train"), check_file(path, f"{above}train")):
        assert (len(images.labels), images.class_names) == (COUNT, ["cat", "dog"])
    with h5py.File(path) as file:
        names = split_members(file[f"{above}Test"])[1]
    found = ImageReader(check_file(path, role="test")).read(0, COUNT)
    expected = [decode(CONTENTS[int(name.partition("test_")[2])]) for name in names]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("names", ["train_station/{0} beach/{0}", "train_{0:02} test_{0:02}"])
def test_words_in_names_are_no_roles(tmp_path: Path, names: str) -> None:
    """Of classes, or of pictures."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for name in names.split():
            as_group(file, name)
        file["labels"] = np.arange(2 * COUNT) % 2
    images = check_file(tmp_path / "f.h5")
    assert (images.shape[0], images.images_key) == (2 * COUNT, "/")
    assert images.class_names == (["beach", "train_station"] if "/" in names else None)


def test_what_is_not_encoded(tmp_path: Path) -> None:
    """Numbers, texts and empty datasets are no pictures, nor are links out of the file."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        as_group(file)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["images"] = np.zeros((4, 8, 8, 3), np.uint8)
        file["rows"] = np.zeros((4, 768), np.uint8)
        file["text"] = ["cat", "dog"]
        file["fixed"] = np.array([b"cat", b"dog"])
        file["one"] = np.void(b"abc")
        file["empty"] = h5py.Empty("u1")
        file["none"] = np.zeros((0,), "V5")
        file["numbers"] = np.zeros(3, [("a", "u1"), ("b", "f8")])
        file["far"] = h5py.ExternalLink("other.h5", "/x")
        file["bytes"] = np.arange(256, dtype=np.uint8)
    with h5py.File(tmp_path / "f.h5") as file:
        assert find_picture_groups(file) == (None, [])
        local = [item for name, item in file.items() if name != "far"]
        assert not any(is_encoded_dataset(dataset) for dataset in local)


def test_grey_pictures(tmp_path: Path) -> None:
    """A set of which all pictures are grey has one channel."""
    contents = [encode(picture(k, mode="L")) for k in range(3)]
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for k, content in enumerate(contents):
            file[f"x/{k}"] = np.void(content)
    reader = ImageReader(image_set(tmp_path / "f.h5"))
    np.testing.assert_array_equal(reader.read(0, 3), [decode(c, 1) for c in contents])


def test_without_the_decoder_of_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torchvision that has none leaves the work to Pillow."""
    monkeypatch.delattr(torchvision.io, "decode_jpeg")
    with h5py.File(tmp_path / "f.h5", "w") as file:
        as_group(file)
    for k, content in enumerate(CONTENTS):
        (tmp_path / f"{k}.jpg").write_bytes(content)
    expected = [read_image(str(tmp_path / f"{k}.jpg"), (*SIZE, 3)) for k in range(COUNT)]
    found = ImageReader(image_set(tmp_path / "f.h5")).read(0, COUNT)
    np.testing.assert_array_equal(found, expected)


def test_pictures_without_a_certain_order(tmp_path: Path) -> None:
    """Labels by the names' order, which may be 1, 10, 2 or 1, 2, 10; by names there is no doubt."""
    path, labels = tmp_path / "a.h5", np.arange(12) % 3
    with h5py.File(path, "w") as file:
        for k in range(12):
            buffer = io.BytesIO()
            Image.new("RGB", (16, 16), (20 * k, 0, 0)).save(buffer, "PNG")
            file[f"pictures/{k}"] = np.void(buffer.getvalue())
        file["labels"] = labels
    with pytest.raises(InputError, match="does not tell whether '10' or '2' comes first"):
        check_file(path)
    table = tmp_path / "labels.csv"
    table.write_text("name,label\n" + "".join(f"{k},{labels[k]}\n" for k in range(12)))
    dataset = H5Images([check_file(path, labels_file=table)])
    images, found = dataset.__getitems__(range(12))
    assert [int(image[0, 0, 0]) // 20 % 3 for image in images] == found.tolist()
