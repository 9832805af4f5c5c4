"""Which datasets of an HDF5 file are the images, the labels and the class names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import h5py

from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.runtime.escaping import shorten

IMAGE_KEYS = ("x", "images", "image", "data", "features")
LABEL_KEYS = ("y", "labels", "label", "targets", "target")
CLASS_KEYS = ("list_classes", "classes", "class_names", "label_names")
MAX_LISTED = 12  # keys named in a message


def datasets_of(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every dataset by its full name; `visititems` follows neither soft nor external links."""
    found: dict[str, h5py.Dataset] = {}
    file.visititems(
        lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None
    )
    return found


def find_keys(
    path: Path,
    file: h5py.File,
    datasets: dict[str, h5py.Dataset],
    images_key: str | None,
    labels_key: str | None,
    classes_key: str | None,
) -> tuple[str, str, str | None]:
    """The names of the datasets of images, labels and classes (None where the file has no class list); those given are checked.

    Raises:
        InputError: there is no dataset of that name, or none, or several, that look like it.
    """
    for option, key in (
        ("images_key", images_key),
        ("labels_key", labels_key),
        ("classes_key", classes_key),
    ):
        if key is not None and key not in datasets:
            raise InputError(
                f"{path} has no dataset '{key}' ({option}); it has {_list(datasets)}."
                + did_you_mean(key, _could_be(option.removesuffix("_key"), datasets))
            )
    if images_key is None:
        candidates = [key for key in datasets if guess_role(key, IMAGE_KEYS, "x")]
        if not candidates and (
            "model_weights" in file or "layers" in file or "layer_names" in file.attrs
        ):
            raise InputError(
                f"{path} holds a Keras model, not images. Name the file of images "
                "that it was trained on."
            )
        images_key = _one(path, datasets, candidates, "images")
    if labels_key is None:
        partners = [key for key in datasets if guess_role(key, LABEL_KEYS, "y")]
        same = [key for key in partners if _stem(key) == _stem(images_key)]
        labels_key = _one(path, datasets, same or partners, "labels")
    if classes_key is None:
        named = [key for key in datasets if key.rpartition("/")[2].lower() in CLASS_KEYS]
        classes_key = _one(path, datasets, named, "classes") if named else None
    return images_key, labels_key, classes_key


def guess_role(key: str, names: tuple[str, ...], letter: str) -> bool:
    """Whether a dataset's name says images (letter x) or labels (letter y): `train_set_x`, `X_train`, `images`, …"""
    name = key.rpartition("/")[2].lower()
    return name in names or name.endswith(f"_{letter}") or name.startswith(f"{letter}_")


def _stem(key: str) -> str:
    """What a pair of keys shares: `train_set_` of train_set_x and train_set_y, `_test` of X_test and y_test."""
    group, _, name = key.lower().rpartition("/")
    if name in (*IMAGE_KEYS, *LABEL_KEYS):
        return group
    return f"{group}/{name[1:] if name[0] in 'xy' and name[1] == '_' else name[:-1]}"


def _one(path: Path, datasets: dict[str, h5py.Dataset], candidates: list[str], what: str) -> str:
    if len(candidates) == 1:
        return candidates[0]
    option = f"--data.{what}_key"
    if not datasets:
        raise InputError(
            f"{path} holds no dataset at all; expected images and labels such as 'train_set_x' "
            "and 'train_set_y'."
        )
    if candidates:
        raise InputError(
            f"{path} has several datasets that could be the {what}: {_list(candidates)}. Name one "
            f"with `{option}`."
        )
    wanted = {"images": "train_set_x", "labels": "train_set_y"}[what]
    near = difflib.get_close_matches(wanted, _could_be(what, datasets), n=1, cutoff=0.5)
    raise InputError(
        f"{path} has no dataset that looks like the {what} ('{wanted}' or the like); it has "
        f"{_list(datasets)}. "
        + (f"Did you mean `{option} {near[0]}`?" if near else f"Name one with `{option}`.")
    )


def _could_be(what: str, datasets: Iterable[str]) -> list[str]:
    """Keys that are near enough to suggest as images (labels): those whose name does not say labels (images)."""
    names, letter = {"images": (LABEL_KEYS, "y"), "labels": (IMAGE_KEYS, "x")}.get(what, ((), ""))
    return [key for key in datasets if not letter or not guess_role(key, names, letter)]


def _list(keys: Iterable[str]) -> str:
    names = [f"'{shorten(key)}'" for key in keys]
    return ", ".join(names[:MAX_LISTED]) + (
        f" and {len(names) - MAX_LISTED} more" if names[MAX_LISTED:] else ""
    )
