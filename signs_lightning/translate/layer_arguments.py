"""The arguments of Keras's layers, in the order and with the defaults of each version."""

from __future__ import annotations

from typing import Any

from signs_lightning.keras_io.keras1_configs import ARGUMENTS, CLASSES, DATA_FORMATS
from signs_lightning.translate.keras_session import Session
from signs_lightning.translate.signatures import Signature, bind, parse_signatures
from signs_lightning.translate.values import NotUnderstoodError

# Those of Keras 3; a test compares them with it.
SIGNATURES = """
Conv2D(filters, kernel_size, strides=(1, 1), padding='valid', data_format=None,
    dilation_rate=(1, 1), groups=1, activation=None, use_bias=True,
    kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None,
    bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
    bias_constraint=None)
DepthwiseConv2D(kernel_size, strides=(1, 1), padding='valid', depth_multiplier=1,
    data_format=None, dilation_rate=(1, 1), activation=None, use_bias=True,
    depthwise_initializer='glorot_uniform', bias_initializer='zeros', depthwise_regularizer=None,
    bias_regularizer=None, activity_regularizer=None, depthwise_constraint=None,
    bias_constraint=None)
SeparableConv2D(filters, kernel_size, strides=(1, 1), padding='valid', data_format=None,
    dilation_rate=(1, 1), depth_multiplier=1, activation=None, use_bias=True,
    depthwise_initializer='glorot_uniform', pointwise_initializer='glorot_uniform',
    bias_initializer='zeros', depthwise_regularizer=None, pointwise_regularizer=None,
    bias_regularizer=None, activity_regularizer=None, depthwise_constraint=None,
    pointwise_constraint=None, bias_constraint=None)
Conv2DTranspose(filters, kernel_size, strides=(1, 1), padding='valid', output_padding=None,
    data_format=None, dilation_rate=(1, 1), activation=None, use_bias=True,
    kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None,
    bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
    bias_constraint=None)
Dense(units, activation=None, use_bias=True, kernel_initializer='glorot_uniform',
    bias_initializer='zeros', kernel_regularizer=None, bias_regularizer=None,
    activity_regularizer=None, kernel_constraint=None, bias_constraint=None)
BatchNormalization(axis=-1, momentum=0.99, epsilon=0.001, center=True, scale=True,
    beta_initializer='zeros', gamma_initializer='ones', moving_mean_initializer='zeros',
    moving_variance_initializer='ones', beta_regularizer=None, gamma_regularizer=None,
    beta_constraint=None, gamma_constraint=None, renorm=False, renorm_clipping=None,
    renorm_momentum=0.99, synchronized=False)
LayerNormalization(axis=-1, epsilon=0.001, center=True, scale=True, beta_initializer='zeros',
    gamma_initializer='ones', beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
    gamma_constraint=None)
GroupNormalization(groups=32, axis=-1, epsilon=0.001, center=True, scale=True,
    beta_initializer='zeros', gamma_initializer='ones', beta_regularizer=None,
    gamma_regularizer=None, beta_constraint=None, gamma_constraint=None)
RMSNormalization(axis=-1, epsilon=1e-06)
UnitNormalization(axis=-1)
Normalization(axis=-1, mean=None, variance=None, invert=False)
PReLU(alpha_initializer='zeros', alpha_regularizer=None, alpha_constraint=None,
    shared_axes=None)
Activation(activation)
ReLU(max_value=None, negative_slope=0.0, threshold=0.0)
LeakyReLU(negative_slope=0.3)
ELU(alpha=1.0)
ThresholdedReLU(theta=1.0)
Softmax(axis=-1)
Dropout(rate, noise_shape=None, seed=None)
SpatialDropout2D(rate, data_format=None, seed=None)
AlphaDropout(rate, noise_shape=None, seed=None)
GaussianDropout(rate, seed=None)
GaussianNoise(stddev, seed=None)
MaxPooling2D(pool_size=(2, 2), strides=None, padding='valid', data_format=None)
AveragePooling2D(pool_size=(2, 2), strides=None, padding='valid', data_format=None)
GlobalMaxPooling2D(data_format=None, keepdims=False)
GlobalAveragePooling2D(data_format=None, keepdims=False)
AdaptiveAveragePooling2D(output_size, data_format=None)
AdaptiveMaxPooling2D(output_size, data_format=None)
ZeroPadding2D(padding=(1, 1), data_format=None)
Cropping2D(cropping=((0, 0), (0, 0)), data_format=None)
UpSampling2D(size=(2, 2), data_format=None, interpolation='nearest')
Resizing(height, width, interpolation='bilinear', crop_to_aspect_ratio=False,
    pad_to_aspect_ratio=False, fill_mode='constant', fill_value=0.0, antialias=False,
    data_format=None)
CenterCrop(height, width, data_format=None)
RandomCrop(height, width, seed=None, data_format=None)
Flatten(data_format=None)
Reshape(target_shape)
Permute(dims)
Rescaling(scale, offset=0.0)
MultiHeadAttention(num_heads, key_dim, value_dim=None, dropout=0.0, use_bias=True,
    output_shape=None, attention_axes=None, sliding_window=None, flash_attention=None,
    kernel_initializer='glorot_uniform', bias_initializer='zeros', kernel_regularizer=None,
    bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
    bias_constraint=None, use_gate=False, seed=None)
Attention(use_scale=False, score_mode='dot', dropout=0.0, seed=None)
AdditiveAttention(use_scale=True, dropout=0.0)
Dot(axes, normalize=False)
Concatenate(axis=-1)
Identity()
ActivityRegularization(l1=0.0, l2=0.0)
Add()
Subtract()
Multiply()
Average()
Maximum()
Minimum()
AugMix(value_range=(0, 255), num_chains=3, chain_depth=3, factor=0.3, alpha=1.0, all_ops=True,
    interpolation='bilinear', seed=None, data_format=None)
CutMix(factor=1.0, seed=None, data_format=None)
MixUp(alpha=0.2, data_format=None, seed=None)
RandAugment(value_range=(0, 255), num_ops=2, factor=0.5, interpolation='bilinear', seed=None,
    data_format=None)
RandomBrightness(factor, value_range=(0, 255), seed=None)
RandomColorDegeneration(factor, value_range=(0, 255), data_format=None, seed=None)
RandomColorJitter(value_range=(0, 255), brightness_factor=None, contrast_factor=None,
    saturation_factor=None, hue_factor=None, seed=None, data_format=None)
RandomContrast(factor, value_range=(0, 255), seed=None)
RandomElasticTransform(factor=1.0, scale=1.0, interpolation='bilinear', fill_mode='reflect',
    fill_value=0.0, value_range=(0, 255), seed=None, data_format=None)
RandomErasing(factor=1.0, scale=(0.02, 0.33), fill_value=None, value_range=(0, 255), seed=None,
    data_format=None)
RandomFlip(mode='horizontal_and_vertical', seed=None, data_format=None)
RandomGaussianBlur(factor=1.0, kernel_size=3, sigma=1.0, value_range=(0, 255), data_format=None,
    seed=None)
RandomGrayscale(factor=0.5, data_format=None, seed=None)
RandomHue(factor, value_range=(0, 255), data_format=None, seed=None)
RandomInvert(factor=1.0, value_range=(0, 255), seed=None, data_format=None)
RandomPerspective(factor=1.0, scale=1.0, interpolation='bilinear', fill_value=0.0, seed=None,
    data_format=None)
RandomPosterization(factor, value_range=(0, 255), data_format=None, seed=None)
RandomRotation(factor, fill_mode='reflect', interpolation='bilinear', seed=None, fill_value=0.0,
    data_format=None)
RandomSaturation(factor, value_range=(0, 255), data_format=None, seed=None)
RandomSharpness(factor, value_range=(0, 255), data_format=None, seed=None)
RandomShear(x_factor=0.0, y_factor=0.0, interpolation='bilinear', fill_mode='reflect',
    fill_value=0.0, data_format=None, seed=None)
RandomTranslation(height_factor, width_factor, fill_mode='reflect', interpolation='bilinear',
    seed=None, fill_value=0.0, data_format=None)
RandomZoom(height_factor, width_factor=None, fill_mode='reflect', interpolation='bilinear',
    seed=None, fill_value=0.0, data_format=None)
Solarization(addition_factor=0.0, threshold_factor=0.0, value_range=(0, 255), seed=None)
"""
# Where the order of Keras outside of TensorFlow is another one.
MULTI_BACKEND = """
Conv2D(filters, kernel_size, strides=(1, 1), padding='valid', data_format=None,
    dilation_rate=(1, 1), activation=None)
"""
# What Keras 1 takes by position, in its own words.
KERAS1 = """
Convolution2D(nb_filter, nb_row, nb_col, init, activation, weights, border_mode, subsample,
    dim_ordering, W_regularizer, b_regularizer, activity_regularizer, W_constraint, b_constraint,
    bias)
Dense(output_dim, init, activation, weights, W_regularizer, b_regularizer,
    activity_regularizer, W_constraint, b_constraint, bias, input_dim)
MaxPooling2D(pool_size, strides, border_mode, dim_ordering)
AveragePooling2D(pool_size, strides, border_mode, dim_ordering)
BatchNormalization(epsilon, mode, axis, momentum, weights, beta_init, gamma_init)
"""
ALIASES = {
    "AvgPool2D": "AveragePooling2D", "MaxPool2D": "MaxPooling2D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D", "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "Convolution2D": "Conv2D", "Convolution2DTranspose": "Conv2DTranspose",
    "Deconvolution2D": "Conv2DTranspose", "SeparableConvolution2D": "SeparableConv2D",
    "AtrousConvolution2D": "Conv2D", "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization", "SyncBatchNormalization": "BatchNormalization",
    "Conv2DV2": "Conv2D", "InputLayer": "InputLayer",
}  # fmt: skip
COMMON = {  # arguments of every layer → its key in a config; None for those that it does not have
    "name": "name", "trainable": "trainable", "dtype": "dtype", "autocast": None,
    "input_shape": "input_shape", "batch_input_shape": "batch_input_shape", "shape": "input_shape",
    "batch_shape": "batch_input_shape", "input_dim": "input_dim", "batch_size": None,
    "weights": "weights", "input_length": None, "input_tensor": "input_tensor",
}  # fmt: skip
LAYERS = parse_signatures(SIGNATURES)
_MULTI_BACKEND = parse_signatures(MULTI_BACKEND)
_KERAS1 = parse_signatures(KERAS1)
# Words that Keras 1 has for some layers only.
_OWN_WORDS = {"ZeroPadding2D": {"padding": "padding"}, "LeakyReLU": {"alpha": "negative_slope"}}


