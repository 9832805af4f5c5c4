"""The files of a run by role: which an option names, opened and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signs_lightning.data import find_keys
from signs_lightning.data.class_numbering import (
    check_names_of_numbers,
    check_numbering,
    listed_names,
    number_alike,
)
from signs_lightning.data.folder_cache import open_folder
from signs_lightning.data.hdf5_image_set import check_arrays, check_file
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.layouts import ROLES, Role
from signs_lightning.data.paths import ARRAYS, expand_paths, is_named, warn_of_repeated_file
from signs_lightning.data.picture_folders import find_split_folders, has_split_folders
from signs_lightning.data.run_values import settle_role
from signs_lightning.data.task_labels import check_given_names, check_no_folders
from signs_lightning.errors import InputError, NoImagesError
from signs_lightning.runtime.resize_options import DEFAULT_FIT, DEFAULT_RESIZE
from signs_lightning.runtime.value_ranges import RunValues

SHARED_OPTIONS = ("label_offset", "class_names", "axes", "row_shape", "task")
KEYS = ("images_key", "labels_key", "classes_key")


class RoleFiles:
    """The files of a run by role, and how each is read.

    Args:
        options: of the data module; of its arguments those that name files, keys and layouts.
        run_values: the numbers that the model takes, where it is known already.

    Attributes:
        files: role → a path, a pattern, a list of them, a pair of arrays (images, labels), or None.
        sets: role → the images of its files, of roles that are open.
        run_values: the numbers that the model takes, as soon as a role is open.
        replaces_validation: whether there are validation images that `val_fraction` leaves out.

    Raises:
        InputError: `file` holds images for one role only, or cannot be read.
    """

    def __init__(self, options: Mapping[str, Any], run_values: RunValues | None = None) -> None:
        self.options, self.run_values = options, run_values
        self.sets: dict[Role, list[ImageSet]] = {}
        self.files: dict[Role, Any] = {role: options[f"{role}_file"] for role in ROLES}
        source = options["file"]
        if source is None and has_split_folders(options["train_file"]):
            source = options["train_file"]
        self.replaces_validation = False
        if source is not None:
            found = self._find_roles(source)
            self.replaces_validation = "val" in found and options["val_fraction"] is not None
            for role in ROLES:
                is_replaced = role == "val" and self.replaces_validation
                if self.files[role] is None and role in found and not is_replaced:
                    self.files[role] = source

    def _find_roles(self, source: str | Path) -> set[str]:
        """Return the roles of a file with several: those of its images, and those of named keys."""
        named: set[str] = {role for role in ROLES if self.options[f"{role}_images_key"] is not None}
        try:
            return named.union(list_roles(source, self.options))
        except InputError:
            if not named or not is_named(source):
                raise
            return named

    @property
    def is_any(self) -> bool:
        """Whether a run has data of its own."""
        return any(value is not None for value in self.files.values())

    def keys(self, role: Role) -> dict[str, Any]:
        """Return the keys of a role, as far as they are named, for `check_file`."""
        named = {key: self.options.get(f"{role}_{key}") or self.options[key] for key in KEYS}
        return {**named, "role": role, "follow_links": self.options["follow_links"]}

    @property
    def image_sets(self) -> list[ImageSet]:
        """All that are open."""
        return [images for image_sets in self.sets.values() for images in image_sets]

    @property
    def is_exact(self) -> bool:
        """Whether the number of classes is known without names, as of one-hot labels."""
        return any(images.is_one_hot for images in self.image_sets)

    @property
    def class_names(self) -> list[str] | None:
        """The K names where a file lists them, else None."""
        return next((s.class_names for s in self.image_sets if s.class_names), None)

    @property
    def has_words_only(self) -> bool:
        """Whether the classes are words, and nothing says which number stands for which."""
        train = self.sets.get("train", [])
        is_named = self.options["class_names"] or listed_names(train)
        has_words = any(images.words is not None for images in train) and not is_named
        return has_words or self.options["trained_on_words"]

    def open(self, role: Role) -> list[ImageSet]:
        """Open and check what a role's option names, once.

        Args:
            role: "train", "val" or "test".

        Raises:
            InputError: there is no file, or a file or the arrays cannot be used.
        """
        if role not in self.sets:
            self.sets[role] = settle_role(self, role, self._open(role))
            warn_of_repeated_file(self.files[role], f"--data.{role}_file")
        return self.sets[role]

    def _training_images(self, role: Role) -> ImageSet | None:
        """Return the training images, whose class names every other role takes."""
        if role == "train" or self.files["train"] is None:
            return None
        return self.open("train")[0]

    def _open(self, role: Role) -> list[ImageSet]:
        value, option = self.files[role], f"--data.{role}_file"
        if value is None:
            validates = self.files["val"] is not None or bool(self.options["val_fraction"])
            raise no_file_error(role, self.is_any, validates)
        if isinstance(value, str | list) and not value:
            raise InputError(f"{option} is empty. Name a file.")
        if isinstance(value, str) and value == ARRAYS:
            raise InputError(
                f"The model saw arrays, which are not at hand any more. Name a file with {option}."
            )
        options = {name: self.options[name] for name in SHARED_OPTIONS}
        if self.options["trained_on_words"]:
            options["class_names"] = None  # they number words only
        if not is_named(value):
            return self._number([check_arrays(*value, **options)], role)
        size = self.options["image_size"]
        size = (size, size) if isinstance(size, int) else size
        resizing = self.options["resize"] or DEFAULT_RESIZE, self.options["fit"] or DEFAULT_FIT
        paths, names = expand_paths(value, self.options["sha256"]), self.options["class_names"]
        check_no_folders(paths, options["task"])
        channels = self.options["channels"]
        asks_train = any(map(os.path.isdir, paths)) and (names is None or channels is None)
        if asks_train and (train := self._training_images(role)) is not None:
            names, channels = names or train.class_names, channels or train.shape[3]
            size = size or train.shape[1:3]
        image_sets = [
            open_folder(Path(path), role, size, channels, *resizing, names)
            if os.path.isdir(path)
            else check_file(
                path,
                labels_file=labels,
                image_size=size,
                resizing=resizing,
                **options,
                **self.keys(role),
            )
            for path, labels in zip(paths, self._label_files(role, len(paths)), strict=True)
        ]
        return self._number(image_sets, role)

    def _number(self, image_sets: list[ImageSet], role: Role) -> list[ImageSet]:
        """Give the files of a role the classes of the training data, or of the model."""
        names, train_sets = self.options["class_names"], self.sets.get("train", [])
        check_given_names(names, image_sets, self.options["task"])
        has_words = any(images.words is not None for images in image_sets)
        if names is None and has_words and self._training_images(role) is not None:
            train_sets = self.sets["train"]
        if self.options["trained_on_words"]:
            check_names_of_numbers(image_sets, names)
        check_numbering([*train_sets, *image_sets], names)
        return number_alike(
            image_sets, names or (train_sets[0].class_names if train_sets else None)
        )

    def _label_files(self, role: Role, count: int) -> list[str | None]:
        """Return the files of labels of a role, one for each of its files of images."""
        value = self.options[f"{role}_labels_file"]
        if value is None:
            return [None] * count
        paths = expand_paths(value, self.options["sha256"])
        if len(paths) != count:
            raise InputError(
                f"--data.{role}_labels_file names {len(paths)} files, --data.{role}_file "
                f"{count}. Name one for each."
            )
        return list(paths)


def list_roles(value: str | Path, options: Mapping[str, Any]) -> list[str]:
    """Return the roles that the images of a file, or of a folder, have.

    Args:
        value: the option.
        options: sha256 as for `expand_paths`, and follow_links.

    Raises:
        InputError: they have none, or the file cannot be read.
    """
    path = Path(expand_paths(value, options["sha256"])[0])
    if path.is_dir():
        roles = {role: str(place) for role, place in find_split_folders(path).items()}
        roles = roles or {"": str(path)}
    else:
        with open_hdf5(path) as file:
            datasets = find_keys.list_datasets(file, options["follow_links"])
            roles = find_keys.find_images(path, file, datasets)
    if "" in roles:
        raise InputError(
            f"{path} has images for one role only ('{roles['']}'). Name it with --data.train_file "
            "and, to validate on a part of it, --data.val_fraction 0.2."
        )
    return list(roles)


def no_file_error(role: Role, has_others: bool, validates: bool = False) -> NoImagesError:
    """Return the error for a role without a file, among the options of a run.

    Args:
        role: "train", "val" or "test".
        has_others: whether there are other files, or a model of other images than drawn ones.
        validates: whether there are validation images.
    """
    options = "--data.val_file or --data.test_file" if role == "val" else f"--data.{role}_file"
    purpose = {"train": "train on", "val": "validate on", "test": "test on"}[role]
    instead = "" if has_others else ", or take drawn pictures with --data.drawn DrawnSigns"
    if role == "test" and validates:
        instead += ", or see how the run does on its validation images: `validate RUN`"
    return NoImagesError(f"There is nothing to {purpose}. Name a file with {options}{instead}.")
