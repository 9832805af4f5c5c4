"""What a run says of its data before it begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from signs_lightning.data.data_compatibility import check_same_data
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.file_roles import RoleFiles
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.labels import describe_missing_labels
from signs_lightning.data.layouts import Role
from signs_lightning.data.run_values import describe_run
from signs_lightning.data.shared_files import warn_of_shared_files
from signs_lightning.data.task_labels import describe_task_labels
from signs_lightning.runtime.escaping import format_shape, printable
from signs_lightning.runtime.rank_zero_print import rank_zero_print

if TYPE_CHECKING:
    from signs_lightning.data.datamodule import H5DataModule

# stage: what is done with its images
DOING = {"validate": "Validating on", "test": "Testing on", "predict": "Predicting"}
MAX_NAMED = 2  # files
MAX_LOOKED_AT = 8  # training images, for values of 0 and 1


def check_and_describe(data: H5DataModule, stage: str, datasets: Mapping[Role, H5Images]) -> None:
    """Check that the files of a run fit together, and print what there is to say of them.

    Args:
        data: whose files are open.
        stage: "fit", "validate", "test" or "predict".
        datasets: the images of each role, as they are used.

    Raises:
        InputError: they do not.
    """
    files = data.opened
    because = f"because no file is named (data.drawn is {data.drawn})"
    drawn = data.draws and f"{data.draws} ({{}}), {because}"
    for line in describe_stage(files, stage, datasets, data.num_classes, drawn):
        rank_zero_print(line)
    check_same_data(files.image_sets, files.options["class_names"] if stage == "fit" else None)
    warn_of_shared_files(files, stage, data.val_fraction is not None)
    train = datasets["train"] if stage == "fit" else None
    for note in () if data.draws else setup_notes(files, data.num_classes, train):
        rank_zero_print(note)
    if found := describe_run(data.run_values, data.options["value_range"]):
        rank_zero_print(found)


def describe_stage(
    files: RoleFiles,
    stage: str,
    datasets: Mapping[Role, H5Images],
    num_classes: int,
    drawn: str | None = None,
) -> Iterator[str]:
    """Yield a line on the images that a run is about, and one on those that validate it.

    Args:
        files: the files of the run, opened.
        stage: "fit", "validate", "test" or "predict".
        datasets: the images of each role, as they are used.
        num_classes: number of classes K.
        drawn: what is drawn instead of read, and by which option.
    """
    if files.image_sets[0].path is None:  # arrays, from the caller's own hands
        return
    if stage != "fit":
        images = datasets["val" if stage == "validate" else "test"]
        yield f"{DOING[stage]} {_describe(files, images, num_classes, drawn)}."
        return
    train, val = datasets["train"], datasets.get("val")
    yield f"Training on {_describe(files, train, num_classes, drawn)}."
    if val is None:
        return
    if _role(files, val) == "train":
        yield f"Validation on the other {len(val):,}, which are not trained on."
    elif _role(files, val) == "val":
        yield f"Validation on {_describe(files, val)}."
    else:
        what = _describe(files, val) if drawn is None else f"{len(val):,} others"
        yield (
            f"Validation is the test file, {what}: no checkpoint is chosen by it, last.ckpt is "
            "the result."
        )


def _role(files: RoleFiles, images: H5Images) -> Role:
    """Return the role of the files that images come from."""
    first = images.readers[0].images
    return next(role for role, sets in files.sets.items() if any(s is first for s in sets))


def _describe(
    files: RoleFiles, images: H5Images, num_classes: int | None = None, drawn: str | None = None
) -> str:
    """Return how many images are meant, and where they are.

    Args:
        files: the files of the run, opened.
        images: the images.
        num_classes: number of classes K, where size and classes are told.
        drawn: what is drawn instead of read, and by which option.
    """
    image_sets = files.sets[_role(files, images)]
    first, total = image_sets[0], sum(len(s.labels) for s in image_sets)
    count = f"{total:,}" if len(images) == total else f"{len(images):,} of the {total:,}"
    kind = {"multilabel": "labels", "regression": "targets"}.get(files.options["task"], "classes")
    columns = f"{num_classes} {kind}" if num_classes != 1 or kind == "classes" else f"1 {kind[:-1]}"
    about = [] if num_classes is None else [format_shape(first.shape[1:]), columns]
    if drawn is not None:
        return f"{count} {drawn.format(', '.join(about))}"
    where = printable(first.name)
    if len(image_sets) > 1:
        where = f"{len(image_sets):,} files, {where} first"
    inside = "; ".join(filter(None, (", ".join(about), first.layout)))
    return f"{count} images in {where}{f' ({inside})' if inside else ''}"


def setup_notes(files: RoleFiles, num_classes: int, train: H5Images | None) -> Iterator[str]:
    """Yield lines on what the user may not expect.

    Args:
        files: the files of the run, opened.
        num_classes: number of classes K.
        train: the images to train on, where it is a fit.
    """
    for images in files.image_sets:
        if images.note:
            yield images.note
    if train is not None:
        yield from _training_notes(files, num_classes, train.readers[0])


def _training_notes(files: RoleFiles, num_classes: int, reader: ImageReader) -> Iterator[str]:
    train = files.sets["train"]
    labels = np.concatenate([images.labels for images in train])
    line = describe_task_labels(labels, files.class_names)
    if labels.ndim == 1:
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
    if images.dtype == np.uint8 and images.max() == 1:
        yield (
            f"The first training images in {train[0].name} have the values 0 and 1 only, which is "
            "all but black in 0..255. If they mean 0..1, write them as floats, or times 255."
        )
