"""Loads files of weights only into our own architectures.

Keras's layers are found by their kind, their order and the shapes of their weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io.keras_file import KerasFile, StoredWeight
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.happy_sequential import HappySequential
from signs_lightning.models.signs_functional import SignsFunctional
from signs_lightning.models.signs_resnet50 import Bottleneck, SignsResNet50, rows_after_stages

ARCHITECTURES: dict[str, type[ImageClassifier]] = {
    "happy": HappySequential,
    "signs": SignsFunctional,
    "resnet50": SignsResNet50,
}
RANKS = {1: "norm", 2: "dense", 4: "conv"}  # kind of a layer by its first array: gamma or kernel
# Keras's axes in PyTorch's order: (in, out) -> (out, in) and (H, W, in, out) -> (out, in, H, W)
PERMUTATIONS = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
MAX_LISTED = 6  # shapes that a message names
Stored = dict[str, list[list[StoredWeight]]]  # arrays of each layer by the layer's kind
UNFIT_ERRORS = (InputError, RuntimeError, ValueError, OverflowError)


def check_own_options(file: KerasFile, scale: str | None, output_layer: str | None) -> None:
    """Check that options suit our own architectures.

    Args:
        file: of weights only.
        scale: what the user says, or None.
        output_layer: likewise.

    Raises:
        InputError: they do not.
    """
    if scale not in (None, "/255"):
        raise InputError(
            f"scale is '{scale}', but {file.path.name} has weights only, and our architectures "
            "take '/255'."
        )
    if output_layer is not None:
        raise InputError(
            f"output_layer is '{output_layer}', but {file.path.name} has weights only, and our "
            "architectures have one output. Leave --output_layer out."
        )


def load_into_architecture(
    file: KerasFile,
    architecture: str | None = None,
    class_names: list[str] | None = None,
    image_size: tuple[int, int, int] | None = None,
) -> ImageClassifier:
    """Load a file of weights only.

    Args:
        file: legacy weights `.h5`, or `.weights.h5`.
        architecture: "happy", "signs" or "resnet50"; the only one that fits when omitted.
        class_names: names of the K classes.
        image_size: height, width and channels; when omitted, the square images that fit the dense
            layer.

    Raises:
        InputError: no architecture fits, or not the one that is named.
    """
    if architecture is not None and architecture not in ARCHITECTURES:
        raise InputError(
            f"architecture is '{architecture}', expected one of {', '.join(ARCHITECTURES)}."
        )
    names = [architecture] if architecture else list(ARCHITECTURES)
    stored = _read_layers(file)
    layers = [layer for layers in stored.values() for layer in layers]
    for name in names if stored["conv"] and stored["dense"] else []:
        arguments = _find_arguments(name, stored, image_size)
        if not _fits(name, arguments, stored):
            continue
        file.check_inflation(array.shape for layer in layers for array in layer)
        model = ARCHITECTURES[name](class_names=class_names, **arguments)
        for kind, modules in _tensors_by_kind(model.network).items():
            for tensors, arrays in zip(modules, stored[kind], strict=True):
                for tensor, array in zip(tensors, arrays, strict=True):
                    _copy(tensor, array.read())
        return model
    more = f" … ({len(layers)} layers)" if len(layers) > MAX_LISTED else ""
    shapes = ", ".join(str(layer[0].shape) for layer in layers[:MAX_LISTED]) + more
    raise InputError(
        f"{file.path.name} has weights only ({shapes or 'none at all'}), and they do not fit "
        f"{' or '.join(names)}. Name the file of the model's `to_json()` with `--architecture "
        "model.json`, or save the whole model in Keras, `model.save('model.keras')`, and import "
        "that."
    )


def keras_order(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers with weights in the order of Keras's `model.layers`.

    Keras sorts by distance from the output: a shortcut's layers come beside the last ones of the
    main path, after them.
    """
    for module in network.children():
        if isinstance(module, Bottleneck):
            main, shortcut = list(keras_order(module.main)), list(keras_order(module.shortcut))
            yield from [*main[:5], *shortcut[:1], main[5], *shortcut[1:]]
        elif isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            yield module
        else:
            yield from keras_order(module)


