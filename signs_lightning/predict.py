"""The predict verb: pictures, or the images of an HDF5 file, through a trained model."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from signs_lightning.errors import InputError, VerbParser

ROWS_SHOWN = 40
KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")


@dataclass(frozen=True)
class Prediction:
    """Probabilities (K,) of one image, what it is called, and its label where the file has one."""

    name: str
    probabilities: np.ndarray
    label: int | None = None


def main(verb: str, args: list[str]) -> int:
    """Runs the verb; returns 1 when a picture could not be read."""
    parser = VerbParser(verb, "Classes and probabilities of pictures, or of the images of an HDF5 file.")
    parser.add_argument("--ckpt_path", required=True, metavar="F", help="checkpoint, run folder or Keras file")
    parser.add_argument(
        "--scale", default="/255", choices=("/255", "raw", "tf", "caffe", "torch"), help="of a Keras file"
    )
    parser.add_argument(
        "--images", nargs="+", metavar="PATH", help="pictures, folders, patterns, or - for standard input"
    )
    parser.add_argument(
        "--data.test_file", dest="test_file", metavar="H5", help="HDF5 file; the run's own test file by default"
    )
    parser.add_argument(
        "--data.images_key", dest="images_key", metavar="KEY", help="its images, where the name does not tell"
    )
    parser.add_argument(
        "--data.labels_key", dest="labels_key", metavar="KEY", help="its labels, where the name does not tell"
    )
    parser.add_argument("--output", default="predictions.csv", metavar="CSV", help="where every probability goes")
    parser.add_argument(
        "--batch_size", type=int, default=64, metavar="N", help="images that go through the network at a time"
    )
    options = parser.parse_args(args)
    if options.images and options.test_file:
        raise InputError("--images and --data.test_file are both given. Drop one of them.")
    if options.batch_size < 1:
        raise InputError(f"--batch_size is {options.batch_size}, expected at least 1.")

    import torch

    from signs_lightning.checkpoints import find_checkpoint, load_classifier

    if options.ckpt_path.endswith(KERAS_SUFFIXES):
        from signs_lightning.keras_io.reading import from_keras

        model = from_keras(options.ckpt_path, scale=options.scale)
        data: dict = {}
        if not (options.images or options.test_file):
            raise InputError(
                "A Keras file remembers no data. Name pictures with --images or a file with --data.test_file."
            )
    else:
        path = find_checkpoint(Path(options.ckpt_path), verb)
        assert path is not None  # only `fit` may find none
        model, data = load_classifier(path)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    unreadable: list[str] = []
    if options.images:
        predictions = list(_of_pictures(model, options.images, options.batch_size, unreadable))
    else:
        keys = {"images_key": options.images_key, "labels_key": options.labels_key}
        data |= {key: value for key, value in keys.items() if value is not None}
        predictions = list(_of_file(model, data, options.test_file, options.batch_size))
    if predictions:
        _print(predictions, model.class_names)
        _write(predictions, model.class_names, Path(options.output))
        print(f"Every probability: {options.output}")
    for line in unreadable:
        print(line, file=sys.stderr)
    return 1 if unreadable else 0


def _of_pictures(model, arguments: list[str], batch_size: int, unreadable: list[str]) -> Iterator[Prediction]:  # type: ignore[no-untyped-def]
    from signs_lightning.data.images import UnreadableImageError, find_images, read_image

    paths = find_images(arguments)
    for start in range(0, len(paths), batch_size):
        names, images = [], []
        for path in paths[start : start + batch_size]:
            try:
                images.append(read_image(path, model.image_size))
                names.append(path)
            except UnreadableImageError as error:
                unreadable.append(f"{path}: {error}; skipped.")
        if images:
            rows = model.predict(np.stack(images), batch_size).numpy()
            yield from (Prediction(name, row) for name, row in zip(names, rows, strict=True))


def _of_file(model, data: dict, test_file: str | None, batch_size: int) -> Iterator[Prediction]:  # type: ignore[no-untyped-def]
    from signs_lightning.data.module import H5DataModule

    if test_file is not None:
        data = {**data, "train_file": None, "val_file": None, "val_fraction": None, "test_file": test_file}
    module = H5DataModule(**{**data, "batch_size": batch_size})
    module.prepare_data()
    module.setup("test")
    model.adopt(module.num_classes, module.image_shape, module.class_names)
    position = 0
    for images, labels in module.test_dataloader():
        rows = model.predict(images, batch_size).numpy()
        for row, label in zip(rows, labels.tolist(), strict=True):
            yield Prediction(str(position), row, label)
            position += 1


def _print(predictions: list[Prediction], class_names: list[str]) -> None:
    console = Console()
    labelled = predictions[0].label is not None
    table = Table()
    table.add_column("image", overflow="fold")
    if labelled:
        table.add_column("label")
    for column in ("class", "probability", "runner-up"):
        table.add_column(column, justify="right" if column == "probability" else "left")
    for prediction in predictions[:ROWS_SHOWN]:
        second, first = np.argsort(prediction.probabilities)[-2:]
        label = [escape(class_names[prediction.label])] if prediction.label is not None else []
        table.add_row(
            escape(prediction.name),
            *label,
            escape(class_names[first]),
            f"{prediction.probabilities[first]:.3f}",
            f"{escape(class_names[second])} ({prediction.probabilities[second]:.3f})",
        )
    console.print(table)
    if len(predictions) > ROWS_SHOWN:
        console.print(f"… and {len(predictions) - ROWS_SHOWN:,} more", highlight=False)
    if labelled:
        from signs_lightning.models.evaluation import describe_accuracy

        correct = sum(int(p.probabilities.argmax()) == p.label for p in predictions)
        console.print(f"accuracy {describe_accuracy(correct, len(predictions))}", soft_wrap=True, highlight=False)


def _write(predictions: list[Prediction], class_names: list[str], path: Path) -> None:
    """One line an image: name, label where known, class, its probability, then the probability of every class."""
    labelled = predictions[0].label is not None
    header = [
        "image",
        *(["label"] if labelled else []),
        "class",
        "probability",
        *(f"p({name})" for name in class_names),
    ]
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for prediction in predictions:
            first = int(prediction.probabilities.argmax())
            label = [class_names[prediction.label]] if prediction.label is not None else []
            figures = [f"{value:.9g}" for value in (prediction.probabilities[first], *prediction.probabilities)]
            writer.writerow([prediction.name, *label, class_names[first], *figures])
    os.replace(temporary, path)
