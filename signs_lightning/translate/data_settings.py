"""The data options of a fit: which files, which of their images, how they are loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_shapes import asked
from signs_lightning.translate.batches import Batches
from signs_lightning.translate.data_checks import check_pairs, check_validation, share_of
from signs_lightning.translate.values import Place, Unknown, Value

NAMED = "name the file with --data.{role}_file"
CONVERTED = {"npz": ".npz", "csv": ".csv"}  # by `convert`
# Data sets of Keras that it keeps as a file which `convert` reads.
KEPT_AS_NPZ = {"mnist": "~/.keras/datasets/mnist.npz"}


@dataclass(frozen=True)
class Setting:
    """An option of a configuration.

    Attributes:
        value: plain.
        place: the statement that it comes from; None for what Keras does by default.
        comment: what is to be said of it.
    """

    value: Any
    place: Place | None = None
    comment: str = ""


@dataclass
class DataSettings:
    """What a fit says of its data.

    Attributes:
        options: of the section `data`, in order.
        scale: what the model is fed, or an Unknown.
        augmentation: entries of `model.augmentation`.
        unnamed: roles whose file the user has to name.
        notes: what is to be said, each with its place.
        problems: what cannot be said in a configuration.
        labels: to train with.
        used: the images to train and to validate on.
        file_notes: by role, what is to be said unless the user names its file.
    """

    options: dict[str, Setting] = field(default_factory=dict)
    scale: Value = "/255"
    augmentation: list[tuple[Place, dict[str, Any]]] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    notes: list[tuple[Place, str]] = field(default_factory=list)
    problems: list[Unknown] = field(default_factory=list)
    labels: Value = None
    used: list[Value] = field(default_factory=list)
    file_notes: dict[str, list[tuple[Place, str]]] = field(default_factory=dict)

    def note_file(self, role: str, place: Place, text: str) -> None:
        """Add what is to be said unless the user names the file of a role."""
        self.file_notes.setdefault(role, []).append((place, text))

    def note(self, place: Place, text: str) -> None:
        """Add what is to be said."""
        self.notes.append((place, text))


def data_settings(
    train: Batches, validation: Batches | None, fraction: float | None, place: Place
) -> DataSettings:
    """Return what a fit says of its data.

    Args:
        train: what it trains on.
        validation: what it validates on, or None.
        fraction: its `validation_split`, or None.
        place: the fit.
    """
    made = DataSettings(labels=train.labels)
    for batches in (train, validation):
        for part in (batches, getattr(batches, "images", None), getattr(batches, "labels", None)):
            if (unknown := getattr(part, "unknown", None)) is not None:
                made.problems.append(unknown)
        if batches is not None:
            check_pairs(made, batches, place)
        if batches is not None:
            made.used.append(batches.images)
    images = train.images
    _set_scale(made, images, place)
    is_one_file = _set_files(made, train, validation, place)
    roles = ["train", *(["val"] if validation is not None else [])]
    is_split = "val_fraction" in made.options
    made.unnamed = [r for r in roles if f"{r}_file" not in made.options]
    if is_split and "val" in made.unnamed:
        made.unnamed.remove("val")
    if validation is not None:
        check_validation(made, images, validation.images, is_one_file, place)
    if fraction is not None:
        comment = "Keras takes the last images of the file, here each class has its share"
        made.options["val_fraction"] = Setting(fraction, place, comment)
        made.note(place, f"validation_split={fraction:g}: {comment}")
    if isinstance(images, ArrayRecord):
        _set_loading(made, images)
        made.augmentation = [(place, entry) for entry in images.augmentation]
    _set_labels(made, train.labels, place)
    return made


def _set_scale(made: DataSettings, images: Value, place: Place) -> None:
    told = asked("the scale of the images", place, "scale")
    if isinstance(told, str):
        made.scale = told
        return
    if not isinstance(images, ArrayRecord):
        made.scale = told
        return
    if images.unknown is not None:
        made.scale = images.unknown
        return
    scale = images.scale()
    if scale is None:
        shown = f"{images.factor} · pixel + {images.offset}"
        unknown = Unknown(f"images scaled to {shown}", images.origin.place)
        made.problems.append(unknown)
        made.scale = unknown
        return
    if images.origin.kind == "code" and scale == "raw":
        made.scale = told  # the code may have scaled them
        return
    made.scale = scale
    if images.origin.kind == "code":
        text = (
            f"what {images.origin.file} gives is taken for bytes, 0..255. If it has scaled them, "
            "say what reaches the model: --fact scale=…"
        )
        made.note(images.origin.place, text)
    if images.origin.kind == "helper" and scale == "raw":
        text = (
            f"{images.origin.file}() is not in the source: its images are taken for bytes, "
            "0..255, which nothing rescales. If it divides by 255, add --fact scale=/255"
        )
        made.note(images.origin.place, text)


def _set_files(
    made: DataSettings, train: Batches, validation: Batches | None, place: Place
) -> bool:
    """Set files, keys and shares; return whether validation is a part of the training file."""
    images = train.images
    val_images = None if validation is None else validation.images
    is_one_file = bool(
        isinstance(images, ArrayRecord)
        and isinstance(val_images, ArrayRecord)
        and images.rows != val_images.rows
        and source_of(images) == source_of(val_images)
    )
    share = share_of(images)
    val_share = share_of(val_images) if is_one_file else 0.0
    total = None if share is None or val_share is None else share + val_share
    is_whole = total is not None and math.isclose(total, 1, rel_tol=1e-3)
    set_file(made, "train", train, place, is_whole)
    if not is_whole:
        _say_part(made, images, total, is_one_file)
    if is_one_file and val_share and total:
        rows = [row for row in getattr(val_images, "rows", ()) if row.how != "order"]
        where = rows[-1].place if rows else place
        comment = "a share of each class, other images than in Keras"
        made.options["val_fraction"] = Setting(round(val_share / total, 6), where, comment)
        made.note(where, f"validation on {val_share:.4g} of the images: {comment}")
    elif is_one_file:
        made.note_file("val", place, "the images to validate on need a file of their own: "
                  f"{NAMED.format(role='val')}")  # fmt: skip
    elif validation is not None:
        set_file(made, "val", validation, place, True)
    return is_one_file


def source_of(array: ArrayRecord) -> tuple[Any, ...]:
    """Return what tells the file and dataset of an array from others."""
    origin = array.origin
    if origin.kind in ("", "random"):
        return (origin.kind, origin.place)
    return (origin.kind, origin.file if isinstance(origin.file, str) else repr(origin.file),
            origin.key)  # fmt: skip


def _say_part(made: DataSettings, images: Value, total: float | None, is_one_file: bool) -> None:
    """Say that training is on a part of a file, which an option cannot say."""
    where = images.rows[0].place
    rest = "some images of the file are" if total is None else f"{1 - total:.4g} of the file is"
    command = "python -m signs_lightning convert FILE --output data --test_fraction …"
    kept = "neither trained nor validated on" if is_one_file else "not trained on"
    text = f"{rest} {kept}: split it first ({command}), and {NAMED.format(role='train')}"
    made.note(where, text)


def set_file(made: DataSettings, role: str, batches: Batches, place: Place, is_whole: bool) -> None:
    """Set the file of a role, or say why it has to be named."""
    images, labels = batches.images, batches.labels
    if not isinstance(images, ArrayRecord):
        reason = getattr(images, "reason", "what is not understood")
        text = f"the images of '{role}' come from {reason}: {NAMED.format(role=role)}"
        made.note_file(role, place, text)
        return
    origin = images.origin
    path = origin.file if isinstance(origin.file, str) else None
    if not is_whole:
        return
    if isinstance(labels, Unknown) and role == "train":
        text = f"its labels come from {labels.reason}: save them with their images as HDF5"
        made.note_file(role, place, f"{text}, and {NAMED.format(role=role)}")
        return
    if origin.kind in CONVERTED and path is not None:
        stem = path.rpartition("/")[2].removesuffix(CONVERTED[origin.kind])
        command = f"python -m signs_lightning convert {path} --output {stem}.h5"
        path = f"{stem}.h5"
        made.options[f"{role}_file"] = Setting(path, origin.place, f"made by: {command}")
        made.note_file(role, origin.place, f"make {path} with {command}")
    elif origin.kind == "keras" and path in KEPT_AS_NPZ:
        command = f"python -m signs_lightning convert {KEPT_AS_NPZ[path]} --output {path}.h5"
        path = f"{path}.h5"
        made.options[f"{role}_file"] = Setting(path, origin.place, f"made by: {command}")
        made.note_file(role, origin.place, f"make {path} with {command}")
    elif origin.kind in ("hdf5", "folder") and path is not None:
        made.options[f"{role}_file"] = Setting(path, origin.place)
    else:
        what = {"keras": f"Keras's own data set {path}", "npy": ".npy files", "csv": "a table",
                "helper": f"{path}(), which is not in the source", "random": "random numbers",
                "folder": "a folder that is not known", "hdf5": "a file that is not known",
                "code": f"{path}"}.get(origin.kind, "the code itself")  # fmt: skip
        made.note_file(
            role,
            origin.place,
            f"the images of '{role}' come from {what}: save them as HDF5, and "
            f"{NAMED.format(role=role)}",
        )
        return
    _set_keys(made, role, images, labels)


def _set_keys(made: DataSettings, role: str, images: ArrayRecord, labels: Value) -> None:
    origin = images.origin
    if origin.kind == "keras":
        made.options[f"{role}_images_key"] = Setting(f"x_{origin.role}", origin.place)
        made.options[f"{role}_labels_key"] = Setting(f"y_{origin.role}", origin.place)
        return
    if origin.kind not in ("hdf5", "npz"):
        return
    made.options[f"{role}_images_key"] = Setting(origin.key, origin.place)
    if not isinstance(labels, ArrayRecord) or labels.origin.kind != origin.kind:
        return
    of_labels = labels.origin
    if isinstance(of_labels.file, str) and of_labels.file != origin.file:
        if origin.kind != "hdf5":
            return
        made.options[f"{role}_labels_file"] = Setting(of_labels.file, of_labels.place)
    made.options[f"{role}_labels_key"] = Setting(of_labels.key, of_labels.place)


def _set_loading(made: DataSettings, images: ArrayRecord) -> None:
    """Set how images are resized, and their axes where these are flat rows."""
    place = images.origin.place
    if images.size is not None:
        height, width, resize, fit = images.size
        size = height if height == width else [height, width]
        made.options["image_size"] = Setting(size, place)
        made.options["resize"] = Setting(resize, place)
        made.options["fit"] = Setting(fit, place)
    shape = images.shape
    if images.origin.kind == "folder" and shape is not None and isinstance(shape[-1], int):
        made.options["channels"] = Setting(shape[-1], place)


def _set_labels(made: DataSettings, labels: Value, place: Place) -> None:
    if not isinstance(labels, ArrayRecord):
        return
    if labels.factor != 1 or labels.mode or labels.offset != int(labels.offset):
        made.problems.append(Unknown("numbers as labels that are not counted in ones", place))
    elif labels.offset:
        made.options["label_offset"] = Setting(int(labels.offset), labels.origin.place)
