"""Keras's `ImageDataGenerator`, and what reads folders of pictures."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.array_items import one_hot
from signs_lightning.translate.array_origins import Origin, Rows
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_shapes import SampleCount
from signs_lightning.translate.augmentation import generator_augmentation
from signs_lightning.translate.batches import Batches, call_function
from signs_lightning.translate.numpy_calls import argument
from signs_lightning.translate.values import (
    Method,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

# Arguments of ImageDataGenerator in Keras's order, with their defaults.
GENERATOR: dict[str, Any] = {
    "featurewise_center": False,
    "samplewise_center": False,
    "featurewise_std_normalization": False,
    "samplewise_std_normalization": False,
    "zca_whitening": False,
    "zca_epsilon": 1e-6,
    "rotation_range": 0,
    "width_shift_range": 0.0,
    "height_shift_range": 0.0,
    "brightness_range": None,
    "shear_range": 0.0,
    "zoom_range": 0.0,
    "channel_shift_range": 0.0,
    "fill_mode": "nearest",
    "cval": 0.0,
    "horizontal_flip": False,
    "vertical_flip": False,
    "rescale": None,
    "preprocessing_function": None,
    "data_format": None,
    "validation_split": 0.0,
    "interpolation_order": 1,
    "dtype": None,
}
UNKNOWN_STATISTICS = ("featurewise_center", "samplewise_center", "featurewise_std_normalization",
                      "samplewise_std_normalization", "zca_whitening")  # fmt: skip
FLOW: dict[str, Any] = {
    "x": None, "y": None, "batch_size": 32, "shuffle": True, "sample_weight": None, "seed": None,
    "save_to_dir": None, "save_prefix": "", "save_format": "png", "ignore_class_split": False,
    "subset": None,
}  # fmt: skip
FROM_DIRECTORY: dict[str, Any] = {
    "directory": None, "target_size": (256, 256), "color_mode": "rgb", "classes": None,
    "class_mode": "categorical", "batch_size": 32, "shuffle": True, "seed": None,
    "save_to_dir": None, "save_prefix": "", "save_format": "png", "follow_links": False,
    "subset": None, "interpolation": "nearest", "keep_aspect_ratio": False,
}  # fmt: skip
DATASET: dict[str, Any] = {
    "directory": None, "labels": "inferred", "label_mode": "int", "class_names": None,
    "color_mode": "rgb", "batch_size": 32, "image_size": (256, 256), "shuffle": True,
    "seed": None, "validation_split": None, "subset": None, "interpolation": "bilinear",
    "follow_links": False, "crop_to_aspect_ratio": False, "pad_to_aspect_ratio": False,
    "data_format": None, "format": "tf", "verbose": True,
}  # fmt: skip
CHANNELS = {"rgb": 3, "grayscale": 1, "rgba": 4}
SUBSETS = {"training": "first", "validation": "last"}


def given_arguments(
    known: dict[str, Any], args: list[Value], kwargs: dict[str, Value], name: str
) -> dict[str, Value]:
    """Return the arguments of a call by name, defaults included.

    Raises:
        NotUnderstoodError: one is not known.
    """
    if len(args) > len(known):
        raise NotUnderstoodError(f"{len(args)} arguments of {name}")
    given = dict(zip(known, args, strict=False)) | kwargs
    if other := [key for key in given if key not in known]:
        raise NotUnderstoodError(f"{other[0]} of {name}")
    return known | given


class GeneratorRecord(Record):
    """An `ImageDataGenerator`.

    Args:
        args: of the call.
        kwargs: of the call.
        place: the statement.
    """

    def __init__(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> None:
        self.options = given_arguments(GENERATOR, args, kwargs, "ImageDataGenerator")
        self.place = place
        self.unknown: Unknown | None = None
        self.made: list[Batches] = []  # which go on using its settings

    def describe(self) -> str:
        return "an ImageDataGenerator"

    def taint(self, unknown: Unknown) -> None:
        self.unknown = self.unknown or unknown
        for batches in self.made:
            batches.taint(unknown)

    def attribute(self, name: str, place: Place) -> Value:
        if name == "flow":
            return Method(name, self._flow)
        if name == "flow_from_directory":
            return Method(name, self._from_directory)
        if name == "flow_from_dataframe":
            return Method(name, self._from_dataframe)
        if name == "fit":  # measures what the options below need, which are not understood
            return Method(name, lambda args, kwargs, where: None)
        raise NotUnderstoodError(f".{name} of {self.describe()}")

    def _flow(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        given = given_arguments(FLOW, args, kwargs, "flow")
        images, labels = given["x"], given["y"]
        if isinstance(images, tuple | list):
            raise NotUnderstoodError("flow of several inputs")
        if given["sample_weight"] is not None:
            raise NotUnderstoodError("sample_weight of flow")
        return self._batches(images, labels, given, place)

    def _from_directory(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        given = given_arguments(FROM_DIRECTORY, args, kwargs, "flow_from_directory")
        fit = "crop" if given["keep_aspect_ratio"] is True else "stretch"
        images, labels = read_folder(given, given["target_size"], given["class_mode"], place)
        if isinstance(images, ArrayRecord):
            resize(images, given["target_size"], given["interpolation"], fit)
        if given["classes"] is not None:
            check_order(images, given["classes"], place)
        return self._batches(images, labels, given, place)

    def _from_dataframe(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        names = ("dataframe", "directory", "x_col", "y_col", "weight_col", "target_size")
        given = dict(zip(names, args, strict=False)) | kwargs
        given = FROM_DIRECTORY | {k: v for k, v in given.items() if k in FROM_DIRECTORY}
        images, labels = read_folder(given, given["target_size"], given["class_mode"], place)
        if isinstance(images, ArrayRecord):
            resize(images, given["target_size"], given["interpolation"], "stretch")
            images.taint(Unknown("flow_from_dataframe: labels of pictures from a table", place))
        return self._batches(images, labels, given, place)

    def _batches(
        self, images: Value, labels: Value, given: dict[str, Value], place: Place
    ) -> Batches:
        """Return the batches that a method gives."""
        options = self.options
        batches = Batches(
            images, labels, given["batch_size"], given["shuffle"] is not False, is_generator=True
        )
        batches.place = place
        self.made.append(batches)
        if not isinstance(images, ArrayRecord):
            return batches
        made = images.with_()
        if (share := options["validation_split"]) and given["subset"] is not None:
            made, batches.labels = (
                part_of(array, share, given["subset"], place) for array in (made, labels)
            )
        augmentation, unknown = generator_augmentation(options, made, self.place)
        made = made.with_(augmentation=[*made.augmentation, *augmentation])
        if (function := options["preprocessing_function"]) is not None:
            shape = made.shape
            found = call_function(function, [made.with_(shape=shape and shape[1:])], place)
            if isinstance(found, ArrayRecord):
                made = found.with_(shape=shape)
            else:
                unknown = unknown or Unknown("preprocessing_function", self.place)
        if options["rescale"] is not None:
            made = made.operate("*", options["rescale"], False, place)
        wrong = next((name for name in UNKNOWN_STATISTICS if options[name] is not False), None)
        if wrong is not None:
            unknown = unknown or Unknown(f"{wrong} of ImageDataGenerator", self.place)
        if unknown := unknown or self.unknown:
            made.taint(unknown)
        batches.images = made
        return batches


def part_of(array: Value, share: Value, subset: Value, place: Place) -> Value:
    """Return the part of a validation split; Keras's is in the order of the files."""
    if not isinstance(array, ArrayRecord):
        return array
    if subset not in SUBSETS or not isinstance(share, float):
        return array.lost("this validation_split", place)
    share = share if subset == "validation" else 1 - share
    return array.with_(rows=(*array.rows, Rows(SUBSETS[subset], share, place)))


