"""What each layer's arguments may be: choices, or functions of the random numbers and the shape."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from .model_spec import Call, Layer

Shape = tuple[int, ...]

# Those that Keras 2 knows, too.
OLD_ACTIVATIONS = (
    *("relu", "tanh", "sigmoid", "softmax", "elu", "selu", "softplus", "softsign", "swish"),
    *("gelu", "hard_sigmoid", "linear", "exponential", "mish"),
)
NEW_ACTIVATIONS = (
    *("relu6", "leaky_relu", "silu", "celu", "hard_silu", "hard_swish", "hard_tanh", "hard_shrink"),
    *("soft_shrink", "tanh_shrink", "log_sigmoid", "squareplus", "sparse_plus", "sparse_sigmoid"),
    *("log_softmax", "sparsemax"),
)
INITIALIZERS = (
    *("he_normal", "lecun_uniform", "glorot_normal", "zeros"),
    Call("keras.initializers.VarianceScaling", {"scale": 2.0, "mode": "fan_out"}),
    Call("keras.initializers.RandomNormal", {"stddev": 0.1}),
    Call("keras.initializers.TruncatedNormal", {"stddev": 0.1, "seed": 1}),
    Call("keras.initializers.RandomUniform", {"minval": -0.1, "maxval": 0.2}),
    Call("keras.initializers.Constant", {"value": 0.1}),
)
BIASES = ("zeros", "ones", Call("keras.initializers.Constant", {"value": 0.1}))
REGULARIZERS = (
    *("l1", "l2", "l1_l2"),
    Call("keras.regularizers.L1", {"l1": 0.001}),
    Call("keras.regularizers.L2", {"l2": 0.01}),
    Call("keras.regularizers.L1L2", {"l1": 0.001, "l2": 0.002}),
)
CONSTRAINTS = (
    *("non_neg", "unit_norm", "max_norm"),
    Call("keras.constraints.MaxNorm", {"max_value": 1.5, "axis": 0}),
    Call("keras.constraints.MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.9}),
)
SEEDS = (None, 1)
FACTOR = (0.2, (-0.2, 0.3))
PIXELS = ((0, 255), (0.0, 1.0))
FILL = {"fill_mode": ("reflect", "constant", "wrap", "nearest"), "fill_value": (0.0, 0.5)}
METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


def activation(r: Random, shape: Shape, is_old: bool = False) -> Any:
    if r.random() < 0.12:
        return r.choice(
            (
                Call("keras.layers.LeakyReLU", {"negative_slope": 0.1}),
                Call("keras.layers.ReLU", {"max_value": 4.0}),
                Call("keras.layers.ELU", {"alpha": 0.5}),
            )
        )
    return r.choice(OLD_ACTIVATIONS if is_old else OLD_ACTIVATIONS + NEW_ACTIVATIONS)


def window(r: Random, shape: Shape) -> Any:
    return r.choice((1, 2, 3, (1, 3), (3, 2), (2, 1)))


def stride(r: Random, shape: Shape) -> Any:
    return r.choice((1, 2, (2, 1), (1, 2), 3))


def border(r: Random, shape: Shape) -> Any:
    return r.choice((1, 2, (1, 2), ((1, 0), (0, 2)), ((0, 1), (2, 1))))


def axis(r: Random, shape: Shape) -> int:
    return r.choice([-1, *range(1, len(shape) + 1)])


def axes(r: Random, shape: Shape) -> Any:
    every = list(range(1, len(shape) + 1))
    return r.choice((-1, axis(r, shape), sorted(r.sample(every, r.randint(1, len(every))))))


def target_shape(r: Random, shape: Shape) -> Shape:
    size = math.prod(shape)
    first = r.choice([k for k in range(1, size + 1) if size % k == 0])
    rest = size // first
    second = r.choice([k for k in range(1, rest + 1) if rest % k == 0])
    return r.choice(((-1,), (size,), (first, rest), (-1, rest), (first, second, rest // second)))


def dims(r: Random, shape: Shape) -> Shape:
    return tuple(r.sample(range(1, len(shape) + 1), len(shape)))


def groups(r: Random, shape: Shape) -> int:
    return r.choice([-1] + [k for k in range(1, shape[-1] + 1) if shape[-1] % k == 0])


def numbers(r: Random, shape: Shape) -> Any:
    values = [round(r.uniform(0.2, 2), 2) for _ in range(shape[-1])]
    return r.choice((1.5, 0.25, values if len(values) <= 8 else 0.5))


def noise_shape(r: Random, shape: Shape) -> Any:
    return (None, *(r.choice((1, size)) for size in shape))


def shared_axes(r: Random, shape: Shape) -> list[int]:
    return sorted(r.sample(range(1, len(shape) + 1), r.randint(1, len(shape))))


def pixels(r: Random, shape: Shape) -> int:
    return r.randint(1, 14)


def _weight(name: str, initializers: Any = INITIALIZERS) -> dict[str, Any]:
    return {
        f"{name}_initializer": initializers,
        f"{name}_regularizer": REGULARIZERS,
        f"{name}_constraint": CONSTRAINTS,
    }


KERNEL = _weight("kernel") | _weight("bias", BIASES) | {"use_bias": (False,)}
KERNEL |= {"activation": activation, "activity_regularizer": REGULARIZERS}
SCALED = _weight("gamma", BIASES) | _weight("beta", BIASES)
SCALED |= {"epsilon": (1e-3, 1e-5, 0.1), "center": (False,), "scale": (False,)}
SLIDING = {"padding": ("same", "valid")}
DILATED = {"dilation_rate": (1, 2, (1, 2))}
POOL = SLIDING | {"pool_size": window, "strides": stride}
FILTERS = (1, 2, 3, 4, 6)
RATE = {"rate": (0.1, 0.5)}

# By class: arguments that are always given, and those that may be left out.
IMAGE_LAYERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Conv2D": (
        {"filters": FILTERS, "kernel_size": window},
        {**KERNEL, **SLIDING, "strides": stride, **DILATED, "groups": (1, 2, 3)},
    ),
    "DepthwiseConv2D": (
        {"kernel_size": window},
        {**SLIDING, "strides": (1, 2), **DILATED, "depth_multiplier": (1, 2, 3)}
        | {k: v for k, v in KERNEL.items() if not k.startswith("kernel")}
        | _weight("depthwise"),
    ),
    "SeparableConv2D": (
        {"filters": FILTERS, "kernel_size": window},
        {**SLIDING, "strides": (1, 2), **DILATED, "depth_multiplier": (1, 2)}
        | {k: v for k, v in KERNEL.items() if not k.startswith("kernel")}
        | _weight("depthwise")
        | _weight("pointwise"),
    ),
    "Conv2DTranspose": (
        {"filters": FILTERS, "kernel_size": window},
        {**KERNEL, **SLIDING, "strides": stride, **DILATED, "output_padding": (None, 0, 1, (0, 1))},
    ),
    "MaxPooling2D": ({}, POOL),
    "AveragePooling2D": ({}, POOL),
    "GlobalMaxPooling2D": ({}, {"keepdims": (True, False)}),
    "GlobalAveragePooling2D": ({}, {"keepdims": (True, False)}),
    "AdaptiveMaxPooling2D": ({"output_size": (1, 2, 3, (2, 3))}, {}),
    "AdaptiveAveragePooling2D": ({"output_size": (1, 2, 3, (2, 3))}, {}),
    "ZeroPadding2D": ({}, {"padding": border}),
    "Cropping2D": ({}, {"cropping": border}),
    "UpSampling2D": ({}, {"size": (2, (1, 2), (3, 1)), "interpolation": METHODS}),
    "Resizing": (
        {"height": pixels, "width": pixels},
        {"interpolation": METHODS, "crop_to_aspect_ratio": (True,), "pad_to_aspect_ratio": (True,)}
        | {"fill_value": (0.0, 1.5), "antialias": (True,)},
    ),
    "CenterCrop": ({"height": pixels, "width": pixels}, {}),
    "SpatialDropout2D": (RATE, {}),
}
SEQUENCE_LAYERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "AdaptiveMaxPooling1D": ({"output_size": (1, 2, 3)}, {}),
    "AdaptiveAveragePooling1D": ({"output_size": (1, 2, 3)}, {}),
}
ANY_LAYERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Dense": ({"units": (1, 2, 3, 5, 8)}, KERNEL),
    "BatchNormalization": (
        {},
        {**SCALED, "axis": axis, "momentum": (0.9, 0.5), "synchronized": (False,)}
        | {"moving_mean_initializer": BIASES, "moving_variance_initializer": BIASES},
    ),
    "LayerNormalization": ({}, {**SCALED, "axis": axes}),
    "GroupNormalization": ({"groups": groups}, SCALED),
    "RMSNormalization": ({}, {"axis": axes, "epsilon": (1e-6, 1e-3)}),
    "UnitNormalization": ({}, {"axis": axes}),
    "Normalization": ({}, {"axis": axes, "invert": (True,)}),
    "PReLU": ({}, {**_weight("alpha", BIASES), "shared_axes": shared_axes}),
    "Activation": ({"activation": activation}, {}),
    "ReLU": (
        {},
        {"max_value": (None, 6.0, 1.5), "negative_slope": (0.0, 0.1), "threshold": (0.0, 0.3)},
    ),
    "LeakyReLU": ({}, {"negative_slope": (0.01, 0.2)}),
    "ELU": ({}, {"alpha": (0.3, 1.5)}),
    "Softmax": ({}, {"axis": axes}),
    "Dropout": (RATE, {"noise_shape": noise_shape, "seed": SEEDS}),
    "AlphaDropout": (RATE, {"noise_shape": noise_shape, "seed": SEEDS}),
    "GaussianDropout": (RATE, {"seed": SEEDS}),
    "GaussianNoise": ({"stddev": (0.1, 0.5)}, {"seed": SEEDS}),
    "Flatten": ({}, {}),
    "Reshape": ({"target_shape": target_shape}, {}),
    "Permute": ({"dims": dims}, {}),
    "Rescaling": ({"scale": numbers}, {"offset": numbers}),
    "Identity": ({}, {}),
    "ActivityRegularization": ({}, {"l1": (0.01,), "l2": (0.01,)}),
}
RANDOM_LAYERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "RandomFlip": ({}, {"mode": ("horizontal", "vertical", "horizontal_and_vertical")}),
    "RandomRotation": ({"factor": FACTOR}, FILL),
    "RandomZoom": ({"height_factor": FACTOR}, {"width_factor": FACTOR, **FILL}),
    "RandomTranslation": ({"height_factor": FACTOR, "width_factor": FACTOR}, FILL),
    "RandomContrast": ({"factor": FACTOR}, {"value_range": PIXELS}),
    "RandomBrightness": ({"factor": (0.2,)}, {"value_range": PIXELS}),
    "RandomColorJitter": ({}, {"brightness_factor": (0.2,), "hue_factor": (0.2,)}),
    "RandomColorDegeneration": ({"factor": (0.2,)}, {}),
    "RandomErasing": ({}, {"factor": (0.5,), "scale": ((0.02, 0.3),)}),
    "RandomGaussianBlur": ({}, {"kernel_size": (3,)}),
    "RandomGrayscale": ({}, {"factor": (0.5,)}),
    "RandomHue": ({"factor": (0.2,)}, {}),
    "RandomInvert": ({}, {"factor": (0.5,)}),
    "RandomPerspective": ({}, {"factor": (0.5,)}),
    "RandomPosterization": ({"factor": (4,)}, {}),
    "RandomSaturation": ({"factor": (0.3,)}, {}),
    "RandomShear": ({}, {"x_factor": (0.2,), "y_factor": (0.2,)}),
    "RandomSharpness": ({"factor": (0.3,)}, {}),
    "RandomElasticTransform": ({}, {"factor": (0.5,)}),
    "RandAugment": ({}, {"num_ops": (1,)}),
    "AugMix": ({}, {"num_chains": (2,)}),
    "Solarization": ({}, {"addition_factor": (10.0,)}),
}
ARGUMENTS = {**IMAGE_LAYERS, **SEQUENCE_LAYERS, **ANY_LAYERS, **RANDOM_LAYERS}
WRAPPED = ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Dense")
# What Keras 2 does not have, of layers and of arguments.
NEW_LAYERS = {*SEQUENCE_LAYERS, *RANDOM_LAYERS, "RMSNormalization"} - {
    *("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast"),
    "RandomBrightness",
}
NEW_LAYERS |= {"AdaptiveMaxPooling2D", "AdaptiveAveragePooling2D"}
NEW_LAYERS |= {"UnitNormalization"}  # of Keras 2 it has another bound, which one channel reaches
NEW_ARGUMENTS = {"pad_to_aspect_ratio", "fill_value", "antialias", "synchronized"}
WITH_FORMAT = {*IMAGE_LAYERS, "Flatten"}
SHARE = 0.25  # of the arguments that may be left out


def draw_layer(r: Random, name: str, shape: Shape, is_old: bool, channels_first: bool) -> Layer:
    """Draw a layer's arguments; Keras decides whether they fit together."""
    given, others = ARGUMENTS[name]
    drawn = {}
    for key, choices in (given | others).items():
        is_left_out = key not in given and r.random() > SHARE
        if is_left_out or (is_old and key in NEW_ARGUMENTS):
            continue
        if choices is activation:
            drawn[key] = activation(r, shape, is_old)
        else:
            drawn[key] = choices(r, shape) if callable(choices) else r.choice(choices)
    if name == "Normalization" and r.random() < 0.5:
        drawn = {k: v for k, v in drawn.items() if k != "axis"}
        drawn |= {"axis": -1, "mean": numbers(r, shape), "variance": numbers(r, shape)}
    if name == "Conv2D" and "groups" in drawn:
        channels = shape[0] if channels_first else shape[-1]
        drawn["groups"] = r.choice([k for k in range(1, channels + 1) if channels % k == 0])
        drawn["filters"] *= drawn["groups"]
    if channels_first and name in WITH_FORMAT:
        drawn["data_format"] = "channels_first"
    if r.random() < 0.08:
        drawn["trainable"] = False
    layer = Layer(name, drawn)
    if name in WRAPPED and not is_old and r.random() < 0.08:
        inner = Call(f"keras.layers.{name}", drawn)
        return Layer("SpectralNormalization", {"layer": inner})
    return layer
