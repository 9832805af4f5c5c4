"""The predict verb: images, or those of an HDF5 file, through a trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from signs_lightning.checkpoints.load_model import load_model
from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.own_model_options import take_model_options
from signs_lightning.commands.prediction_tables import (
    Prediction,
    check_table_is_ours,
    write_and_print,
)
from signs_lightning.commands.reading_options import (
    add_reading_options,
    image_size,
    test_data_options,
)
from signs_lightning.errors import InputError, NoImagesError
from signs_lightning.keras_io.input_scales import SCALES
from signs_lightning.runtime import image_files
from signs_lightning.runtime.atomic_write import check_output
from signs_lightning.runtime.escaping import printable, quote_path
from signs_lightning.runtime.picture_values import (
    check_pictures_mean_something,
    read_picture_values,
)
from signs_lightning.runtime.progress import ProgressLine, progress_line
from signs_lightning.runtime.terminal import (
    print_message,
)
from signs_lightning.runtime.value_ranges import RunValues

if TYPE_CHECKING:
    from signs_lightning.export.onnx_classifier import OnnxClassifier
    from signs_lightning.models.classifier import ImageClassifier

    AnyClassifier = ImageClassifier | OnnxClassifier


def main(verb: str, args: list[str]) -> int:
    """Run the verb and return its exit code: 1 when an image could not be read."""
    own, args = take_model_options(args)
    options = _parser(verb).parse_args(args)
    options.images = [*options.files, *(options.images or [])]
    if Path(options.ckpt_path).suffix.lower() in image_files.SUFFIXES:
        raise InputError(
            f"{options.ckpt_path} is a picture, and no model is named before it. Write predict RUN "
            f"{quote_path(options.ckpt_path)}"
        )
    if options.images and options.test_file:
        raise InputError("--images and --data.test_file are both given. Drop one of them.")
    if options.batch_size < 1:
        raise InputError(f"--batch_size is {options.batch_size}, expected at least 1.")
    output = Path(options.output or "predictions.csv")
    check_output(output, inputs=(options.ckpt_path, options.test_file, options.inputs))

    import torch  # start-up: the help and the checks above need none of it

    model, data = load_model(options.ckpt_path, verb, options.scale, options.output_layer, own)
    if not (data or options.images or options.test_file):
        raise InputError(
            f"{options.ckpt_path} remembers no data. Name pictures with --images or a file with "
            "--data.test_file."
        )
    model.adopt_resizing(options.resize, options.fit)
    if isinstance(model, torch.nn.Module) and torch.cuda.is_available():
        model.to("cuda")
    unreadable: list[str] = []
    differences: image_files.Differences = {}
    others = _read_other_inputs(model, options.inputs)
    with progress_line() as progress:
        if options.images:
            paths = image_files.find_images(options.images)
            check_output(output, inputs=paths)
            notes = unreadable, differences
            labels, unknown = _labels_of_folders(options.images, paths, model)
            predictions = _predict_images(
                model, paths, labels, others, options.batch_size, *notes, progress
            )
        else:
            given = test_data_options(options)
            source = options.test_file, given
            predictions = _predict_file(model, data, *source, others, options.batch_size, progress)
        try:
            first = next(predictions, None)
        except NoImagesError as error:
            raise InputError(
                "There is nothing to predict. Name pictures after the run, or a file with "
                "--data.test_file."
            ) from error
        if first is not None:
            has_labels = first.label is not None
            if options.output is None:
                check_table_is_ours(output)
            write_and_print(chain([first], predictions), has_labels, model, output)
            if has_labels and options.images:
                print_message("The labels are the names of the folders.")
            elif options.images and unknown:
                print_message(
                    f"No accuracy: the folder '{printable(unknown[0])}' is no class of the model, "
                    f"whose first is '{model.class_names[0]}'."
                )
    for line in image_files.describe_differences(differences):
        print_message(line)
    for line in unreadable:
        print_message(line, sys.stderr)
    if first is None:
        print_message(
            "None of the pictures could be read: there is nothing to predict.", sys.stderr
        )
    return 1 if unreadable else 0


def _parser(verb: str) -> CommandParser:
    text = "Classes and probabilities of pictures, or of the images of an HDF5 file."
    parser = CommandParser(
        verb,
        text,
        "RUN [PICTURE ...] [options]",
        ("files", "--images", "--data.test_file", "--output", "--batch_size", "--scale"),
        (
            "predict lightning_logs/quickstart/version_0 a.png",
            "predict model.keras 'pets/*.jpg' --output pets.csv",
        ),
    )
    text = "checkpoint, run folder, Keras file or exported .onnx; then pictures"
    parser.add_file(text, "PICTURE")
    parser.add_argument("--scale", choices=SCALES, help="of a Keras file, as in import-keras")
    parser.add_output_layer_option()
    parser.add_model_options()
    text = "pictures, folders, patterns, or - for standard input"
    parser.add_argument("--images", nargs="+", metavar="PATH", help=text)
    text = "HDF5 file; the run's own test file by default"
    parser.add_argument("--data.test_file", dest="test_file", metavar="H5", help=text)
    text = "inputs beside the image: .npz or HDF5 file of arrays by their names, a row an image"
    parser.add_argument("--inputs", metavar="FILE", help=text)
    text = "resize its images to the model's size, a number or [height,width]"
    parser.add_argument(
        "--data.image_size", dest="image_size", type=image_size, metavar="PIXELS", help=text
    )
    add_reading_options(parser)
    parser.add_resize_options()
    text = "where every probability goes (default predictions.csv); what is there is replaced"
    parser.add_argument("--output", metavar="CSV", help=text)
    text = "images that go through the network at a time"
    parser.add_argument("--batch_size", type=int, default=64, metavar="N", help=text)
    return parser


def _read_other_inputs(model: AnyClassifier, path: str | None) -> dict[str, np.ndarray]:
    """Return the inputs beside the image from the file of `--inputs`."""
    from signs_lightning.data.named_arrays import read_named_arrays  # start-up
    from signs_lightning.models.other_inputs import describe_inputs  # start-up: it imports torch

    if path is None:
        if model.other_inputs:
            raise InputError(
                f"The model takes {describe_inputs(model.other_inputs)} beside the image. Name an "
                ".npz or HDF5 file that has an array of that name, with a value for each image: "
                "`--inputs FILE`."
            )
        return {}
    if not model.other_inputs:
        raise InputError(f"--inputs is {path}, and the model takes images alone. Leave it out.")
    return read_named_arrays(Path(path), model.other_inputs)


def _join(
    model: AnyClassifier, images: Any, others: dict[str, np.ndarray], rows: list[int] | slice
) -> Any:
    """Return what `predict` of the model takes: images alone, or all inputs by their names.

    Args:
        model: takes them.
        images: of some rows.
        others: the other inputs, all rows; none where it takes images alone.
        rows: which rows.
    """
    if not others:
        return images
    return {model.image_input: images} | {name: value[rows] for name, value in others.items()}


def _labels_of_folders(
    given: list[str], paths: list[str], model: AnyClassifier
) -> tuple[dict[str, int] | None, list[str]]:
    """Return the class of each picture, where all lie in folders of classes below one given.

    Returns:
        Path → class, or None; and of several folders the names that are no classes.
    """
    folders = {path: Path(path).parent for path in paths}
    places = set(folders.values())
    below = all(any(Path(outer) in place.parents for outer in given) for place in places)
    if not below or model.task_rules.name is not None:
        return None, []
    classes = {name: k for k, name in enumerate(model.class_names)}
    if unknown := sorted({place.name for place in places} - classes.keys()):
        return None, unknown if len(places) > 1 else []
    return {path: classes[folder.name] for path, folder in folders.items()}, []


def _predict_images(
    model: AnyClassifier,
    paths: list[str],
    labels: dict[str, int] | None,
    others: dict[str, np.ndarray],
    batch_size: int,
    unreadable: list[str],
    differences: image_files.Differences,
    progress: ProgressLine,
) -> Iterator[Prediction]:
    """Yield the predictions; fill the two lists with what there is to say of the pictures."""
    from signs_lightning.models.other_inputs import check_other_inputs  # start-up: it imports torch

    image_files.check_picture_channels(model.image_size[2])
    run = model.run_values or RunValues()
    check_pictures_mean_something(run, model.image_size[2])
    resizing, others = model.resizing, check_other_inputs(model, others, len(paths))
    progress.restart("predicting", total=len(paths))
    for start in range(0, len(paths), batch_size):
        names, images, rows, known = [], [], [], []
        for row, path in enumerate(paths[start : start + batch_size], start):
            name = "standard input" if path == image_files.STANDARD_INPUT else path
            try:
                image = read_picture_values(path, model.image_size, resizing, run, differences)
                images.append(image)
                names.append(name)
                rows.append(row)
                known.append(None if labels is None else labels[path])
            except image_files.UnreadableImageError as error:
                unreadable.append(f"{printable(name)}: {printable(str(error))}; skipped.")
        if images:
            inputs = _join(model, np.stack(images), others, rows)
            found = np.asarray(model.predict(inputs, batch_size, stored=True))
            yield from map(Prediction, names, found, known)
        progress.advance(min(batch_size, len(paths) - start))
    progress.close()


def _predict_file(
    model: AnyClassifier,
    data: dict[str, Any],
    test_file: str | None,
    given: dict[str, Any],
    others: dict[str, np.ndarray],
    batch_size: int,
    progress: ProgressLine,
) -> Iterator[Prediction]:
    # start-up: they import Lightning
    from signs_lightning.data.data_options import for_test_file
    from signs_lightning.data.datamodule import H5DataModule
    from signs_lightning.models.other_inputs import check_other_inputs

    if test_file is not None:
        data = for_test_file(data, test_file)
    data = {**data, **given, "batch_size": batch_size}
    data["class_names"] = data.get("class_names") or model.known_class_names
    data["channels"] = data.get("channels") or model.image_size[2]
    module = H5DataModule(**data)
    module.adopt_resizing(*model.resizing)
    module.adopt_values(model.run_values)
    module.adopt_task(model.task_rules.name)
    module.prepare_data()
    module.setup("predict")
    is_exact = module.opened.is_exact
    model.adopt(module.num_classes, module.image_shape, module.class_names, is_exact)
    model.adopt_resizing(None, None, module.resizes)
    model.adopt_values(module.run_values)
    loader: Any = module.test_dataloader()
    position, correct = 0, 0
    is_plain = model.task_rules.name is None
    progress.restart("predicting", total=len(loader.dataset))
    others = check_other_inputs(model, others, len(loader.dataset))
    for images, labels in loader:
        inputs = _join(model, images, others, slice(position, position + len(images)))
        rows = np.asarray(model.predict(inputs, batch_size, stored=True))
        figures = {}
        if is_plain:
            correct += int((rows.argmax(axis=1) == labels.numpy()).sum())
            figures = {"acc": correct / (position + len(rows))}
        progress.advance(len(rows), **figures)
        for row, label in zip(rows, labels.tolist() if is_plain else labels.numpy(), strict=True):
            yield Prediction(str(position), row, label)
            position += 1
    progress.close()
