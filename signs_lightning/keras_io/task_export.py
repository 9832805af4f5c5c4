"""A model of a task as Keras has it: the last layer's activation, and values in their own units."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.classifier import ImageClassifier

ACTIVATIONS = {"multilabel": "sigmoid", "regression": "linear"}  # of the last layer


def end_for_task(model: ImageClassifier, last: dict[str, Any]) -> None:
    """Give the last layer of a Keras configuration the outputs of a model's task, in place.

    Args:
        model: of any task, or none.
        last: entry of the Dense layer.
    """
    if (task := model.task_rules.name) is not None:
        last["config"] |= {"units": model.num_classes, "activation": ACTIVATIONS[task]}


def with_own_units(model: ImageClassifier) -> ImageClassifier:
    """Return a model whose network gives a regression's values themselves, or the model as it is.

    The affine map from standardised targets goes into a copy of the last layer.

    Raises:
        InputError: a Keras file's model was given units of its own.
    """
    if model.task_rules.name != "regression":
        return model
    mean, scale = model._target_mean, model._target_scale
    if bool((mean == 0).all()) and bool((scale == 1).all()):
        return model
    if isinstance(model, FromKeras):
        raise InputError(
            "The model has target_mean and target_scale, and a Keras file no place for them. Train "
            "it without, as Keras does, or use --format onnx."
        )
    model = copy.deepcopy(model)
    last = [layer for layer in model.network.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.copy_(last.weight.double() * scale[:, None])
        last.bias.copy_(last.bias.double() * scale + mean)
    names = ("target_mean", "target_scale")
    model.hparams.update(
        {name: [value] * len(mean) for name, value in zip(names, (0.0, 1.0), strict=True)}
    )
    model.task_rules.restore(model)
    return model


def unit_of_outputs(model: ImageClassifier, outputs: np.ndarray) -> np.ndarray:
    """Return what differences of outputs (N, K) are measured by: 1 for probabilities.

    Values of a regression are measured by the largest of each column.
    """
    if model.task_rules.name != "regression":
        return np.ones(1, np.float32)
    return np.maximum(np.abs(outputs).max(axis=0), np.finfo(np.float32).tiny)