def read_folder(
    given: dict[str, Value], size: Value, mode: Value, place: Place
) -> tuple[ArrayRecord, ArrayRecord | None]:
    """Return images and labels of a folder of pictures."""
    directory = given["directory"]
    channels = CHANNELS.get(given["color_mode"])
    if channels in (None, 4):
        raise NotUnderstoodError(f"color_mode={given['color_mode']}")
    from signs_lightning.data.layouts import guess_role

    role = guess_role(directory) if isinstance(directory, str) else ""
    name = directory if isinstance(directory, str) else "the folder"
    height, width = size if isinstance(size, tuple | list) and len(size) == 2 else (None, None)
    if isinstance(size, int):
        height = width = size
    origin = Origin("folder", place, directory, "", role, "images")
    shape = (SampleCount(name), height, width, channels)
    images = ArrayRecord(origin, shape, name, "float32")
    if mode is None:
        return images, None
    labels = ArrayRecord(Origin("folder", place, directory, "", role, "labels"), (None,), name)
    if mode in ("categorical",):
        labels = one_hot(labels, None, place)
    elif mode not in ("int", "sparse", "binary"):
        raise NotUnderstoodError(f"labels of the kind '{mode}'")
    return images, labels


def resize(images: ArrayRecord, size: Value, filter_: Value, fit: str) -> None:
    """Note how pictures are resized.

    Raises:
        NotUnderstoodError: it cannot be done here.
    """
    if filter_ not in ("nearest", "bilinear", "bicubic", "lanczos", "tf-bilinear"):
        raise NotUnderstoodError(f"interpolation='{filter_}'")
    size = (size, size) if isinstance(size, int) else size
    if isinstance(size, tuple | list) and all(isinstance(axis, int) for axis in size):
        images.size = (size[0], size[1], filter_, fit)
    elif not isinstance(size, Unknown):
        images.taint(Unknown("the size of the pictures", images.origin.place))


