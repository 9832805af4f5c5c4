"""Which datasets of an HDF5 file are images, labels and class names, by the table of layouts."""

from __future__ import annotations

import difflib
import math
import posixpath
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import h5py

from signs_lightning.data.encoded_pictures import (
    find_picture_groups,
    open_member,
    split_members,
)
from signs_lightning.data.hdf5_attributes import has_attribute
from signs_lightning.data.hdf5_links import linked_datasets, list_external_links
from signs_lightning.data.layouts import (
    LAYOUTS,
    ROLE_OF,
    can_hold_images,
    fits_images,
    is_class_list,
    is_label_name,
    is_list_of_numbers,
    is_one_per_image,
    key_role,
    place_key,
)
from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.runtime.escaping import list_names, shorten

EXAMPLES = {"images": "train_set_x", "labels": "train_set_y"}
COLUMN = re.compile(r"(?:name|categories)$", re.IGNORECASE)  # may be one word for each image
MAX_TINY = 16  # images of which each may be of a class of its own


def list_datasets(file: h5py.File, follow_links: bool = False) -> dict[str, h5py.Dataset]:
    """Return every dataset by its full name, then those behind links (`linked_datasets`).

    Datasets that are one JPEG or PNG file each are left out.
    """
    names = [name for name in split_members(file)[0] if not name.startswith("#")]  # MATLAB's own
    datasets = {name: open_member(file, name) for name in names}
    return datasets | linked_datasets(file, follow_links)


def find_images(path: Path, file: h5py.File, datasets: dict[str, h5py.Dataset]) -> dict[str, str]:
    """Return role → the key of its images; the role is "" where keys name none.

    Args:
        path: of the file, for messages.
        file: the file.
        datasets: all its datasets, from `list_datasets`.

    Raises:
        InputError: there are none, or several that could be those of one role.
    """
    named: tuple[dict[str, list[str]], ...] = ({}, {})  # role → keys that can hold images; all
    for layout in LAYOUTS:
        places = {key: place for key in datasets if (place := place_key(layout.images, key))}
        likely = {key for key in places if can_hold_images(datasets[key])}
        for found, keys in zip(named, (likely, places), strict=True):
            if not found:
                for key in sorted(keys):
                    found.setdefault(places[key][1], []).append(key)
    is_model = "model_weights" in file or "layers" in file or has_attribute(file, "layer_names")
    if is_model and not any(named):
        raise InputError(
            f"{path} holds a Keras model, not images. Name the file that it was trained on."
        )
    others = [key for key, dataset in datasets.items() if can_hold_images(dataset)]
    is_sure = len(others) == 1 and len(datasets[others[0]].shape) != 3
    found = named[0] or ({"": others} if is_sure else named[1]) or {"": others}
    if not any(found.values()):
        group, below = find_picture_groups(file)
        if group is not None:
            if below and ROLE_OF.keys() >= {name.lower() for name in below}:
                return {ROLE_OF[name.lower()]: posixpath.join(group, name) for name in below}
            return {"": group}
        if links := list_external_links(file):
            raise InputError(
                f"{path} has no images of its own, and links to other files ({list_names(links)}). "
                "Follow them with `--data.follow_links true`."
            )
    return {role: _choose(path, datasets, keys, "images") for role, keys in found.items()}


def choose_role(path: Path, roles: dict[str, str], role: str) -> str:
    """Return the key of a role's images; where a file has one role only, that one's.

    Raises:
        InputError: the file has several roles, and this is none of them.
    """
    if role in roles or len(roles) == 1:
        return roles.get(role) or next(iter(roles.values()))
    listed = ", ".join(f"{name} ('{shorten(key)}')" for name, key in roles.items())
    way_out = f"Name one with `--data.{role}_images_key`."
    if not role:
        way_out = f"Take each for its role with `--data.file {shlex.quote(str(path))}`, or name one"
        way_out += " with `--data.images_key`."
    raise InputError(f"{path} has images for several roles: {listed}. {way_out}")


