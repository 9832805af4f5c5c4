"""A trained model on the data it is judged by: every image's probabilities, and the images worth looking at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.data.dataset import H5Images
from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.metrics import Evaluation

BATCH_SIZE = 64


@dataclass(frozen=True)
class Predictions:
    """What a model said about N images.

    Attributes:
        images: where the pictures are.
        labels: int64 (N,).
        predicted: int64 (N,), the class that the model chose.
        probabilities: float32 (N, K).
        evaluation: loss, accuracy and confusion matrix.
        role: "test" or "validation".
        files: the names of the files that the images come from.
    """

    images: H5Images
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    evaluation: Evaluation
    role: str
    files: list[str]

    @property
    def confidence(self) -> np.ndarray:
        """float32 (N,): the probability of the predicted class."""
        return self.probabilities[np.arange(len(self.labels)), self.predicted]

    @property
    def of_label(self) -> np.ndarray:
        """float32 (N,): the probability of the true class."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    def worst_mistakes(self, count: int) -> np.ndarray:
        """int64 (n,) positions of wrongly classified images, the least probable true class first: those of the largest loss."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(self.of_label[wrong], kind="stable")][:count]

    def best_and_worst(self, label: int) -> list[int]:
        """Positions of a class's image with its largest and with its smallest probability; one or none where there are no two."""
        own = np.flatnonzero(self.labels == label)
        own = own[np.argsort(-self.of_label[own], kind="stable")]
        return own[[0, -1]].tolist() if len(own) > 1 else own.tolist()

    def pictures(self, positions: list[int] | np.ndarray) -> Tensor:
        """uint8 (n, H, W, C) in 0..255, as the file has them."""
        return self.images.__getitems__(np.asarray(positions, np.int64).tolist())[0]


def predict_dataset(
    model: ImageClassifier, settings: dict[str, Any], test_file: str | None
) -> Predictions:
    """Runs the model on a test file, or else on the validation data of its run.

    Args:
        model: in eval mode, on the device to use. It takes the class names of the data where it has
            none.
        settings: of the `H5DataModule` that the model was trained on, its seed included; empty when
            unknown.
        test_file: another test file than the run's own.

    Raises:
        InputError: there are no such data, or they are not for this model.
    """
    height, width, _ = model.image_size
    settings = {
        **settings,
        "batch_size": BATCH_SIZE,
        "num_workers": 0,
        "image_size": (height, width),
    }
    if test_file is not None:
        settings |= {
            "train_file": None,
            "val_file": None,
            "val_fraction": None,
            "test_file": test_file,
        }
    data = H5DataModule(**settings)
    judged_on_test = data.draws is not None or data.files["test"] is not None
    if not judged_on_test and data.validates_on_test_file:
        raise InputError(
            "The run has neither a test file nor validation data. Name a file with "
            "--data.test_file."
        )
    data.prepare_data()
    try:
        data.setup("test" if judged_on_test else "validate")
    except InputError as error:  # the run's own files, which may have gone since
        if test_file is not None:
            raise
        raise InputError(f"{error} Or name other data with --data.test_file.") from error
    model.adopt(data.num_classes, data.image_shape, data.class_names)
    loader: Any = data.test_dataloader() if judged_on_test else data.val_dataloader()
    labels, predicted, probabilities, loss = [], [], [], 0.0
    with torch.inference_mode():
        for images, truth in loader:
            logits = model.averaged_logits(model.preprocess(images.to(model.device)))
            loss += model.compute_loss(logits, truth.to(model.device)).item() * len(truth)
            labels.append(truth)
            predicted.append(model.predicted_classes(logits).cpu())
            probabilities.append(model.probabilities(logits).cpu())
    truth, chosen = torch.cat(labels), torch.cat(predicted)
    classes = model.num_classes
    confusion = torch.bincount(truth * classes + chosen, minlength=classes**2).view(
        classes, classes
    )
    correct = int(confusion.diagonal().sum())
    return Predictions(
        images=loader.dataset,
        labels=truth.numpy(),
        predicted=chosen.numpy(),
        probabilities=torch.cat(probabilities).numpy(),
        evaluation=Evaluation(loss / len(truth), correct, len(truth), model.class_names, confusion),
        role="test" if judged_on_test else "validation",
        files=[reader.images.name for reader in loader.dataset.readers]
        if not data.draws
        else [f"drawn by {data.drawn}"],
    )
