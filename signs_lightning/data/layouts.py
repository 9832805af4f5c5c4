"""Where an HDF5 file has its images, labels and class names."""

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
EXAMPLES = {"images": "train_set_x", "labels": "train_set_y"}
MAX_LISTED = 12  # keys named in a message


def list_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return every dataset by its full name; links out of the file are not followed."""
    datasets: dict[str, h5py.Dataset] = {}

    def add(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            datasets[name] = item

    file.visititems(add)
    return datasets


def find_keys(
    path: Path,
    file: h5py.File,
    datasets: dict[str, h5py.Dataset],
    images_key: str | None,
    labels_key: str | None,
    classes_key: str | None,
) -> tuple[str, str, str | None]:
    """Return the names of the datasets of images, labels and classes.

    Args:
        path: of the file, for messages.
        file: the file.
        datasets: all its datasets, from `list_datasets`.
        images_key: name of the images, checked; found by its name when None.
        labels_key: name of the labels, checked; found by its name when None.
        classes_key: name of the class list, checked; found by its name when None.

    Returns:
        The three names, the last of them None where the file has no class list.

    Raises:
        InputError: there is no dataset of that name, or none, or several, that look like it.
    """
    for role, key in (("images", images_key), ("labels", labels_key), ("classes", classes_key)):
        if key is not None and key not in datasets:
            raise InputError(
                f"{path} has no dataset '{key}' ({role}_key); it has {_list(datasets)}."
                + did_you_mean(key, _possible_keys(role, datasets))
            )
    if images_key is None:
        candidates = [key for key in datasets if guess_role(key, IMAGE_KEYS, "x")]
        is_model = "model_weights" in file or "layers" in file or "layer_names" in file.attrs
        if not candidates and is_model:
            raise InputError(
                f"{path} holds a Keras model, not images. Name the file that it was trained on."
            )
        images_key = _choose(path, datasets, candidates, "images")
    if labels_key is None:
        candidates = [key for key in datasets if guess_role(key, LABEL_KEYS, "y")]
        partners = [key for key in candidates if _stem(key) == _stem(images_key)]
        labels_key = _choose(path, datasets, partners or candidates, "labels")
    if classes_key is None:
        candidates = [key for key in datasets if key.rpartition("/")[2].lower() in CLASS_KEYS]
        classes_key = _choose(path, datasets, candidates, "classes") if candidates else None
    return images_key, labels_key, classes_key


def guess_role(key: str, names: tuple[str, ...], letter: str) -> bool:
    """Whether a dataset's name says images (letter x) or labels (letter y).

    Such as `train_set_x`, `X_train` and `images`.
    """
    name = key.rpartition("/")[2].lower()
    return name in names or name.endswith(f"_{letter}") or name.startswith(f"{letter}_")


def _stem(key: str) -> str:
    """Return what two keys share: `train_set_` of train_set_x, `_test` of X_test."""
    group, _, name = key.lower().rpartition("/")
    if name in (*IMAGE_KEYS, *LABEL_KEYS):
        return group
    return f"{group}/{name[1:] if name[0] in 'xy' and name[1] == '_' else name[:-1]}"


def _choose(path: Path, datasets: dict[str, h5py.Dataset], candidates: list[str], role: str) -> str:
    """Return the only candidate for a role; with none or several, name the way out."""
    if len(candidates) == 1:
        return candidates[0]
    option = f"--data.{role}_key"
    if not datasets:
        raise InputError(
            f"{path} holds no dataset at all; expected images and labels such as 'train_set_x' "
            "and 'train_set_y'."
        )
    if candidates:
        raise InputError(
            f"{path} has several datasets that could be the {role}: {_list(candidates)}. Name one "
            f"with `{option}`."
        )
    example = EXAMPLES[role]
    near = difflib.get_close_matches(example, _possible_keys(role, datasets), n=1, cutoff=0.5)
    hint = f"Did you mean `{option} {near[0]}`?" if near else f"Name one with `{option}`."
    raise InputError(
        f"{path} has no dataset that looks like the {role} ('{example}' or the like); it has "
        f"{_list(datasets)}. {hint}"
    )


def _possible_keys(role: str, datasets: Iterable[str]) -> list[str]:
    """Return keys to suggest for a role: those whose name says no other role."""
    names, letter = {"images": (LABEL_KEYS, "y"), "labels": (IMAGE_KEYS, "x")}.get(role, ((), ""))
    return [key for key in datasets if not letter or not guess_role(key, names, letter)]


def _list(keys: Iterable[str]) -> str:
    names = [f"'{shorten(key)}'" for key in keys]
    more = f" and {len(names) - MAX_LISTED} more" if names[MAX_LISTED:] else ""
    return ", ".join(names[:MAX_LISTED]) + more
