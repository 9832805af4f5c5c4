"""MobileNet V3, small and large, of keras.applications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from signs_lightning.translate.applications.building import Builder, make_divisible
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.tensor_operations import operate

NORM = {"epsilon": 1e-3, "momentum": 0.999}
# Expansion, filters, stride, whether the kernel is the large one, the block is squeezed, and its
# activation is the model's.
SMALL = [
    (1, 16, 2, 0, 1, 0), (72 / 16, 24, 2, 0, 0, 0), (88 / 24, 24, 1, 0, 0, 0), (4, 40, 2, 1, 1, 1),
    (6, 40, 1, 1, 1, 1), (6, 40, 1, 1, 1, 1), (3, 48, 1, 1, 1, 1), (3, 48, 1, 1, 1, 1),
    (6, 96, 2, 1, 1, 1), (6, 96, 1, 1, 1, 1), (6, 96, 1, 1, 1, 1),
]  # fmt: skip
LARGE = [
    (1, 16, 1, 0, 0, 0), (4, 24, 2, 0, 0, 0), (3, 24, 1, 0, 0, 0), (3, 40, 2, 1, 1, 0),
    (3, 40, 1, 1, 1, 0), (3, 40, 1, 1, 1, 0), (6, 80, 2, 0, 0, 1), (2.5, 80, 1, 0, 0, 1),
    (2.3, 80, 1, 0, 0, 1), (2.3, 80, 1, 0, 0, 1), (6, 112, 1, 0, 1, 1), (6, 112, 1, 0, 1, 1),
    (6, 160, 2, 1, 1, 1), (6, 160, 1, 1, 1, 1), (6, 160, 1, 1, 1, 1),
]  # fmt: skip
Activation = Callable[[Any], Any]


def mobilenet_v3(make: Builder, x: Any, name: str) -> Any:
    """Return the result of a MobileNet V3."""
    options, axis = make.options, 1 if make.axis == 1 else -1
    alpha, is_plain = options["alpha"], options["minimalistic"]

    def relu(x: Any) -> Any:
        return make.layer("ReLU", x)

    def hard_swish(x: Any) -> Any:
        if session().release[0] >= 3:
            return make.act(x, "hard_swish")
        return make.layer("Multiply", [x, hard_sigmoid(make, x)])

    activation = relu if is_plain else hard_swish
    if options["include_preprocessing"]:
        x = make.layer("Rescaling", x, scale=1.0 / 127.5, offset=-1.0)
    x = make.conv(x, 16, 3, strides=(2, 2), padding="same", use_bias=False, name=_old("conv"))
    x = activation(make.norm(x, axis, name=_old("conv/BatchNorm"), **NORM))
    blocks, last = (SMALL, 1024) if name.endswith("Small") else (LARGE, 1280)
    for k, (expansion, filters, stride, is_large, is_squeezed, is_own) in enumerate(blocks):
        size = 5 if is_large and not is_plain else 3
        act = activation if is_own else relu
        squeezed = bool(is_squeezed) and not is_plain
        x = _block(make, x, expansion, make_divisible(filters * alpha), size, stride, squeezed,
                   act, k)  # fmt: skip
    last = make_divisible(last * alpha) if alpha > 1 else last
    filters = make_divisible(make.channels(x) * 6)
    x = make.conv(x, filters, 1, padding="same", use_bias=False, name=_old("Conv_1"))
    x = activation(make.norm(x, axis, name=_old("Conv_1/BatchNorm"), **NORM))

    def head(x: Any) -> Any:
        x = make.layer("GlobalAveragePooling2D", x, keepdims=True)
        x = make.conv(x, last, 1, padding="same", use_bias=True, name=_old("Conv_2"))
        x = activation(x)
        if options["dropout_rate"] > 0:
            x = make.layer("Dropout", x, options["dropout_rate"])
        x = make.conv(x, options["classes"], 1, padding="same", name=_old("Logits"))
        x = make.layer("Flatten", x)
        return make.act(x, options["classifier_activation"], name=_old("Predictions"))

    return make.top(x, ("avg_pool", "max_pool"), head)


def _old(name: str) -> str:
    """Return a layer's name; Keras 3 writes those of Keras 2 in lower case without slashes."""
    if session().release[0] < 3:
        return name
    return name.replace("/BatchNorm", "_bn").replace("/", "_").lower()


def hard_sigmoid(make: Builder, x: Any) -> Any:
    """Return the result of ReLU6(x + 3) / 6."""
    x = make.layer("ReLU", operate(x, "+", 3.0, False, make.place), 6.0)
    return operate(x, "*", 1.0 / 6.0, False, make.place)


def _block(
    make: Builder, x: Any, expansion: float, filters: int, size: int, stride: int,
    is_squeezed: bool, activation: Activation, k: int,
) -> Any:  # fmt: skip
    shortcut, channels, axis = x, make.channels(x), 1 if make.axis == 1 else -1
    prefix = f"expanded_conv_{k}/" if k else "expanded_conv/"
    expanded = make_divisible(channels * expansion)

    def norm(x: Any, name: str) -> Any:
        return make.norm(x, axis, name=_old(f"{prefix}{name}/BatchNorm"), **NORM)

    if k:
        x = make.conv(x, expanded, 1, padding="same", use_bias=False, name=_old(f"{prefix}expand"))
        x = activation(norm(x, "expand"))
    if stride == 2:
        x = make.pad(x, make.correct_pad(x, size), name=_old(f"{prefix}depthwise/pad"))
    x = make.layer(
        "DepthwiseConv2D", x, size, strides=stride, padding="same" if stride == 1 else "valid",
        use_bias=False, name=_old(f"{prefix}depthwise"),
    )  # fmt: skip
    x = activation(norm(x, "depthwise"))
    if is_squeezed:
        x = _squeeze(make, x, expanded, f"{prefix}squeeze_excite/")
    x = make.conv(x, filters, 1, padding="same", use_bias=False, name=_old(f"{prefix}project"))
    x = norm(x, "project")
    if stride == 1 and channels == filters:
        x = make.layer("Add", [shortcut, x], name=_old(f"{prefix}Add"))
    return x


def _squeeze(make: Builder, inputs: Any, filters: int, prefix: str) -> Any:
    x = make.layer("GlobalAveragePooling2D", inputs, keepdims=True, name=_old(f"{prefix}AvgPool"))
    if session().release[0] >= 3:
        x.node.layer.name = f"{prefix}avg_pool".replace("/", "_")
    x = make.conv(x, make_divisible(filters * 0.25), 1, padding="same", name=_old(f"{prefix}Conv"))
    x = make.layer("ReLU", x, name=_old(f"{prefix}Relu"))
    x = make.conv(x, filters, 1, padding="same", name=_old(f"{prefix}Conv_1"))
    x = hard_sigmoid(make, x)
    return make.layer("Multiply", [inputs, x], name=_old(f"{prefix}Mul"))
