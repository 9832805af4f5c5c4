"""The pictures of a report: the worst mistakes, and Grad-CAM of every class."""

from __future__ import annotations

import torch

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.report.figures import NAME_LENGTH, Tile
from signs_lightning.report.gradcam import grad_cam, overlay
from signs_lightning.report.predictions import Predictions
from signs_lightning.runtime.escaping import shorten

MAX_MISTAKES = 24
MAX_EXPLAINED = 100  # classes; of more, those with the lowest recall


def format_probability(value: float) -> str:
    """Return `p=0.983`; `p<0.001` or `p>0.999` for what would be rounded to 0 or 1."""
    if 0.0005 <= value < 0.9995:
        return f"p={value:.3f}"
    return "p<0.001" if value < 0.5 else "p>0.999"


def mistake_tiles(predictions: Predictions) -> list[Tile]:
    """Return the wrongly classified images with the largest loss, worst first."""
    positions = predictions.worst_mistakes(MAX_MISTAKES)
    names = _names(predictions)
    if not len(positions):
        return []
    tiles = []
    for position, image in zip(positions, predictions.pictures(positions), strict=True):
        label, predicted = predictions.labels[position], predictions.predicted[position]
        true = format_probability(predictions.label_probability[position])
        confidence = format_probability(predictions.confidence[position])
        lines = [f"true: {names[label]}, {true}", f"predicted: {names[predicted]}, {confidence}"]
        lines.append(f"image {position}")
        tiles.append(Tile([predictions.drawn(image)], lines))
    return tiles


def gradcam_tiles(model: ImageClassifier, predictions: Predictions) -> list[Tile]:
    """Return Grad-CAM of each class's most and least probable image.

    Raises:
        InputError: the network has no convolution.
    """
    names = _names(predictions)
    recall = [float(row["recall"]) for row in predictions.evaluation.per_class()]
    hardest = sorted(range(len(names)), key=recall.__getitem__)[:MAX_EXPLAINED]
    chosen: list[tuple[int, int, str]] = []  # label, position, which
    for label in sorted(hardest):
        ends = zip(predictions.best_and_worst(label), ("best", "worst"), strict=False)
        chosen += [(label, position, which) for position, which in ends]
    positions = [position for _, position, _ in chosen]
    labels, predicted = (
        torch.from_numpy(of[positions]) for of in (predictions.labels, predictions.predicted)
    )
    pictures = predictions.pictures(positions)
    label_heat, predicted_heat = (grad_cam(model, pictures, k).numpy() for k in (labels, predicted))
    tiles = []
    for k, (label, position, which) in enumerate(chosen):
        picture, other = predictions.drawn(pictures[k]), int(predicted[k])
        probability = format_probability(predictions.label_probability[position])
        heat = [label_heat[k]]
        lines = [f"{which} of {names[label]}: {probability}, image {position}"]
        if other != label:
            probability = format_probability(predictions.confidence[position])
            heat.append(predicted_heat[k])
            lines.append(f"predicted {names[other]}, {probability}")
            lines.append(f"evidence for {names[label]}, then for {names[other]}")
        tiles.append(Tile([picture, *(overlay(picture, part) for part in heat)], lines))
    return tiles


def _names(predictions: Predictions) -> list[str]:
    return [shorten(name, NAME_LENGTH) for name in predictions.evaluation.class_names]
