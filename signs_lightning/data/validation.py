"""Which images validate: a part of the training file, a file of their own, or the test file."""

from __future__ import annotations

import numpy as np

from signs_lightning.data.dataset import H5Images
from signs_lightning.data.file_roles import RoleFiles, no_file_error
from signs_lightning.data.layouts import Role
from signs_lightning.data.stratified_split import stratified_split
from signs_lightning.errors import InputError


def open_validation(
    files: RoleFiles, val_fraction: float | None, seed: int
) -> dict[Role, H5Images]:
    """Return the images to validate on, and those to train on where these are open.

    Args:
        files: the files of the run.
        val_fraction: share of the training file, or None.
        seed: of the split.

    Raises:
        InputError: there is nothing to validate on, or a file cannot be used.
    """
    if val_fraction is not None:
        train = files.open("train")
        labels = np.concatenate([images.labels for images in train])
        if labels.ndim == 2:  # rows belong to no class that a split could go by
            labels = np.zeros(len(labels), np.int64)
        first, second = stratified_split(labels, val_fraction, seed)
        if len(second) == 0:
            raise InputError(
                f"val_fraction {val_fraction:g} of {len(labels):,} images leaves none to validate "
                "on. Raise it."
            )
        return {"train": H5Images(train, first), "val": H5Images(train, second)}
    trains = "train" in files.sets
    role: Role = "test" if files.files["val"] is None else "val"
    datasets: dict[Role, H5Images] = {"train": H5Images(files.sets["train"])} if trains else {}
    if files.files[role] is None:
        if not trains:
            raise no_file_error("val", files.is_any)
        return datasets  # training without validation
    datasets["val"] = H5Images(files.open(role))
    return datasets
