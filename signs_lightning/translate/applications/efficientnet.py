"""EfficientNet B0 to B7, and its V2, of keras.applications."""

from __future__ import annotations

import math
from typing import Any

from signs_lightning.translate.applications.building import Builder, make_divisible, repeats
from signs_lightning.translate.keras_session import session

# Width, depth, height of the image, and dropout of B0 to B7.
SCALES = [
    (1.0, 1.0, 224, 0.2), (1.0, 1.1, 240, 0.2), (1.1, 1.2, 260, 0.3), (1.2, 1.4, 300, 0.3),
    (1.4, 1.8, 380, 0.4), (1.6, 2.2, 456, 0.4), (1.8, 2.6, 528, 0.5), (2.0, 3.1, 600, 0.5),
]  # fmt: skip
# Kernel size, repeats, filters before and after, expansion and stride of each stage.
STAGES = [
    (3, 1, 32, 16, 1, 1), (3, 2, 16, 24, 6, 2), (5, 2, 24, 40, 6, 2), (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1), (5, 4, 112, 192, 6, 2), (3, 1, 192, 320, 6, 1),
]  # fmt: skip
SCALES_V2 = {
    "B0": (1.0, 1.0, 224), "B1": (1.0, 1.1, 240), "B2": (1.1, 1.2, 260), "B3": (1.2, 1.4, 300),
    "S": (1.0, 1.0, 384), "M": (1.0, 1.0, 480), "L": (1.0, 1.0, 480),
}  # fmt: skip
# Whether it is fused; kernel 3; repeats, filters before and after, expansion and stride.
STAGES_V2 = {
    "B": [
        (1, 1, 32, 16, 1, 1), (1, 2, 16, 32, 4, 2), (1, 2, 32, 48, 4, 2), (0, 3, 48, 96, 4, 2),
        (0, 5, 96, 112, 6, 1), (0, 8, 112, 192, 6, 2),
    ],
    "S": [
        (1, 2, 24, 24, 1, 1), (1, 4, 24, 48, 4, 2), (1, 4, 48, 64, 4, 2), (0, 6, 64, 128, 4, 2),
        (0, 9, 128, 160, 6, 1), (0, 15, 160, 256, 6, 2),
    ],
    "M": [
        (1, 3, 24, 24, 1, 1), (1, 5, 24, 48, 4, 2), (1, 5, 48, 80, 4, 2), (0, 7, 80, 160, 4, 2),
        (0, 14, 160, 176, 6, 1), (0, 18, 176, 304, 6, 2), (0, 5, 304, 512, 6, 1),
    ],
    "L": [
        (1, 4, 32, 32, 1, 1), (1, 7, 32, 64, 4, 2), (1, 7, 64, 96, 4, 2), (0, 10, 96, 192, 4, 2),
        (0, 19, 192, 224, 6, 1), (0, 25, 224, 384, 6, 2), (0, 7, 384, 640, 6, 1),
    ],
}  # fmt: skip
KERNEL = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}
DENSE = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0 / 3.0, "mode": "fan_out", "distribution": "uniform"},
}
STDDEV = (0.229, 0.224, 0.225)
DROP = 0.2


def efficientnet(make: Builder, x: Any, width: float, depth: float, dropout: float) -> Any:
    """Return the result of an EfficientNet B0 to B7."""
    x = make.layer("Rescaling", x, 1.0 / 255.0)
    x = make.layer("Normalization", x, axis=make.axis)
    # It makes up for a mistake in these weights, since Keras 2.9.
    if make.options["weights"] == "imagenet" and session().release >= (2, 9):
        x = make.layer("Rescaling", x, [1.0 / math.sqrt(deviation) for deviation in STDDEV])
    x = make.pad(x, make.correct_pad(x, 3), name="stem_conv_pad")
    x = _conv(make, x, make_divisible(32 * width), 3, "stem_conv", padding="valid", strides=2)
    x = _norm_act(make, x, "stem_bn", "stem_activation")
    total = sum(repeats(stage[1], depth) for stage in STAGES)
    done = 0
    for k, (size, count, before, after, expansion, stride) in enumerate(STAGES, start=1):
        channels, filters = make_divisible(before * width), make_divisible(after * width)
        for j in range(repeats(count, depth)):
            x = _block(make, x, f"block{k}{chr(97 + j)}_", channels, filters, size,
                       stride if j == 0 else 1, expansion, DROP * done / total)  # fmt: skip
            channels, done = filters, done + 1
    return _end(make, x, make_divisible(1280 * width), dropout)


def _end(make: Builder, x: Any, filters: int, dropout: float, **kwargs: Any) -> Any:
    x = _conv(make, x, filters, 1, "top_conv")
    momentum = {"momentum": 0.9} if kwargs else {}
    x = _norm_act(make, x, "top_bn", "top_activation", **momentum)

    def head(x: Any) -> Any:
        x = make.layer("GlobalAveragePooling2D", x, name="avg_pool")
        x = make.layer("Dropout", x, dropout, name="top_dropout")
        return make.classify(x, kernel_initializer=DENSE, **kwargs)

    return make.top(x, ("avg_pool", "max_pool"), head)


def _conv(make: Builder, x: Any, filters: int, size: int, name: str, **kwargs: Any) -> Any:
    given = {"padding": "same", "use_bias": False, **kwargs}
    return make.conv(x, filters, size, kernel_initializer=KERNEL, name=name, **given)


def _norm_act(make: Builder, x: Any, norm: str, act: str, **kwargs: Any) -> Any:
    return make.act(make.norm(x, name=norm, **kwargs), "swish", name=act)


