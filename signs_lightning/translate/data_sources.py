"""Files and data sets that arrays come from, and their splits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from signs_lightning.data.layouts import guess_role, is_class_list, is_label_name, key_role
from signs_lightning.translate.array_origins import Origin, Rows
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_shapes import SampleCount
from signs_lightning.translate.numpy_calls import argument, num_classes
from signs_lightning.translate.one_hot_calls import get_dummies
from signs_lightning.translate.values import (
    Method,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

# Of keras.datasets: images of training and of test, shape of one, of a label, classes.
KERAS_SETS: dict[str, tuple[int, int, tuple[int, ...], tuple[int, ...]]] = {
    "mnist": (60_000, 10_000, (28, 28), ()),
    "fashion_mnist": (60_000, 10_000, (28, 28), ()),
    "cifar10": (50_000, 10_000, (32, 32, 3), (1,)),
    "cifar100": (50_000, 10_000, (32, 32, 3), (1,)),
}
# Helpers of the course, in modules beside its notebooks, by the files that they read.
COURSE_HELPERS = {
    "load_dataset": ("", ""),
    "load_signs_dataset": ("datasets/train_signs.h5", "datasets/test_signs.h5"),
    "load_happy_dataset": ("datasets/train_happy.h5", "datasets/test_happy.h5"),
}


class FileRecord(Record):
    """An open HDF5 or `.npz` file, or a group in it.

    Args:
        kind: "hdf5" or "npz".
        path: of the file.
        group: key of the group.
    """

    def __init__(self, kind: str, path: Value, group: str = "") -> None:
        self.kind, self.path, self.group = kind, path, group

    def describe(self) -> str:
        return f"the file {self.path}" if isinstance(self.path, str) else "the file"

    def item(self, index: Value, place: Place) -> Value:
        if not isinstance(index, str):
            raise NotUnderstoodError(f"this key of {self.describe()}")
        key = f"{self.group}/{index}" if self.group else index
        return file_array(self.kind, self.path, key, place)

    def attribute(self, name: str, place: Place) -> Value:
        if name == "get":
            return Method(name, lambda args, kwargs, where: self.item(args[0], where))
        if name in ("close", "flush", "__exit__"):
            return Method(name, lambda args, kwargs, where: None)
        if name == "__enter__":
            return Method(name, lambda args, kwargs, where: self)
        if name in ("keys", "values", "items", "files", "attrs"):
            return Unknown(f".{name} of {self.describe()}", place)
        raise NotUnderstoodError(f".{name} of {self.describe()}")


def file_array(kind: str, path: Value, key: str, place: Place) -> ArrayRecord:
    """Return a dataset of a file."""
    content = "names" if is_class_list(key) else "labels" if is_label_name(key) else ""
    role = key_role(key) or (guess_role(path) if isinstance(path, str) else "")
    if not content and (role or len(key) == 1 or is_image_name(key)):
        content = "images"
    return ArrayRecord(Origin(kind, place, path, key, role, content), None, key or "the file")


def is_image_name(key: str) -> bool:
    """Whether the name of a dataset says images."""
    words = key.lower().replace("/", "_").split("_")
    return any(word.rstrip("s") in ("x", "image", "img", "picture") for word in words)


def open_file(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `h5py.File(path)`."""
    mode = argument(args, kwargs, 1, "mode", default="r")
    if mode not in ("r", "r+", "a"):
        raise NotUnderstoodError(f"h5py.File that writes ('{mode}')")
    return FileRecord("hdf5", argument(args, kwargs, 0, "name"))