def keras_tensors(module: nn.Module) -> list[Tensor]:
    """Return a layer's weights in Keras's order.

    These are kernel and bias, or gamma, beta, moving mean and moving variance.
    """
    averages = ["running_mean", "running_var"] if isinstance(module, nn.BatchNorm2d) else []
    return [getattr(module, name) for name in ("weight", "bias", *averages)]


def _tensors_by_kind(network: nn.Module) -> dict[str, list[list[Tensor]]]:
    by_kind: dict[str, list[list[Tensor]]] = {kind: [] for kind in RANKS.values()}
    for module in keras_order(network):
        tensors = keras_tensors(module)
        by_kind[RANKS[tensors[0].dim()]].append(tensors)
    return by_kind


def _fits(name: str, arguments: dict[str, Any], stored: Stored) -> bool:
    """Return whether an architecture's weights have the stored shapes."""
    try:
        with torch.device("meta"):  # without memory
            by_kind = _tensors_by_kind(ARCHITECTURES[name](**arguments).network)
    except UNFIT_ERRORS:
        return False
    shapes = {
        kind: [[_keras_shape(tensor) for tensor in tensors] for tensors in layers]
        for kind, layers in by_kind.items()
    }
    return shapes == {
        kind: [[array.shape for array in arrays] for arrays in layers]
        for kind, layers in stored.items()
    }


def _keras_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return Keras's shape of a kernel, bias or moving average."""
    return tuple(tensor.shape[axis] for axis in np.argsort(PERMUTATIONS[tensor.dim()]))


@torch.no_grad()
def _copy(tensor: Tensor, values: np.ndarray) -> None:
    permuted = np.ascontiguousarray(values.transpose(PERMUTATIONS[values.ndim]))
    tensor.copy_(torch.from_numpy(permuted))


def _read_layers(file: KerasFile) -> Stored:
    """Return the arrays of the layers that have some, in the file's order."""
    if file.kind == "h5":
        arrays_of = file.legacy_layers()
    else:
        groups = sorted(file.children("layers"), key=_group_number)
        arrays_of = {group: file.variables(f"layers/{group}")[1] for group in groups}
    named: dict[str, list[tuple[str, list[StoredWeight]]]] = {kind: [] for kind in RANKS.values()}
    for name, arrays in arrays_of.items():
        if arrays and (kind := RANKS.get(len(arrays[0].shape))):
            named[kind].append((name, arrays))
    for layers in named.values():
        # `add([shortcut, x])` puts the shortcut first. The course's names tell the two apart.
        for k in range(len(layers) - 1):
            if layers[k][0].endswith("branch1") and layers[k + 1][0].endswith("branch2c"):
                layers[k : k + 2] = reversed(layers[k : k + 2])
    return {kind: [arrays for _, arrays in layers] for kind, layers in named.items()}


def _group_number(name: str) -> int:
    """Return the number in conv2d, conv2d_1, …, conv2d_10."""
    match = re.search(r"_(\d+)$", name)
    return int(match[1]) if match else 0


def _find_arguments(
    name: str, stored: Stored, image_size: tuple[int, int, int] | None
) -> dict[str, Any]:
    """Return the arguments with which an architecture could have such weights."""
    kernels = [layer[0].shape for layer in stored["conv"]]
    features, outputs = stored["dense"][-1][0].shape
    channels, width = kernels[0][2], kernels[0][3]
    arguments: dict[str, Any] = {"num_classes": 2 if name == "happy" else outputs}
    if name == "happy":
        size = 2 * _root(features, 32)
    elif name == "signs":
        size = 32 * _root(features, 16)
    else:
        filters = [shape[3] for shape in kernels if shape[:2] == (3, 3)]  # one for each block
        arguments["width"] = width
        blocks = [filters.count(width * 2**stage) for stage in range(4)]
        arguments["identity_blocks"] = tuple(count - 1 for count in blocks)
        rows = _root(features, 32 * width)
        sizes = (size for size in (64, *range(37, 1025)) if rows_after_stages(size) // 2 == rows)
        size = next(sizes, 64)
    return arguments | {"image_size": image_size or (size, size, channels)}


def _root(features: int, filters: int) -> int:
    """Return the rows of a square feature map that flattens to so many features."""
    return round((features / filters) ** 0.5)
