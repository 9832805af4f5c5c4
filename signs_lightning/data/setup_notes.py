"""What a run says of its data before it begins."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from signs_lightning.data.dataset import H5Images
from signs_lightning.data.file_roles import RoleFiles
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.labels import describe_missing_labels

PURPOSES = {"train": "Training", "val": "Validation", "test": "Test"}
MAX_LOOKED_AT = 8  # training images, for values of 0 and 1


def setup_notes(files: RoleFiles, num_classes: int, train: H5Images | None) -> Iterator[str]:
    """Yield lines on what was found where, and what the user may not expect.

    Args:
        files: the files of the run, opened.
        num_classes: number of classes K.
        train: the images to train on, where it is a fit.
    """
    for role, image_sets in files.sets.items():
        first, count = image_sets[0], len(image_sets)
        if first.path is not None and first.layout:  # a folder's note says all
            where = f"in {first.name}" if count == 1 else f"in {count:,} files"
            yield f"{PURPOSES[role]}: {first.layout}, {num_classes} classes ({where})."
        for images in image_sets:
            if images.note:
                yield images.note
    if train is not None:
        yield from _training_notes(files, num_classes, train.readers[0])


def _training_notes(files: RoleFiles, num_classes: int, reader: ImageReader) -> Iterator[str]:
    train = files.sets["train"]
    labels = np.concatenate([images.labels for images in train])
    line = describe_missing_labels(labels, num_classes, files.options["label_offset"])
    if line is not None:
        yield line
    unused = [role for role, value in files.files.items() if value is None]
    unused = [role for role in unused if role in train[0].other_roles]
    if unused and files.options["file"] is None:
        yield (
            f"{train[0].name} also has images for {' and '.join(unused)}; --data.file in place of "
            "--data.train_file takes them, too."
        )
    if files.replaces_validation:
        yield (
            "There are images for validation, too, which --data.val_fraction leaves out: a part of "
            "the training images validates."
        )
    images = reader.read(0, min(MAX_LOOKED_AT, reader.images.shape[0]))
    if images.max() == 1:
        yield (
            f"The first training images in {train[0].name} have the values 0 and 1 only, which is "
            "all but black in 0..255. If they mean 0..1, write them as floats, or times 255."
        )
