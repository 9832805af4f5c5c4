"""The two sides of a comparison, loaded from what the command line names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.checkpoints.load_model import KERAS_SUFFIXES, load_model
from signs_lightning.checkpoints.own_model import package_model
from signs_lightning.errors import InputError, UnnamedModelError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.input_scales import Scale, rescale_inputs
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.other_inputs import describe_inputs
from signs_lightning.models.stored_images import standardize, standardizes
from signs_lightning.models.weights_file import make_model, read_weights
from signs_lightning.runtime.escaping import shorten
from signs_lightning.verify.own_module import is_own_module, load_weights, make_own_module


@dataclass
class Side:
    """One of the two models that are compared.

    Attributes:
        name: as the command line has it.
        kind: "Keras file", "checkpoint", "module" or "ONNX file".
        network: runs in PyTorch; None where only probabilities are to be had.
        prepare: uint8 (N, H, W, C) → what the network takes, as the model's own pipeline does it;
            None for a module that prepares nothing, which is given what the other's network takes.
        probabilities: the network's output → probabilities (N, K); None where nothing tells whether
            it is one.
        predict: uint8 (N, H, W, C) → probabilities float32 (N, K); None where nothing tells.
        image_size: height, width and channels, as far as known.
        class_names: in label order, as far as known.
        keras_file: the file that Keras itself can read.
        scale: that of the images, of a Keras file.
        model: the whole classifier, where it is one of this package or a LightningModule.
        notes: what was inferred.
    """

    name: str
    kind: str
    network: nn.Module | None = None
    prepare: Callable[[Tensor], Tensor] | None = None
    probabilities: Callable[[Tensor], Tensor] | None = None
    predict: Callable[[Tensor], Tensor] | None = None
    image_size: tuple[int, int, int] | None = None
    class_names: list[str] | None = None
    keras_file: Path | None = None
    scale: Scale | None = None
    model: nn.Module | None = None
    notes: list[str] = field(default_factory=list)


def load_side(
    name: str,
    scale: Scale | None = None,
    weights: str | None = None,
    model: str | None = None,
    known: dict[str, Any] | None = None,
) -> Side:
    """Load a side.

    Args:
        name: Keras file, checkpoint, run folder, ONNX file, `module.py:Class`, or a safetensors
            file.
        scale: of a Keras file, or what a module without `preprocess` takes.
        weights: file of a module's weights.
        model: `module.py:Class`, or a model of this package, that the weights of a safetensors
            file belong to.
        known: arguments of a module that the other side tells.

    Raises:
        InputError: it cannot be loaded, or takes more than images.
    """
    if weights is not None and not is_own_module(name):
        raise InputError(f"Weights are given for {name}, which has its own. Leave {weights} out.")
    if name.endswith(".safetensors"):
        return _safetensors_side(name, scale, model, known or {})
    if is_own_module(name):
        return _own_side(name, make_own_module(name, known or {}), scale, weights)
    is_keras = name.endswith(KERAS_SUFFIXES)
    try:
        loaded, _ = load_model(name, "verify", scale if is_keras else None)
    except UnnamedModelError as error:
        raise InputError(
            f"{name} holds a model of your own. Write FILE.py:CLASS in its place, and the "
            "checkpoint behind --weights."
        ) from error
    if loaded.other_inputs:
        raise InputError(
            f"{name} takes {describe_inputs(loaded.other_inputs)} beside the image, and models of "
            "images alone are compared."
        )
    if not isinstance(loaded, ImageClassifier):
        side = Side(name, "ONNX file", predict=lambda images: loaded.predict(images))
        side.image_size, side.class_names = loaded.image_size, loaded.known_class_names
        return side
    side = side_of_classifier(name, "Keras file" if is_keras else "checkpoint", loaded)
    if is_keras and isinstance(loaded, FromKeras):
        side.keras_file, side.scale = Path(name), loaded.hparams["scale"]
    return side


def side_of_classifier(name: str, kind: str, model: ImageClassifier) -> Side:
    """Return the side of a model of this package."""

    def prepare(images: Tensor) -> Tensor:
        pixels, scale = model.preprocess(images), model.hparams.get("scale")
        if isinstance(model, FromKeras) and not standardizes(scale):
            return rescale_inputs(pixels, model.hparams["scale"])
        return standardize(pixels, scale)

    return Side(
        name, kind, model.network, prepare, model.probabilities, model.predict,
        model.image_size, model.known_class_names, model=model,
    )  # fmt: skip


def _safetensors_side(
    name: str, scale: Scale | None, model: str | None, known: dict[str, Any]
) -> Side:
    """Return the side of a file of weights and the network that they belong to."""
    metadata = read_weights(name)[1]
    module, _, own = str(metadata.get("model", "")).rpartition(".")
    if model is None and module.startswith("signs_lightning."):
        model = own
    if model is None:
        raise InputError(
            f"{name} holds weights alone. Name their network: --model FILE.py:CLASS, or a model of "
            "this package such as SignsFunctional."
        )
    settings = metadata.get("settings")
    if isinstance(settings, dict):
        facts = {k: settings[k] for k in ("num_classes", "image_size") if k in settings}
        known = known | {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
    if is_own_module(model):
        return _own_side(name, make_own_module(model, known, metadata), scale, name)
    if (kind := package_model(model)) is None:
        raise InputError(
            f"--model is '{shorten(model)}', expected FILE.py:CLASS, or a model of this package "
            "such as SignsFunctional."
        )
    return _own_side(name, make_model(kind, metadata, known, name), scale, name)


def _own_side(name: str, network: nn.Module, scale: Scale | None, weights: str | None) -> Side:
    note = f"{name}: weights as it makes them itself (no --weights)"
    if weights is not None:
        note = f"{name}: {load_weights(network, weights)}"
    network.eval()
    if isinstance(network, ImageClassifier):
        side = side_of_classifier(name, "module", network)
        side.notes.append(note)
        return side
    side = Side(name, "module", network, model=network, notes=[note])
    preprocess = getattr(network, "preprocess", None)
    if callable(preprocess):
        side.prepare = preprocess
        side.notes.append(f"{name}: its `preprocess` prepares the pixels")
    elif scale is not None:
        side.prepare = lambda images: rescale_inputs(to_float(images), scale)
    else:
        side.notes.append(f"{name}: has no `preprocess`, so it is given the other side's pixels")
    size = getattr(network, "image_size", None)
    if isinstance(size, list | tuple) and len(size) == 3:
        side.image_size = (int(size[0]), int(size[1]), int(size[2]))
    return side


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, H, W, C) in 0..255 → float32 (N, C, H, W) in 0..1."""
    return images.permute(0, 3, 1, 2).to(torch.get_default_dtype()).div(255).contiguous()