def check_order(images: Value, names: Value, place: Place) -> None:
    """Note where classes have another order than that of the folders' names."""
    is_sorted = isinstance(names, list | tuple) and list(names) == sorted(map(str, names))
    if not is_sorted and isinstance(images, ArrayRecord):
        images.taint(Unknown("classes in another order than that of the folders' names", place))


def dataset_from_directory(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `image_dataset_from_directory(…)`."""
    given = given_arguments(DATASET, args, kwargs, "image_dataset_from_directory")
    mode = given["label_mode"] if given["labels"] == "inferred" else None
    if given["labels"] not in ("inferred", None):
        raise NotUnderstoodError("labels of image_dataset_from_directory")
    images, labels = read_folder(given, given["image_size"], mode, place)
    fit = "crop" if given["crop_to_aspect_ratio"] is True else "stretch"
    fit = "pad" if given["pad_to_aspect_ratio"] is True else fit
    filter_ = {"bilinear": "tf-bilinear"}.get(given["interpolation"], given["interpolation"])
    if filter_ != "tf-bilinear":
        raise NotUnderstoodError(f"interpolation='{filter_}' of image_dataset_from_directory")
    resize(images, given["image_size"], filter_, fit)
    if given["class_names"] is not None:
        check_order(images, given["class_names"], place)
    made = Batches(images, labels, given["batch_size"], given["shuffle"] is not False, place=place)
    share, subset = given["validation_split"], given["subset"]
    if not share:
        return made
    if subset == "both":
        pairs = [
            [part_of(array, share, name, place) for array in (images, labels)] for name in SUBSETS
        ]
        return tuple(Batches(x, y, made.batch_size, made.shuffles) for x, y in pairs)
    made.images, made.labels = (
        part_of(array, share, argument([], given, 0, "subset"), place) for array in (images, labels)
    )
    return made