def load_array(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `np.load(path)`."""
    path = argument(args, kwargs, 0, "file")
    if isinstance(path, str) and path.endswith(".npz"):
        return FileRecord("npz", path)
    name = path.rpartition("/")[2].removesuffix(".npy") if isinstance(path, str) else ""
    return file_array("npy", path, name, place)


def read_table(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `pd.read_csv(path)`."""
    path = argument(args, kwargs, 0, "filepath_or_buffer")
    role = guess_role(path) if isinstance(path, str) else ""
    return ArrayRecord(Origin("csv", place, path, role=role), None, "the table")


def keras_set(name: str, place: Place) -> Value:
    """Return `keras.datasets.NAME.load_data()`."""
    trains, tests, image, label = KERAS_SETS[name]
    pairs = []
    for role, count in (("train", trains), ("test", tests)):
        parts = [
            ArrayRecord(
                Origin("keras", place, name, letter, role, content),
                (count, *shape),
                f"{letter}_{role}",
                "uint8",
            )
            for letter, content, shape in (("x", "images", image), ("y", "labels", label))
        ]
        pairs.append(tuple(parts))
    return tuple(pairs)


def course_helper(name: str, place: Place) -> tuple[ArrayRecord, ...]:
    """Return what `load_dataset()` of the course gives: images and labels, and class names."""
    files = dict(zip(("train", "test"), COURSE_HELPERS[name], strict=True))
    arrays = []
    for role in ("train", "test"):
        kind = "hdf5" if files[role] else "helper"
        for letter, content in (("x", "images"), ("y", "labels")):
            of = f"{letter.upper()}_{role}"
            shape = (SampleCount(of), None, None, None) if letter == "x" else (1, SampleCount(of))
            origin = Origin(kind, place, files[role] or name, f"{role}_set_{letter}", role, content)
            arrays.append(ArrayRecord(origin, shape, of, "uint8" if letter == "x" else "int64"))
    names = Origin("helper", place, name, "list_classes", "test", "names")
    return (*arrays, ArrayRecord(names, None, "classes"))


def split(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `train_test_split(*arrays, test_size=…)`."""
    kwargs = dict(kwargs)
    test, train = kwargs.pop("test_size", None), kwargs.pop("train_size", None)
    is_shuffled = kwargs.pop("shuffle", True)
    stratify = kwargs.pop("stratify", None)
    kwargs.pop("random_state", None)
    if kwargs:
        raise NotUnderstoodError(f"{next(iter(kwargs))} of train_test_split")
    sizes = [size for size in (test, train) if size is not None]
    unknown = next((v for v in (*sizes, is_shuffled) if isinstance(v, Unknown)), None)
    if test is None:
        test = 0.25 if train is None else 1 - train if isinstance(train, float) else None
    parts: list[Value] = []
    for array in args:
        if not isinstance(array, ArrayRecord):
            parts += [array, array] if isinstance(array, Unknown) else [
                Unknown("a part of train_test_split", place)] * 2  # fmt: skip
            continue
        count: Any = array.shape[0] if array.shape else None
        share = test if isinstance(test, float) else None
        if isinstance(test, int) and isinstance(count, int) and count:
            share = test / count
        tests = math.ceil(share * count) if share is not None and isinstance(count, int) else None
        how = "random" if is_shuffled else ""
        for kind, part, number in (
            ("first", None if share is None else 1 - share, tests and int(count) - tests),
            ("last", share, tests),
        ):
            rows = Rows(how or kind, part, place, stratify is not None)
            shape = array.shape and (number or SampleCount(array.name), *array.shape[1:])
            role = {"first": array.origin.role, "last": "test"}[kind]
            made = array.with_(rows=(*array.rows, rows), shape=shape)
            made.origin = replace(array.origin, role=role or "train")
            if unknown is not None:
                made.taint(unknown)
            parts.append(made)
    return parts


class LabelEncoder(Record):
    """A LabelEncoder, LabelBinarizer or OneHotEncoder of scikit-learn.

    Args:
        is_one_hot: whether it makes a column for each class.
    """

    def __init__(self, is_one_hot: bool) -> None:
        self.is_one_hot = is_one_hot
        self.array: ArrayRecord | None = None

    def describe(self) -> str:
        return "a label encoder"

    def attribute(self, name: str, place: Place) -> Value:
        if name == "fit":
            return Method(name, self._fit)
        if name in ("transform", "fit_transform"):
            return Method(name, self._transform)
        if name == "classes_":
            array = self.array or ArrayRecord(Origin("", place))
            names = replace(array.origin, content="names")
            return ArrayRecord(names, None, "classes")
        if name == "inverse_transform":
            return Method(name, lambda args, kwargs, where: Unknown("names of classes", where))
        raise NotUnderstoodError(f".{name} of {self.describe()}")

    def _fit(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        first = args[0] if args else None
        self.array = first if isinstance(first, ArrayRecord) else None
        return self

    def _transform(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        first = args[0] if args else None
        if not isinstance(first, ArrayRecord):
            return first if isinstance(first, Unknown) else Unknown("labels", place)
        self.array = self.array or first
        if self.is_one_hot:
            return get_dummies(args, {}, place)
        return first.with_(origin=replace(first.origin, content="labels"), dtype="int64")


def classes_of(array: Any, place: Place) -> Value:
    """Return how many classes labels have, as far as that is told."""
    known = getattr(array, "classes", None)
    if isinstance(known, int):
        return known
    return num_classes(array, place) if isinstance(array, ArrayRecord) else None
