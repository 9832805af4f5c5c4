"""MobileNet and MobileNet V2 of keras.applications."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.applications.building import Builder, make_divisible
from signs_lightning.translate.keras_session import session

PAD = ((0, 1), (0, 1))


def mobilenet(make: Builder, x: Any) -> Any:
    """Return the result of a MobileNet."""
    alpha, multiplier = make.options["alpha"], make.options["depth_multiplier"]
    x = _first_conv(make, x, int(32 * alpha), PAD, "conv1")
    x = _norm_relu6(make, x, "conv1_bn", "conv1_relu")
    for k, filters in enumerate((64, 128, 128, 256, 256, *[512] * 6, 1024, 1024), start=1):
        stride = 2 if k in (2, 4, 6, 12) else 1
        if stride == 2:
            x = make.pad(x, PAD, name=f"conv_pad_{k}")
        x = make.layer(
            "DepthwiseConv2D", x, (3, 3), padding="same" if stride == 1 else "valid",
            depth_multiplier=multiplier, strides=(stride, stride), use_bias=False,
            name=f"conv_dw_{k}",
        )  # fmt: skip
        x = _norm_relu6(make, x, f"conv_dw_{k}_bn", f"conv_dw_{k}_relu")
        x = make.conv(x, int(filters * alpha), (1, 1), padding="same", use_bias=False,
                      strides=(1, 1), name=f"conv_pw_{k}")  # fmt: skip
        x = _norm_relu6(make, x, f"conv_pw_{k}_bn", f"conv_pw_{k}_relu")

    def head(x: Any) -> Any:
        classes = make.options["classes"]
        channels = make.channels(x)
        x = make.layer("GlobalAveragePooling2D", x, **({} if _is_old() else {"keepdims": True}))
        if _is_old():
            x = make.layer("Reshape", x, (1, 1, channels), name="reshape_1")
        x = make.layer("Dropout", x, make.options["dropout"], name="dropout")
        x = make.conv(x, classes, (1, 1), padding="same", name="conv_preds")
        x = make.layer("Reshape", x, (classes,), name="reshape_2")
        name = "act_softmax" if _is_old() else "predictions"
        return make.act(x, make.options["classifier_activation"], name=name)

    return make.top(x, (None, None), head)


def _is_old() -> bool:
    """Return whether Keras has the models of keras_applications 1.0, with a layer for each step."""
    return session().release < (2, 4)


def _first_conv(make: Builder, x: Any, filters: int, pad: Any, name: str) -> Any:
    if _is_old():
        x = make.pad(x, pad, name=f"{name}_pad")
    padding = "valid" if _is_old() else "same"
    return make.conv(x, filters, (3, 3), strides=(2, 2), padding=padding, use_bias=False, name=name)


def _norm_relu6(make: Builder, x: Any, norm: str, relu: str, **kwargs: Any) -> Any:
    axis = 1 if make.axis == 1 else -1
    return make.layer("ReLU", make.norm(x, axis, name=norm, **kwargs), 6.0, name=relu)


NORM = {"epsilon": 1e-3, "momentum": 0.999}
# Filters, stride and expansion of each block.
BLOCKS_V2 = [
    (16, 1, 1), (24, 2, 6), (24, 1, 6), (32, 2, 6), (32, 1, 6), (32, 1, 6), (64, 2, 6), (64, 1, 6),
    (64, 1, 6), (64, 1, 6), (96, 1, 6), (96, 1, 6), (96, 1, 6), (160, 2, 6), (160, 1, 6),
    (160, 1, 6), (320, 1, 6),
]  # fmt: skip


def mobilenet_v2(make: Builder, x: Any) -> Any:
    """Return the result of a MobileNet V2."""
    alpha = make.options["alpha"]
    x = _first_conv(make, x, make_divisible(32 * alpha), make.correct_pad(x, 3), "Conv1")
    x = _norm_relu6(make, x, "bn_Conv1", "Conv1_relu", **NORM)
    for k, (filters, stride, expansion) in enumerate(BLOCKS_V2):
        x = _block_v2(make, x, make_divisible(int(filters * alpha)), stride, expansion, k)
    last = make_divisible(1280 * alpha) if alpha > 1 else 1280
    x = make.conv(x, last, 1, use_bias=False, name="Conv_1")
    x = _norm_relu6(make, x, "Conv_1_bn", "out_relu", **NORM)

    def head(x: Any) -> Any:
        return make.classify(make.layer("GlobalAveragePooling2D", x))

    return make.top(x, (None, None), head)


def _block_v2(make: Builder, x: Any, filters: int, stride: int, expansion: int, k: int) -> Any:
    first, channels = x, make.channels(x)
    axis = 1 if make.axis == 1 else -1
    prefix = f"block_{k}_" if k else "expanded_conv_"
    if k:
        x = make.conv(x, expansion * channels, 1, padding="same", use_bias=False,
                      name=f"{prefix}expand")  # fmt: skip
        x = _norm_relu6(make, x, f"{prefix}expand_BN", f"{prefix}expand_relu", **NORM)
    if stride == 2:
        x = make.pad(x, make.correct_pad(x, 3), name=f"{prefix}pad")
    x = make.layer(
        "DepthwiseConv2D", x, 3, strides=stride, use_bias=False,
        padding="same" if stride == 1 else "valid", name=f"{prefix}depthwise",
    )  # fmt: skip
    x = _norm_relu6(make, x, f"{prefix}depthwise_BN", f"{prefix}depthwise_relu", **NORM)
    x = make.conv(x, filters, 1, padding="same", use_bias=False, name=f"{prefix}project")
    x = make.norm(x, axis, name=f"{prefix}project_BN", **NORM)
    if channels == filters and stride == 1:
        return make.layer("Add", [first, x], name=f"{prefix}add")
    return x
