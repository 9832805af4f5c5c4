"""Our three architectures as Keras configs, with the names and the layer order of the course."""

from __future__ import annotations

from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.happy_sequential import HappySequential
from signs_lightning.models.signs_functional import SignsFunctional
from signs_lightning.models.signs_resnet50 import SignsResNet50

Layer = tuple[
    str, str, dict[str, Any]
]  # class, name, arguments; what is left out is Keras's default


def course_config(model: ImageClassifier) -> dict[str, Any]:
    """The Keras config of one of our architectures, for its number of classes and image size.

    Raises:
        InputError: another model.
    """
    if isinstance(model, HappySequential):
        return _functional("HappyModel", model, _chain(_happy()))
    if isinstance(model, SignsFunctional):
        return _functional("SignsFunctional", model, _chain(_signs(model.num_classes)))
    if isinstance(model, SignsResNet50):
        return _functional("ResNet50", model, _resnet(model))
    raise InputError(
        f"A {type(model).__name__} cannot be written for Keras, expected HappySequential, "
        "SignsFunctional, SignsResNet50 or FromKeras."
    )


def _happy() -> list[Layer]:
    return [
        ("ZeroPadding2D", "zero_padding2d", {"padding": 3}),
        ("Conv2D", "conv0", {"filters": 32, "kernel_size": [7, 7]}),
        ("BatchNormalization", "bn0", {"axis": 3}),
        ("ReLU", "re_lu", {}),
        ("MaxPooling2D", "max_pool0", {"pool_size": [2, 2]}),
        ("Flatten", "flatten", {}),
        ("Dense", "fc", {"units": 1, "activation": "sigmoid"}),
    ]


def _signs(classes: int) -> list[Layer]:
    return [
        ("Conv2D", "conv2d", {"filters": 8, "kernel_size": [4, 4], "padding": "same"}),
        ("ReLU", "re_lu", {}),
        ("MaxPooling2D", "max_pooling2d", {"pool_size": [8, 8], "padding": "same"}),
        ("Conv2D", "conv2d_1", {"filters": 16, "kernel_size": [2, 2], "padding": "same"}),
        ("ReLU", "re_lu_1", {}),
        ("MaxPooling2D", "max_pooling2d_1", {"pool_size": [4, 4], "padding": "same"}),
        ("Flatten", "flatten", {}),
        ("Dense", "dense", {"units": classes, "activation": "softmax"}),
    ]


def _resnet(model: SignsResNet50) -> list[tuple[Layer, list[str]]]:
    """Each layer and the names of those it takes, in the order of Keras's `model.layers`."""
    momentum = {"axis": 3, "momentum": model.bn_momentum}
    layers = _chain(
        [
            ("ZeroPadding2D", "zero_padding2d", {"padding": 3}),
            ("Conv2D", "conv1", {"filters": model.width, "kernel_size": [7, 7], "strides": [2, 2]}),
            ("BatchNormalization", "bn_conv1", momentum),
            ("ReLU", "relu1", {}),
            ("MaxPooling2D", "max_pool", {"pool_size": [3, 3], "strides": [2, 2]}),
        ]
    )
    last = "max_pool"
    for stage, identities in enumerate(model.identity_blocks):
        filters = model.width * 2**stage
        for block in range(identities + 1):
            stride = 2 if stage > 0 and block == 0 else 1
            where = f"{stage + 2}{chr(ord('a') + block)}"
            first = last
            for part, size, channels in (
                ("2a", 1, filters),
                ("2b", 3, filters),
                ("2c", 1, 4 * filters),
            ):
                step = stride if part == "2a" else 1
                arguments = {
                    "filters": channels,
                    "kernel_size": [size, size],
                    "strides": [step, step],
                    "padding": "same",
                }
                conv, norm, relu = (
                    f"res{where}_branch{part}",
                    f"bn{where}_branch{part}",
                    f"relu{where}_{part}",
                )
                layers.append((("Conv2D", conv, arguments), [last]))
                if part == "2c" and block == 0:
                    shortcut = {
                        "filters": 4 * filters,
                        "kernel_size": [1, 1],
                        "strides": [stride, stride],
                    }
                    layers.append((("Conv2D", f"res{where}_branch1", shortcut), [first]))
                layers.append((("BatchNormalization", norm, momentum), [conv]))
                last = norm
                if part != "2c":
                    layers.append((("ReLU", relu, {}), [norm]))
                    last = relu
            if block == 0:
                layers.append(
                    (
                        ("BatchNormalization", f"bn{where}_branch1", momentum),
                        [f"res{where}_branch1"],
                    )
                )
                first = f"bn{where}_branch1"
            layers += [
                (("Add", f"add{where}", {}), [last, first]),
                (("ReLU", f"relu{where}", {}), [f"add{where}"]),
            ]
            last = f"relu{where}"
    head: list[Layer] = [
        ("AveragePooling2D", "avg_pool", {"pool_size": [2, 2]}),
        ("Flatten", "flatten", {}),
        ("Dense", "fc", {"units": model.num_classes, "activation": "softmax"}),
    ]
    return layers + _chain(head, last)


def _chain(layers: list[Layer], first: str = "image") -> list[tuple[Layer, list[str]]]:
    """Every layer on the one before it."""
    names = [first, *(name for _, name, _ in layers)]
    return [(layer, [before]) for layer, before in zip(layers, names[:-1], strict=True)]


def _functional(
    name: str, model: ImageClassifier, layers: list[tuple[Layer, list[str]]]
) -> dict[str, Any]:
    image = {"batch_shape": [None, *model.image_size], "dtype": "float32", "name": "image"}
    entries: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "config": image, "name": "image", "inbound_nodes": []}
    ]
    for (class_name, own, arguments), inputs in layers:
        nodes = [[[taken, 0, 0, {}] for taken in inputs]]
        entries.append(
            {
                "class_name": class_name,
                "config": {"name": own, "trainable": True, **arguments},
                "name": own,
                "inbound_nodes": nodes,
            }
        )
    ends = {"input_layers": ["image", 0, 0], "output_layers": [layers[-1][0][1], 0, 0]}
    return {
        "class_name": "Functional",
        "config": {"name": name, "trainable": True, "layers": entries, **ends},
    }
