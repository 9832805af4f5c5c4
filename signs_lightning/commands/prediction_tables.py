"""What `predict` prints and writes of each image: a class, several labels, or numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import for_csv, for_terminal, printable
from signs_lightning.runtime.terminal import (
    new_console,
    new_table,
    print_message,
    print_with_value,
)

if TYPE_CHECKING:
    from signs_lightning.export.onnx_classifier import OnnxClassifier
    from signs_lightning.models.classifier import ImageClassifier

    AnyClassifier = ImageClassifier | OnnxClassifier

ROWS_SHOWN = 40
MAX_HEADER = 2**20  # characters of a table that are looked at
SEPARATOR = "; "  # of several labels in a cell
NO_LABEL = "none above its threshold"


@dataclass(frozen=True)
class Prediction:
    """What a model gives for an image, its name, and its label.

    Attributes:
        name: of the image.
        probabilities: float32 (K,); of a regression the values.
        label: the class; of a task its row float (K,); None where it is not known.
    """

    name: str
    probabilities: np.ndarray
    label: int | np.ndarray | None = None


class ClassTable:
    """One class an image: the most probable one and the runner-up.

    Args:
        model: that predicts.
        has_labels: whether the images' own classes are known.
    """

    def __init__(self, model: AnyClassifier, has_labels: bool) -> None:
        names, label_column = model.class_names, ["label"] if has_labels else []
        self.header = ("image", *label_column, "class", "probability>", "runner-up")
        self.shown = [for_terminal(name) for name in names]
        self.names = [for_csv(name) for name in names]
        probabilities = (f"p({printable(name)})" for name in names)
        self.columns = ["image", *label_column, "class", "probability", *probabilities]
        self.result = "Every probability:"
        self.correct = self.count = 0

    def add(self, prediction: Prediction) -> tuple[list[str], list[str]]:
        """Return a line of the CSV file, and one of the table."""
        values = prediction.probabilities
        first, *others = (int(k) for k in np.argsort(-values, kind="stable")[:2])
        label = [] if prediction.label is None else [int(prediction.label)]
        figures = (f"{value:.9g}" for value in (values[first], *values))
        labels = (self.names[k] for k in label)
        line = [for_csv(prediction.name), *labels, self.names[first], *figures]
        self.count, self.correct = self.count + 1, self.correct + (first == prediction.label)
        runner_up = [f"{self.shown[k]} ({values[k]:.3f})" for k in others]
        name, labels = for_terminal(prediction.name), (self.shown[k] for k in label)
        return line, [name, *labels, self.shown[first], f"{values[first]:.3f}", *runner_up]

    def describe(self) -> str:
        """Return the figures of images whose labels are known."""
        from signs_lightning.models.metrics import describe_accuracy  # start-up: it imports torch

        return f"accuracy {describe_accuracy(self.correct, self.count)}"


class LabelsTable:
    """Several labels an image: every class above its threshold; arguments as of `ClassTable`."""

    def __init__(self, model: AnyClassifier, has_labels: bool) -> None:
        from signs_lightning.models.multilabel import thresholds_of  # start-up: it imports torch

        self.class_names = model.class_names
        label_column = ["labels"] if has_labels else []
        self.header = ("image", *label_column, "classes (probability)")
        self.thresholds = thresholds_of(model)
        probabilities = (f"p({printable(name)})" for name in self.class_names)
        self.columns = ["image", *label_column, "classes", *probabilities]
        self.result = "Every probability:"
        self.outputs: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add(self, prediction: Prediction) -> tuple[list[str], list[str]]:
        """Return a line of the CSV file, and one of the table."""
        values, label = prediction.probabilities, []
        above = np.flatnonzero(values > np.array(self.thresholds, np.float32)).tolist()
        if isinstance(prediction.label, np.ndarray):
            self.outputs.append(values)
            self.labels.append(prediction.label)
            label = [SEPARATOR.join(self.class_names[k] for k in np.flatnonzero(prediction.label))]
        found = SEPARATOR.join(self.class_names[k] for k in above)
        figures = (f"{value:.9g}" for value in values)
        line = [*map(for_csv, (prediction.name, *label, found)), *figures]
        told = SEPARATOR.join(f"{self.class_names[k]} ({values[k]:.3f})" for k in above)
        return line, [*map(for_terminal, (prediction.name, *label, told or NO_LABEL))]

    def describe(self) -> str:
        """Return the figures of images whose labels are known."""
        import torch  # start-up, as the next

        from signs_lightning.models.multilabel import describe_figures, evaluate_multilabel

        both = [torch.from_numpy(np.stack(rows)).double() for rows in (self.outputs, self.labels)]
        found = evaluate_multilabel(0.0, both[0], both[1], self.class_names, self.thresholds)
        figures = found.figures(each=False)
        figures.pop("loss")
        return describe_figures(figures, found.count)


class NumbersTable:
    """Numbers of each image, in the units of the training file; arguments as of `ClassTable`."""

    def __init__(self, model: AnyClassifier, has_labels: bool) -> None:
        self.names = model.class_names
        names = [printable(name) for name in self.names]
        labels = [f"label({name})" for name in names] if has_labels else []
        self.header = ("image", *(f"{name}>" for name in [*labels, *names]))
        self.columns = ["image", *labels, *(f"value({name})" for name in names)]
        self.result = "Every value:"
        self.outputs: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add(self, prediction: Prediction) -> tuple[list[str], list[str]]:
        """Return a line of the CSV file, and one of the table."""
        values = prediction.probabilities
        label: list[float] = []
        if isinstance(prediction.label, np.ndarray):
            self.outputs.append(values)
            self.labels.append(prediction.label)
            label = prediction.label.tolist()
        figures = [*(f"{value:.17g}" for value in label), *(f"{value:.9g}" for value in values)]
        told = (f"{value:.6g}" for value in [*label, *values.tolist()])
        return [for_csv(prediction.name), *figures], [for_terminal(prediction.name), *told]

    def describe(self) -> str:
        """Return the figures of images whose labels are known."""
        import torch  # start-up, as the next

        from signs_lightning.models.regression import describe_figures, evaluate_regression

        both = [torch.from_numpy(np.stack(rows)).double() for rows in (self.outputs, self.labels)]
        found = evaluate_regression(0.0, both[0], both[1], self.names)
        figures = found.figures(each=True)
        figures.pop("loss")
        return describe_figures(figures, found.count)


def check_table_is_ours(output: Path) -> None:
    """Check that a file which nobody named may be replaced: there is none, or predict wrote it.

    Raises:
        InputError: it is something else.
    """
    if not output.exists():
        return
    with output.open(encoding="utf-8", errors="replace") as file:
        header = file.readline(MAX_HEADER)
    if not header.startswith("image,") or not re.search(r",\"?(p|value)\(", header):
        raise InputError(
            f"{output} is there already, and `predict` did not write it. Add --output OTHER.csv, "
            f"or --output {output} to replace it."
        )


def write_and_print(
    predictions: Iterable[Prediction], has_labels: bool, model: AnyClassifier, output: Path
) -> None:
    """Write all predictions as CSV, and print the first ones and what they amount to.

    Args:
        predictions: at least one.
        has_labels: whether the images' labels are known.
        model: that predicts.
        output: the CSV file.
    """
    kinds: Any = {"multilabel": LabelsTable, "regression": NumbersTable}
    found = kinds.get(model.task_rules.name or "", ClassTable)(model, has_labels)
    table, count = new_table(*found.header), 0
    with (
        atomic_write(output) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(found.columns)
        for prediction in predictions:
            line, cells = found.add(prediction)
            writer.writerow(line)
            count += 1
            if count <= ROWS_SHOWN:
                table.add_row(*cells)
    new_console().print(table)
    if count > ROWS_SHOWN:
        print_message(f"… and {count - ROWS_SHOWN:,} more")
    if has_labels:
        print_message(found.describe())
    print_with_value(found.result, str(output))