def layer_class(name: str) -> str:
    """Return Keras's class of a layer that may have an alias."""
    return ALIASES.get(name, name)


def bind_layer(
    name: str, args: list[Any], kwargs: dict[str, Any], session: Session
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a layer's own arguments in the words of Keras 3, and those of every layer.

    Args:
        name: of the layer, as it is called.
        args: its positional arguments.
        kwargs: the others.
        session: tells the version of Keras.

    Raises:
        NotUnderstoodError: Keras has no such layer, or the layer no such arguments.
    """
    class_name = layer_class(name)
    if class_name not in LAYERS:
        raise NotUnderstoodError(f"the layer {name}")
    signature: Signature = LAYERS[class_name]
    order = list(signature)
    if session.is_multi_backend:
        args, kwargs = _translate_keras1(name, args, kwargs, session)
        order = list(_MULTI_BACKEND.get(class_name, signature))
    if len(args) > len(order):
        raise NotUnderstoodError(f"{name} with {len(args)} positional arguments")
    if class_name == "LeakyReLU" and "alpha" in kwargs:  # until Keras 3
        kwargs = {"negative_slope": kwargs["alpha"]} | _without(kwargs, "alpha")
    common = {key: v for key, v in kwargs.items() if key in COMMON and key not in signature}
    own = _without(kwargs, *common)
    given = dict(zip(order, args, strict=False))
    if twice := given.keys() & own.keys():
        raise NotUnderstoodError(f"{name} with {min(twice)} given twice")
    return bind(signature, [], given | own, name), common


def _without(kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key not in names}


def _translate_keras1(
    name: str, args: list[Any], kwargs: dict[str, Any], session: Session
) -> tuple[list[Any], dict[str, Any]]:
    """Return a call in the words of Keras 2, which still knew those of Keras 1."""
    is_convolution = name in (*CLASSES, "Conv2D", "SeparableConv2D")
    is_keras1 = session.release[0] < 2
    if is_convolution and len(args) >= 3 and all(isinstance(v, int) for v in args[1:3]):
        args = [args[0], (args[1], args[2]), *args[3:]]  # rows and columns of the kernel
        first = {"nb_filter": args[0], "kernel_size": args[1]}
        order = list(_KERAS1["Convolution2D"])[3:]
        kwargs = first | dict(zip(order, args[2:], strict=False)) | kwargs
        args = []
    elif is_keras1 and name in _KERAS1:
        kwargs = dict(zip(_KERAS1[name], args, strict=False)) | kwargs
        args = []
    if "nb_row" in kwargs:
        size = (kwargs["nb_row"], kwargs.get("nb_col", kwargs["nb_row"]))
        kwargs = {"kernel_size": size} | _without(kwargs, "nb_row", "nb_col")
    mode = kwargs.get("mode")
    if name == "BatchNormalization" and mode not in (None, 0):
        raise NotUnderstoodError(f"BatchNormalization with mode={mode}")
    if name == "BatchNormalization":
        kwargs = _without(kwargs, "mode")
    words = ARGUMENTS | {"init": "kernel_initializer"} | _OWN_WORDS.get(name, {})
    if name == "PReLU":
        words["init"] = "alpha_initializer"
    known = LAYERS[layer_class(name)]
    translated = {key if key in known else words.get(key, key): v for key, v in kwargs.items()}
    ordering = translated.pop("dim_ordering", None)
    if isinstance(ordering, str) and ordering != "default":
        translated["data_format"] = DATA_FORMATS.get(ordering, ordering)
    return args, translated
