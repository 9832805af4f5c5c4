"""The arguments that Keras 3.15 takes, for the classes that Keras 2 had, too."""

from __future__ import annotations


def _arguments(plain: str, *weights: str) -> frozenset[str]:
    """Return argument names, with those of each weight's initializer and so on."""
    ends = ("initializer", "regularizer", "constraint")
    return frozenset([*plain.split(), *(f"{weight}_{end}" for weight in weights for end in ends)])


CONVOLUTION = (
    "kernel_size strides padding data_format dilation_rate activation use_bias activity_regularizer"
)
POOLING = _arguments("pool_size strides padding data_format")
NORM = "axis epsilon center scale"
WARPED = "fill_mode fill_value interpolation seed data_format"
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
ANY_LAYER = {"name", "trainable", "dtype", "input_shape"}  # every layer takes these
LAYERS: dict[str, frozenset[str]] = {
    "Conv2D": _arguments(f"{CONVOLUTION} filters groups", "kernel", "bias"),
    "DepthwiseConv2D": _arguments(f"{CONVOLUTION} depth_multiplier", "depthwise", "bias"),
    "SeparableConv2D": _arguments(
        f"{CONVOLUTION} filters depth_multiplier", "depthwise", "pointwise", "bias"
    ),
    "Conv2DTranspose": _arguments(f"{CONVOLUTION} filters output_padding", "kernel", "bias"),
    "Dense": _arguments("units activation use_bias activity_regularizer", "kernel", "bias"),
    "BatchNormalization": _arguments(
        f"{NORM} momentum moving_mean_initializer moving_variance_initializer", "beta", "gamma"
    ),
    "LayerNormalization": _arguments(NORM, "beta", "gamma"),
    "GroupNormalization": _arguments(f"{NORM} groups", "beta", "gamma"),
    "UnitNormalization": _arguments("axis"),
    "Normalization": _arguments("axis mean variance invert"),
    "PReLU": _arguments("shared_axes", "alpha"),
    "MultiHeadAttention": _arguments(
        "num_heads key_dim value_dim dropout use_bias output_shape attention_axes seed "
        "activity_regularizer",
        *("kernel", "bias"),
    ),
    "Attention": _arguments("use_scale score_mode dropout seed"),
    "AdditiveAttention": _arguments("use_scale dropout"),
    "SpectralNormalization": _arguments("power_iterations"),  # not the layer in it
    "Activation": _arguments("activation"),
    "ReLU": _arguments("max_value negative_slope threshold"),
    "LeakyReLU": _arguments("negative_slope alpha"),
    "ELU": _arguments("alpha"),
    "Softmax": _arguments("axis"),
    "Dropout": _arguments("rate noise_shape seed"),
    "SpatialDropout2D": _arguments("rate data_format seed"),
    "AlphaDropout": _arguments("rate noise_shape seed"),
    "GaussianDropout": _arguments("rate seed"),
    "GaussianNoise": _arguments("stddev seed"),
    **dict.fromkeys(("MaxPooling2D", "AveragePooling2D"), POOLING),
    "GlobalMaxPooling2D": _arguments("data_format keepdims"),
    "GlobalAveragePooling2D": _arguments("data_format keepdims"),
    "ZeroPadding2D": _arguments("padding data_format"),
    "Cropping2D": _arguments("cropping data_format"),
    "UpSampling2D": _arguments("size data_format interpolation"),
    "Resizing": _arguments("height width interpolation crop_to_aspect_ratio data_format"),
    "CenterCrop": _arguments("height width data_format"),
    "Flatten": _arguments("data_format"),
    "Reshape": _arguments("target_shape"),
    "Permute": _arguments("dims"),
    "Rescaling": _arguments("scale offset"),
    "Dot": _arguments("axes normalize"),
    "Concatenate": _arguments("axis"),
    **dict.fromkeys((*MERGES, "Identity"), frozenset()),
    "RandomFlip": _arguments("mode seed data_format"),
    "RandomRotation": _arguments(f"factor {WARPED}"),
    "RandomZoom": _arguments(f"height_factor width_factor {WARPED}"),
    "RandomTranslation": _arguments(f"height_factor width_factor {WARPED}"),
    "RandomContrast": _arguments("factor value_range seed"),
    "RandomBrightness": _arguments("factor value_range seed"),
}

FANS = "seed input_axes output_axes"
SCALED = [f"{name}{kind}" for name in ("Glorot", "He", "Lecun") for kind in ("Normal", "Uniform")]
OBJECTS: dict[str, dict[str, str]] = {  # by the end of the name of a layer's argument
    "initializer": {
        **dict.fromkeys(SCALED, FANS),
        **dict.fromkeys(("RandomNormal", "TruncatedNormal"), "mean stddev seed"),
        "RandomUniform": "minval maxval seed",
        "VarianceScaling": f"scale mode distribution {FANS}",
        "Orthogonal": "gain seed",
        "Zeros": "",
        "Ones": "",
        "Constant": "value",
        "Identity": "gain",
    },
    "regularizer": {"L1": "l1", "L2": "l2", "L1L2": "l1 l2"},
    "constraint": {
        "MaxNorm": "max_value axis",
        "MinMaxNorm": "min_value max_value rate axis",
        "NonNeg": "",
        "UnitNorm": "axis",
    },
}
SHORT_NAMES = {"initializer": {"zero", "one", "normal", "uniform"}}  # besides he_normal and so on
