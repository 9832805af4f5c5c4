"""The test verb on an exported ONNX file: the same table as for a checkpoint."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.evaluation_table import print_evaluation
from signs_lightning.commands.reading_options import (
    add_reading_options,
    image_size,
    test_data_options,
)
from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.export.onnx_classifier import OnnxClassifier
from signs_lightning.models.metrics import Evaluation
from signs_lightning.models.other_inputs import check_images_suffice
from signs_lightning.models.task_metrics import TaskEvaluation
from signs_lightning.runtime.progress import progress_line

MIN_PROBABILITY = 1e-7  # a smaller one counts as this in the loss, as in Keras


def test_onnx(path: str, args: list[str]) -> int:
    """Run `test --ckpt_path model.onnx --data.test_file X.h5`.

    Args:
        path: the ONNX file.
        args: the other arguments.

    Returns:
        The exit code, 0.

    Raises:
        InputError: the file or the data cannot be used, or do not go together.
    """
    parser = CommandParser(
        "test", "Accuracy of an exported model on a test file, in all and for each class."
    )
    add = parser.add_argument
    file = "HDF5 file or pattern"
    add("--data.test_file", dest="test_file", required=True, metavar="H5", help=file)
    add("--data.batch_size", dest="batch_size", type=int, default=64, metavar="N")
    add("--data.image_size", dest="image_size", type=image_size, metavar="PIXELS")
    add_reading_options(parser)
    parser.add_resize_options()
    options, model = parser.parse_args(args), OnnxClassifier(path)
    data = H5DataModule(
        test_file=options.test_file,
        batch_size=options.batch_size,
        resize=options.resize,
        fit=options.fit,
        class_names=model.known_class_names,
        channels=model.image_size[2],
        **test_data_options(options),
    )
    evaluate = evaluate_onnx if model.task_rules.name is None else evaluate_task
    print_evaluation(evaluate(model, data))
    return 0


def open_test_data(model: OnnxClassifier, data: H5DataModule) -> None:
    """Open the test images of a model, and compare the two.

    Raises:
        InputError: the data cannot be used, or are of other classes or another size.
    """
    check_images_suffice(model, "test")
    model.adopt_resizing(data.resize, data.fit)
    data.adopt_resizing(*model.resizing)
    data.adopt_task(model.task_rules.name)
    data.adopt_values(model.run_values)
    data.prepare_data()
    data.setup("test")
    is_exact = data.opened.is_exact
    model.adopt(data.num_classes, data.image_shape, data.class_names, is_exact)
    model.adopt_resizing(data.resize, data.fit, data.resizes)


def evaluate_onnx(model: OnnxClassifier, data: H5DataModule) -> Evaluation:
    """Return mean cross-entropy, accuracy and confusion matrix on the test images.

    The loss is taken from probabilities, those below 1e-7 as 1e-7, as Keras's
    `categorical_crossentropy` does (`binary_crossentropy` where each class has a probability of its
    own); a checkpoint's is taken from logits, and may have class weights
    or penalties of its own.

    Raises:
        InputError: the data cannot be used, or are of other classes or another size.
    """
    open_test_data(model, data)
    classes, loss = model.num_classes, 0.0
    confusion = torch.zeros(classes, classes, dtype=torch.int64)  # row = label, column = prediction
    loader = data.test_dataloader()
    with progress_line() as line:
        line.restart("test", total=len(loader.dataset))  # type: ignore[arg-type]
        for images, labels in loader:
            probabilities = model.predict(images, data.batch_size)
            loss += _loss_sum(probabilities, labels, model.independent)
            pairs = labels * classes + probabilities.argmax(dim=1)
            confusion += pairs.bincount(minlength=classes**2).view(classes, classes)
            count, correct = int(confusion.sum()), int(confusion.diagonal().sum())
            line.advance(len(labels), loss=loss / count, acc=correct / count)
    count, correct = int(confusion.sum()), int(confusion.diagonal().sum())
    return Evaluation(loss / count, correct, count, model.class_names, confusion)


def evaluate_task(model: OnnxClassifier, data: H5DataModule) -> TaskEvaluation:
    """Return the figures of a task on the test images; the loss is that of no own loss.

    Raises:
        InputError: the data cannot be used, or are of other columns or another size.
    """
    open_test_data(model, data)
    rows: list[tuple[Tensor, Tensor]] = []
    loader = data.test_dataloader()
    with progress_line() as line:
        line.restart("test", total=len(loader.dataset))  # type: ignore[arg-type]
        for images, labels in loader:
            rows.append((model.predict(images, data.batch_size), labels))
            line.advance(len(labels))
    outputs, labels = (torch.cat(part).double() for part in zip(*rows, strict=True))
    evaluation: TaskEvaluation = model.task_rules.evaluate_outputs(model, outputs, labels)
    return evaluation


def _loss_sum(probabilities: Tensor, labels: Tensor, independent: bool) -> float:
    logs = probabilities.clamp(MIN_PROBABILITY, 1).log()
    if not independent:
        return F.nll_loss(logs, labels, reduction="sum").item()
    others = (1 - probabilities).clamp(MIN_PROBABILITY, 1).log()
    is_label = F.one_hot(labels, probabilities.shape[1]) == 1
    return -torch.where(is_label, logs, others).mean(dim=1).sum().item()