def _squeeze(make: Builder, x: Any, name: str, channels: int, filters: int) -> Any:
    shape = (1, 1, filters) if make.axis == 3 else (filters, 1, 1)
    se = make.layer("GlobalAveragePooling2D", x, name=f"{name}se_squeeze")
    se = make.layer("Reshape", se, shape, name=f"{name}se_reshape")
    for part, width, activation in (
        ("reduce", max(1, int(channels * 0.25)), "swish"), ("expand", filters, "sigmoid"),
    ):  # fmt: skip
        se = _conv(make, se, width, 1, f"{name}se_{part}", use_bias=True, activation=activation)
    return make.layer("Multiply", [x, se], name=f"{name}se_excite")


def _skip(make: Builder, x: Any, inputs: Any, name: str, drop: float) -> Any:
    if drop > 0:
        x = make.layer("Dropout", x, drop, noise_shape=(None, 1, 1, 1), name=f"{name}drop")
    return make.layer("Add", [x, inputs], name=f"{name}add")


def _block(
    make: Builder, inputs: Any, name: str, channels: int, filters: int, size: int, stride: int,
    expansion: int, drop: float,
) -> Any:  # fmt: skip
    x, expanded = inputs, channels * expansion
    if expansion != 1:
        x = _conv(make, x, expanded, 1, f"{name}expand_conv")
        x = _norm_act(make, x, f"{name}expand_bn", f"{name}expand_activation")
    if stride == 2:
        x = make.pad(x, make.correct_pad(x, size), name=f"{name}dwconv_pad")
    x = make.layer(
        "DepthwiseConv2D", x, size, strides=stride, padding="valid" if stride == 2 else "same",
        use_bias=False, depthwise_initializer=KERNEL, name=f"{name}dwconv",
    )  # fmt: skip
    x = _norm_act(make, x, f"{name}bn", f"{name}activation")
    x = _squeeze(make, x, name, channels, expanded)
    x = _conv(make, x, filters, 1, f"{name}project_conv")
    x = make.norm(x, name=f"{name}project_bn")
    return _skip(make, x, inputs, name, drop) if stride == 1 and channels == filters else x


def efficientnet_v2(make: Builder, x: Any, letter: str, width: float, depth: float) -> Any:
    """Return the result of an EfficientNet V2."""
    stages = STAGES_V2[letter[0]]
    if make.options["include_preprocessing"]:
        x = _preprocess(make, x, letter)

    def rounded(filters: int) -> int:
        return max(8, int(filters * width + 4) // 8 * 8)

    x = _conv(make, x, rounded(stages[0][2]), 3, "stem_conv", strides=2)
    x = _norm_act(make, x, "stem_bn", "stem_activation", momentum=0.9)
    total, done = sum(stage[1] for stage in stages), 0
    for k, (is_fused, count, before, after, expansion, stride) in enumerate(stages, start=1):
        channels, filters = rounded(before), rounded(after)
        for j in range(repeats(count, depth)):
            block = _fused_block if is_fused else _block_v2
            x = block(make, x, f"block{k}{chr(97 + j)}_", channels, filters,
                      stride if j == 0 else 1, expansion, DROP * done / total)  # fmt: skip
            channels, done = filters, done + 1
    constant = {"class_name": "Constant", "config": {"value": 0.0}}
    return _end(make, x, rounded(1280), 0.2, bias_initializer=constant)


def _preprocess(make: Builder, x: Any, letter: str) -> Any:
    if letter[0] != "B" or make.channels(x) != 3:
        return make.layer("Rescaling", x, scale=1.0 / 128.0, offset=-1)
    x = make.layer("Rescaling", x, scale=1.0 / 255)
    variance = [deviation**2 for deviation in STDDEV]
    return make.layer(
        "Normalization", x, mean=[0.485, 0.456, 0.406], variance=variance, axis=make.axis
    )


def _block_v2(
    make: Builder, inputs: Any, name: str, channels: int, filters: int, stride: int,
    expansion: int, drop: float,
) -> Any:  # fmt: skip
    x, expanded = inputs, channels * expansion
    x = _conv(make, x, expanded, 1, f"{name}expand_conv", strides=1)
    x = _norm_act(make, x, f"{name}expand_bn", f"{name}expand_activation", momentum=0.9)
    x = make.layer(
        "DepthwiseConv2D", x, 3, strides=stride, padding="same", use_bias=False,
        depthwise_initializer=KERNEL, name=f"{name}dwconv2",
    )  # fmt: skip
    x = _norm_act(make, x, f"{name}bn", f"{name}activation", momentum=0.9)
    x = _squeeze(make, x, name, channels, expanded)
    x = _conv(make, x, filters, 1, f"{name}project_conv", strides=1)
    x = make.norm(x, momentum=0.9, name=f"{name}project_bn")
    return _skip(make, x, inputs, name, drop) if stride == 1 and channels == filters else x


def _fused_block(
    make: Builder, inputs: Any, name: str, channels: int, filters: int, stride: int,
    expansion: int, drop: float,
) -> Any:  # fmt: skip
    x = inputs
    if expansion != 1:
        x = _conv(make, x, channels * expansion, 3, f"{name}expand_conv", strides=stride)
        x = _norm_act(make, x, f"{name}expand_bn", f"{name}expand_activation", momentum=0.9)
    size, strides = (1, 1) if expansion != 1 else (3, stride)
    x = _conv(make, x, filters, size, f"{name}project_conv", strides=strides)
    x = make.norm(x, momentum=0.9, name=f"{name}project_bn")
    if expansion == 1:
        x = make.act(x, "swish", name=f"{name}project_activation")
    return _skip(make, x, inputs, name, drop) if stride == 1 and channels == filters else x
