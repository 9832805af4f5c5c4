"""Our three architectures as Keras configs, with the course's names."""

from __future__ import annotations

from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io.task_export import end_for_task
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.happy_sequential import HappySequential
from signs_lightning.models.signs_functional import SignsFunctional
from signs_lightning.models.signs_resnet50 import SignsResNet50


def course_config(model: ImageClassifier) -> dict[str, Any]:
    """Return the Keras config of one of our architectures.

    Raises:
        InputError: another model.
    """
    config = _FunctionalConfig(model.image_size)
    if isinstance(model, HappySequential):
        name = "HappyModel"
        _add_happy(config)
    elif isinstance(model, SignsFunctional):
        name = "SignsFunctional"
        _add_signs(config, model.num_classes)
    elif isinstance(model, SignsResNet50):
        name = "ResNet50"
        _add_resnet(config, model)
    else:
        raise InputError(
            f"A {type(model).__name__} cannot be written for Keras, expected HappySequential, "
            "SignsFunctional, SignsResNet50 or FromKeras."
        )
    end_for_task(model, config.entries[-1])
    ends = {"input_layers": ["image", 0, 0], "output_layers": [config.last, 0, 0]}
    layers = {"name": name, "trainable": True, "layers": config.entries, **ends}
    return {"class_name": "Functional", "config": layers}


class _FunctionalConfig:
    """The layers of a Functional config.

    Attributes:
        entries: the layers as Keras writes them, in the order of its `model.layers`.
        last: name of the last layer.
    """

    def __init__(self, image_size: tuple[int, int, int]) -> None:
        image = {"batch_shape": [None, *image_size], "dtype": "float32", "name": "image"}
        self.entries: list[dict[str, Any]] = [
            {"class_name": "InputLayer", "config": image, "name": "image", "inbound_nodes": []}
        ]
        self.last = "image"

    def add(self, class_name: str, name: str, *inputs: str, **arguments: Any) -> str:
        """Add a layer and return its name.

        Its input is the last layer if none is named. Arguments that are left out have Keras's
        defaults.
        """
        nodes = [[[layer, 0, 0, {}] for layer in inputs or (self.last,)]]
        config = {"name": name, "trainable": True, **arguments}
        entry = {"class_name": class_name, "config": config, "name": name, "inbound_nodes": nodes}
        self.entries.append(entry)
        self.last = name
        return name


def _add_happy(config: _FunctionalConfig) -> None:
    config.add("ZeroPadding2D", "zero_padding2d", padding=3)
    config.add("Conv2D", "conv0", filters=32, kernel_size=[7, 7])
    config.add("BatchNormalization", "bn0", axis=3)
    config.add("ReLU", "re_lu")
    config.add("MaxPooling2D", "max_pool0", pool_size=[2, 2])
    config.add("Flatten", "flatten")
    config.add("Dense", "fc", units=1, activation="sigmoid")


def _add_signs(config: _FunctionalConfig, num_classes: int) -> None:
    config.add("Conv2D", "conv2d", filters=8, kernel_size=[4, 4], padding="same")
    config.add("ReLU", "re_lu")
    config.add("MaxPooling2D", "max_pooling2d", pool_size=[8, 8], padding="same")
    config.add("Conv2D", "conv2d_1", filters=16, kernel_size=[2, 2], padding="same")
    config.add("ReLU", "re_lu_1")
    config.add("MaxPooling2D", "max_pooling2d_1", pool_size=[4, 4], padding="same")
    config.add("Flatten", "flatten")
    config.add("Dense", "dense", units=num_classes, activation="softmax")


def _add_resnet(config: _FunctionalConfig, model: SignsResNet50) -> None:
    momentum = model.bn_momentum
    config.add("ZeroPadding2D", "zero_padding2d", padding=3)
    config.add("Conv2D", "conv1", filters=model.width, kernel_size=[7, 7], strides=[2, 2])
    config.add("BatchNormalization", "bn_conv1", axis=3, momentum=momentum)
    config.add("ReLU", "relu1")
    config.add("MaxPooling2D", "max_pool", pool_size=[3, 3], strides=[2, 2])
    for stage, identities in enumerate(model.identity_blocks):
        for block in range(identities + 1):
            stride = 2 if stage > 0 and block == 0 else 1
            name = f"{stage + 2}{chr(ord('a') + block)}"
            _add_block(config, name, model.width * 2**stage, stride, block == 0, momentum)
    config.add("AveragePooling2D", "avg_pool", pool_size=[2, 2])
    config.add("Flatten", "flatten")
    config.add("Dense", "fc", units=model.num_classes, activation="softmax")


def _add_block(
    config: _FunctionalConfig, block: str, filters: int, stride: int, projection: bool,
    momentum: float,
) -> None:  # fmt: skip
    """Add a bottleneck block; a projection is the convolution of its shortcut."""
    shortcut = config.last
    parts = (("2a", 1, filters, stride), ("2b", 3, filters, 1), ("2c", 1, 4 * filters, 1))
    for part, size, channels, step in parts:
        conv = config.add(
            "Conv2D", f"res{block}_branch{part}",
            filters=channels, kernel_size=[size] * 2, strides=[step] * 2, padding="same",
        )  # fmt: skip
        if part == "2c" and projection:
            shortcut = config.add(
                "Conv2D", f"res{block}_branch1", shortcut,
                filters=channels, kernel_size=[1, 1], strides=[stride] * 2,
            )  # fmt: skip
        norm = f"bn{block}_branch{part}"
        config.add("BatchNormalization", norm, conv, axis=3, momentum=momentum)
        if part != "2c":
            config.add("ReLU", f"relu{block}_{part}")
    main, norm = config.last, f"bn{block}_branch1"
    if projection:
        shortcut = config.add("BatchNormalization", norm, shortcut, axis=3, momentum=momentum)
    config.add("Add", f"add{block}", main, shortcut)
    config.add("ReLU", f"relu{block}")