def find_labels(
    path: Path, datasets: dict[str, h5py.Dataset], images_key: str, counts: set[int]
) -> str | None:
    """Return the key of the labels of some images; None where the file has none.

    They are the images' partner in a layout; else what is called labels anywhere in the file; else
    the only dataset of one integer or word an image. Those of another role are never taken, nor
    those without a role where several roles have images.

    Args:
        path: of the file, for messages.
        datasets: all its datasets.
        images_key: of the images, which may lie in another file.
        counts: how many images there may be, see `possible_counts`.

    Raises:
        InputError: there are several.
    """
    # In a file of labels they may have the images' key.
    others = {k: v for k, v in datasets.items() if k != images_key or is_list_of_numbers(v)}
    if role := key_role(images_key):
        roles = {key_role(key) for key, dataset in others.items() if can_hold_images(dataset)}
        allowed = {role} if roles - {"", role} else {"", role}
        others = {key: dataset for key, dataset in others.items() if key_role(key) in allowed}
    places = [(layout, place_key(layout.images, images_key)) for layout in LAYOUTS]
    partners: list[str] = []
    for layout, place in places:
        if place is not None and not partners:
            partners = [key for key in others if place_key(layout.labels, key) == place]
    named = partners or [key for key in others if is_label_name(key)]
    named = [key for key in named if fits_images(others[key], counts)] or named
    named = [key for key in named if not is_class_list(key)] or named
    if not named:
        group = images_key.rpartition("/")[0]
        fitting = [key for key in others if is_one_per_image(others[key], counts)]
        named = [key for key in fitting if key.rpartition("/")[0] == group] or fitting
    return _choose(path, datasets, named, "labels") if named else None


def find_classes(
    path: Path,
    datasets: dict[str, h5py.Dataset],
    keys: tuple[str, ...],
    label_shape: tuple[int, ...] | None,
) -> str | None:
    """Return the key of the class names, None where the file lists none.

    Args:
        path: of the file, for messages.
        datasets: all its datasets.
        keys: those of images and labels; of several lists the one beside them is taken.
        label_shape: what has one value for each of more than `MAX_TINY` labels is no list; None
            where it is not known.

    Raises:
        InputError: there are several.
    """
    named = [key for key in datasets if key not in keys and is_class_list(key)]
    count = max(label_shape or (0,))
    if count > MAX_TINY and count == math.prod(label_shape or ()):  # no one-hot rows
        named = [
            key
            for key in named
            if not COLUMN.search(key) or math.prod(datasets[key].shape or ()) != count
        ]
    for group in {key.rpartition("/")[0] for key in keys}:
        named = [key for key in named if key.rpartition("/")[0] == group] or named
    return _choose(path, datasets, named, "classes") if named else None


def named_key(
    path: Path, datasets: dict[str, h5py.Dataset], key: str, option: str, group: str = ""
) -> str:
    """Return a key that the user named, which may leave out the group of the images.

    Raises:
        InputError: there is no such dataset.
    """
    for name in (key, f"{group}/{key}"):
        if name in datasets:
            return name
    other = {"images_key": "labels", "labels_key": "images"}.get(option, "stem")
    near = [x for x in datasets if not any(place_key(getattr(y, other, ""), x) for y in LAYOUTS)]
    raise InputError(
        f"{path} has no dataset '{key}' ({option}); it has {list_names(datasets)}."
        + did_you_mean(key, near)
    )


def _choose(path: Path, datasets: dict[str, h5py.Dataset], candidates: list[str], role: str) -> str:
    """Return the only candidate for a role; with none or several, name the way out."""
    by_dataset = {datasets[key]: key for key in reversed(candidates)}  # links give it other names
    candidates = [key for key in candidates if key in by_dataset.values()]
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
            f"{path} has several datasets that could be the {role}: {list_names(candidates)}. Name "
            f"one with `{option}`."
        )
    raise InputError(
        f"{path} has no dataset that looks like the {role} ('{EXAMPLES[role]}' or the like); it "
        f"has {list_names(datasets)}. {_suggest_key(role, datasets)}"
    )


def _suggest_key(role: str, datasets: Iterable[str]) -> str:
    """Return a sentence that names the option, and a key where one is near."""
    option, other = f"--data.{role}_key", "labels" if role == "images" else "images"
    keys = [key for key in datasets if not any(place_key(getattr(x, other), key) for x in LAYOUTS)]
    near = difflib.get_close_matches(EXAMPLES[role], keys, n=1, cutoff=0.5)
    return (
        f"Did you mean `{option} {shlex.quote(near[0])}`?" if near else f"Name one with `{option}`."
    )


def no_labels_error(
    path: Path, datasets: dict[str, h5py.Dataset], images_key: str, option: str
) -> InputError:
    """Return the error for images whose labels are in no file that is known; an option names it."""
    return InputError(
        f"{path} has no dataset that looks like the labels ('{EXAMPLES['labels']}' or the like) of "
        f"'{shorten(images_key)}'; it has {list_names(datasets) or 'pictures only'}. Name one with "
        f"`--data.labels_key`, or their file with `{option}`."
    )
