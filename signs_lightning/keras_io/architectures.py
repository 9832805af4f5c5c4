"""Files of weights only, loaded into our own architectures: by the order in which Keras keeps layers of a kind, and by shape."""

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
RANKS = {1: "norm", 2: "dense", 4: "conv"}  # of a layer's first array: gamma, or a kernel
# Keras's axes in PyTorch's order: (in, out) -> (out, in) and (H, W, in, out) -> (out, in, H, W)
PERMUTATIONS = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
Stored = dict[str, list[list[StoredWeight]]]


def load_into_architecture(
    file: KerasFile,
    architecture: str | None = None,
    class_names: list[str] | None = None,
    image_size: tuple[int, int, int] | None = None,
) -> ImageClassifier:
    """Loads a file of weights only.

    Args:
        file: legacy weights `.h5`, or `.weights.h5`.
        architecture: "happy", "signs" or "resnet50"; the only one that fits when omitted.
        class_names: names of the K classes.
        image_size: height, width and channels; told from the dense layer, for square images, when
            omitted.

    Raises:
        InputError: no architecture fits, or not the one that is named.
    """
    if architecture is not None and architecture not in ARCHITECTURES:
        raise InputError(
            f"architecture is '{architecture}', expected one of {', '.join(ARCHITECTURES)}."
        )
    names = [architecture] if architecture else list(ARCHITECTURES)
    stored = _stored(file)
    for name in names if all(stored[kind] for kind in ("conv", "dense")) else []:
        arguments = _arguments(name, stored, image_size)
        try:
            with torch.device(
                "meta"
            ):  # shapes only: nothing is allocated before they are known to fit
                slots = _slots(ARCHITECTURES[name](**arguments).network)
        except (InputError, RuntimeError, ValueError, OverflowError):
            continue
        if _shapes(slots) != {
            kind: [[array.shape for array in layer] for layer in stored[kind]] for kind in stored
        }:
            continue
        file.check_inflation(
            array.shape for layers in stored.values() for layer in layers for array in layer
        )
        model = ARCHITECTURES[name](class_names=class_names, **arguments)
        for kind, tensors in _slots(model.network).items():
            for layer, arrays in zip(tensors, stored[kind], strict=True):
                for tensor, array in zip(layer, arrays, strict=True):
                    _copy(tensor, array.read())
        return model
    shapes = [str(layer[0].shape) for layers in stored.values() for layer in layers]
    shown = ", ".join(shapes[:6]) + (f" … ({len(shapes)} layers)" if len(shapes) > 6 else "")
    raise InputError(
        f"{file.path.name} has weights only ({shown or 'none at all'}), and they do not fit "
        f"{' or '.join(names)}. "
        "Save the whole model in Keras, `model.save('model.keras')`, and import that."
    )


def keras_order(network: nn.Module) -> Iterator[nn.Module]:
    """The layers with weights in the order of Keras's `model.layers`.

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
    """A layer's weights in Keras's order: kernel and bias, or gamma, beta, moving mean and moving variance."""
    names = ["weight", "bias"] + (
        ["running_mean", "running_var"] if isinstance(module, nn.BatchNorm2d) else []
    )
    return [getattr(module, name) for name in names]


def _slots(network: nn.Module) -> dict[str, list[list[Tensor]]]:
    slots: dict[str, list[list[Tensor]]] = {kind: [] for kind in RANKS.values()}
    for module in keras_order(network):
        tensors = keras_tensors(module)
        slots[RANKS[tensors[0].dim()]].append(tensors)
    return slots


def _shapes(slots: dict[str, list[list[Tensor]]]) -> dict[str, list[list[tuple[int, ...]]]]:
    return {
        kind: [[keras_shape(tensor) for tensor in layer] for layer in layers]
        for kind, layers in slots.items()
    }


def keras_shape(tensor: Tensor) -> tuple[int, ...]:
    """Keras's shape of a kernel, bias or moving average."""
    return tuple(tensor.shape[axis] for axis in np.argsort(PERMUTATIONS[tensor.dim()]))


@torch.no_grad()
def _copy(tensor: Tensor, values: np.ndarray) -> None:
    tensor.copy_(
        torch.from_numpy(np.ascontiguousarray(values.transpose(PERMUTATIONS[values.ndim])))
    )


def _stored(file: KerasFile) -> Stored:
    """The layers that have arrays, by kind; each kind in the file's order."""
    if file.kind == "h5":
        named = file.legacy_layers()
    else:  # conv2d, conv2d_1, …, conv2d_10
        groups = sorted(
            file.children("layers"), key=lambda name: int((re.findall(r"_(\d+)$", name) or [0])[0])
        )
        named = {group: file.variables(f"layers/{group}")[1] for group in groups}
    stored: Stored = {kind: [] for kind in RANKS.values()}
    names: dict[str, list[str]] = {kind: [] for kind in RANKS.values()}
    for name, arrays in named.items():
        if arrays and (kind := RANKS.get(len(arrays[0].shape))):
            stored[kind].append(arrays)
            names[kind].append(name)
    for kind, layers in stored.items():
        _put_shortcuts_last(layers, names[kind])
    return stored


def _put_shortcuts_last(layers: list[list[StoredWeight]], names: list[str]) -> None:
    """`add([shortcut, x])` puts a shortcut before its neighbour; the course's names, res2a_branch1 and …2c, tell the two apart."""
    for k in range(len(names) - 1):
        if names[k].endswith("branch1") and names[k + 1].endswith("branch2c"):
            names[k : k + 2] = reversed(names[k : k + 2])
            layers[k : k + 2] = reversed(layers[k : k + 2])


def _arguments(
    name: str, stored: Stored, image_size: tuple[int, int, int] | None
) -> dict[str, Any]:
    """What an architecture must be made with so that such weights fit, if it can."""
    kernels = [layer[0].shape for layer in stored["conv"]]
    features, outputs = stored["dense"][-1][0].shape
    channels, width = kernels[0][2], kernels[0][3]
    arguments: dict[str, Any] = {"num_classes": 2 if name == "happy" else outputs}
    if name == "resnet50":  # a block has one 3×3 convolution
        inner = [shape[3] for shape in kernels if shape[:2] == (3, 3)]
        arguments |= {
            "width": width,
            "identity_blocks": tuple(inner.count(width * 2**k) - 1 for k in range(4)),
        }
        rows = _root(features, 32 * width)
        size = next(
            (size for size in (64, *range(37, 1025)) if rows_after_stages(size) // 2 == rows), 64
        )
    elif name == "happy":
        size = 2 * _root(features, 32)
    else:
        size = 32 * _root(features, 16)
    return arguments | {"image_size": image_size or (size, size, channels)}


def _root(features: int, filters: int) -> int:
    """Rows of a square feature map that flattens to so many features."""
    return round((features / filters) ** 0.5)
