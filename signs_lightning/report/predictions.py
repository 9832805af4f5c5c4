"""What a trained model predicts for its test or validation data, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from signs_lightning.data.data_options import for_test_file
from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.data.dataset import H5Images
from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.metrics import Evaluation
from signs_lightning.report.task_report import predict_task
from signs_lightning.runtime.value_ranges import BYTES, Range, to_bytes

BATCH_SIZE = 64


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for N images.

    Attributes:
        images: the data set of the images.
        labels: int64 (N,).
        predicted: int64 (N,), the predicted classes.
        probabilities: float32 (N, K).
        evaluation: loss, accuracy and confusion matrix.
        role: "test" or "validation".
        files: the names of the files that hold the images.
        numbers: those of the images that are black and white.
    """

    images: H5Images
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    evaluation: Evaluation
    role: str
    files: list[str]
    numbers: Range = BYTES

    @property
    def confidence(self) -> np.ndarray:
        """float32 (N,): the probability of the predicted class."""
        return self.probabilities[np.arange(len(self.labels)), self.predicted]

    @property
    def label_probability(self) -> np.ndarray:
        """float32 (N,): the probability of the true class."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    def worst_mistakes(self, count: int) -> np.ndarray:
        """Return int64 (n,) positions of wrong images, largest loss first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(self.label_probability[wrong], kind="stable")][:count]

    def best_and_worst(self, label: int) -> list[int]:
        """Return the images of a class with its largest and smallest probability.

        Only one where the class has one image, none where it has none.
        """
        own = np.flatnonzero(self.labels == label)
        own = own[np.argsort(-self.label_probability[own], kind="stable")]
        return own[[0, -1]].tolist() if len(own) > 1 else own.tolist()

    def pictures(self, positions: list[int] | np.ndarray) -> Tensor:
        """Return images (n, H, W, C) as the model takes them."""
        return self.images.__getitems__(np.asarray(positions, np.int64).tolist())[0]

    def drawn(self, image: Tensor) -> np.ndarray:
        """Return one of these as uint8 (H, W, C), to be looked at."""
        return to_bytes(image.numpy(), self.numbers)


def predict_dataset(
    model: ImageClassifier,
    settings: dict[str, Any],
    test_file: str | None,
    given: dict[str, Any] | None = None,
) -> Any:
    """Run a model on a test file, or else on the validation data of its run.

    Returns `Predictions`, or `TaskPredictions` of a model with a task.

    Args:
        model: in eval mode, on the device to use. It takes the class names of the data where it has
            none.
        settings: of the `H5DataModule` that the model was trained on, its seed included; empty when
            unknown.
        test_file: another test file than the run's own.
        given: settings that replace those of the run.

    Raises:
        InputError: there are no such data, or they are not for this model.
    """
    fixed = {"batch_size": BATCH_SIZE, "num_workers": 0, "image_size": model.image_size[:2]}
    if test_file is not None:
        settings = for_test_file(settings, test_file)
    settings = {**settings, **fixed, **(given or {})}
    settings["class_names"] = settings.get("class_names") or model.known_class_names
    settings["channels"] = settings.get("channels") or model.image_size[2]
    data = H5DataModule(**settings)
    role = (
        "test"
        if data.draws is not None or data.role_files.files["test"] is not None
        else "validation"
    )
    if role == "validation" and data.validates_on_test_file:
        raise InputError(
            "The run has neither a test file nor validation data. Name a file with "
            "--data.test_file."
        )
    data.adopt_resizing(*model.resizing)
    data.adopt_values(model.run_values)
    data.adopt_task(model.task_rules.name)
    data.prepare_data()
    try:
        data.setup("test" if role == "test" else "validate")
    except InputError as error:  # the run's own files may have been moved
        if test_file is not None:
            raise
        raise InputError(f"{error} Or name other data with --data.test_file.") from error
    is_exact = data.opened.is_exact
    model.adopt(data.num_classes, data.image_shape, data.class_names, is_exact)
    model.adopt_resizing(None, None, data.resizes)
    model.adopt_values(data.run_values)
    loader: Any = data.test_dataloader() if role == "test" else data.val_dataloader()
    files = [reader.images.name for reader in loader.dataset.readers]
    files = [f"drawn by {data.drawn}"] if data.draws else files
    if model.task_rules.name is not None:
        return predict_task(model, loader, role, files)
    parts, loss_sum = [], 0.0
    with torch.inference_mode():
        for images, truth in loader:
            logits = model.averaged_logits(model.preprocess(images.to(model.device)))
            loss_sum += model.compute_loss(logits, truth.to(model.device)).item() * len(truth)
            predicted = model.predicted_classes(logits).cpu()
            parts.append((truth, predicted, model.probabilities(logits).cpu()))
    labels, predicted, probabilities = (torch.cat(part) for part in zip(*parts, strict=True))
    classes, count = model.num_classes, len(labels)
    pairs = torch.bincount(labels * classes + predicted, minlength=classes**2)
    confusion = pairs.view(classes, classes)
    correct = int(confusion.diagonal().sum())
    return Predictions(
        images=loader.dataset,
        labels=labels.numpy(),
        predicted=predicted.numpy(),
        probabilities=probabilities.numpy(),
        evaluation=Evaluation(loss_sum / count, correct, count, model.class_names, confusion),
        role=role,
        files=files,
        numbers=data.run_values.numbers,
    )
