"""The pictures that a report shows: the worst mistakes, and where the network looked in the best and the worst of each class."""

from __future__ import annotations

import torch

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.report.figures import Tile, shorten_name
from signs_lightning.report.gradcam import grad_cam, overlay
from signs_lightning.report.predictions import Predictions

MAX_MISTAKES = 24
MAX_EXPLAINED = 100  # classes; of more, those with the lowest recall


def probability(value: float) -> str:
    """`p=0.983`; what would be rounded to 0 or 1 says so: `p<0.001`, `p>0.999`."""
    if 0.0005 <= value < 0.9995:
        return f"p={value:.3f}"
    return "p<0.001" if value < 0.5 else "p>0.999"


def mistake_tiles(judged: Predictions) -> list[Tile]:
    """The images with the largest loss among those classified wrongly, worst first."""
    positions = judged.worst_mistakes(MAX_MISTAKES)
    names = [shorten_name(name) for name in judged.evaluation.class_names]
    tiles = []
    for position, image in zip(
        positions, judged.pictures(positions) if len(positions) else [], strict=True
    ):
        true, said = int(judged.labels[position]), int(judged.predicted[position])
        lines = [
            f"true: {names[true]}, {probability(judged.of_label[position])}",
            f"predicted: {names[said]}, {probability(judged.confidence[position])}",
            f"image {position}",
        ]
        tiles.append(Tile([image.numpy()], lines))
    return tiles


def gradcam_tiles(model: ImageClassifier, judged: Predictions) -> list[Tile]:
    """Grad-CAM of the image of each class with the largest and with the smallest probability of that class.

    Raises:
        InputError: the network has no convolution.
    """
    names = [shorten_name(name) for name in judged.evaluation.class_names]
    recall = [float(row["recall"]) for row in judged.evaluation.per_class()]
    classes = sorted(sorted(range(len(names)), key=recall.__getitem__)[:MAX_EXPLAINED])
    wanted: list[tuple[int, int, str]] = [  # class, position, which
        (label, position, which)
        for label in classes
        for position, which in zip(judged.best_and_worst(label), ("best", "worst"), strict=False)
    ]
    pictures = judged.pictures([position for _, position, _ in wanted])
    predicted = torch.tensor([int(judged.predicted[position]) for _, position, _ in wanted])
    true_heats = grad_cam(model, pictures, torch.tensor([label for label, _, _ in wanted])).numpy()
    said_heats = grad_cam(model, pictures, predicted).numpy()
    tiles = []
    for k, (label, position, which) in enumerate(wanted):
        picture, said = pictures[k].numpy(), int(predicted[k])
        heats = [true_heats[k]] if said == label else [true_heats[k], said_heats[k]]
        lines = [
            f"{which} of {names[label]}: {probability(judged.of_label[position])}, image {position}"
        ]
        if said != label:
            lines += [
                f"predicted {names[said]}, {probability(judged.confidence[position])}",
                f"evidence for {names[label]}, then for {names[said]}",
            ]
        tiles.append(Tile([picture, *(overlay(picture, heat) for heat in heats)], lines))
    return tiles
