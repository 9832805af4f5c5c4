"""The table of Keras's layers: class name → a function that makes the PyTorch module and says how its weights map.

A builder gets a `Site` and refuses by name what it does not support. Keras's layers:
https://keras.io/api/layers/.
"""

from __future__ import annotations

from collections.abc import Callable

from signs_lightning.keras_io import activations
from signs_lightning.keras_io import indexing_layers as indexing
from signs_lightning.keras_io import stateless_layers as plain
from signs_lightning.keras_io import weighted_layers as weighted
from signs_lightning.keras_io.graph_parser import Graph, Layer
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext

AUGMENTATION = {  # layers that do nothing when a model predicts
    *(
        "RandomFlip",
        "RandomRotation",
        "RandomZoom",
        "RandomTranslation",
        "RandomContrast",
        "RandomBrightness",
    ),
    *(
        "RandomColorJitter",
        "RandomColorDegeneration",
        "RandomErasing",
        "RandomGaussianBlur",
        "RandomGrayscale",
    ),
    *(
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
        "RandomSaturation",
        "RandomShear",
    ),
    *("RandomSharpness", "RandomElasticTransform", "RandAugment", "AugMix", "Solarization"),
}
OPERATIONS = {"GetItem", "Stack", "Flip", "Cast"}  # of Keras 3, which are no layers

BUILDERS: dict[str, Callable[[LayerContext], BuiltLayer]] = {
    "Conv2D": weighted.conv2d,
    "DepthwiseConv2D": weighted.depthwise_conv2d,
    "SeparableConv2D": weighted.separable_conv2d,
    "Conv2DTranspose": weighted.conv2d_transpose,
    "Dense": weighted.dense,
    "BatchNormalization": weighted.batch_normalization,
    "BatchNormalizationV1": weighted.batch_normalization,
    "BatchNormalizationV2": weighted.batch_normalization,
    "SyncBatchNormalization": weighted.batch_normalization,
    "LayerNormalization": weighted.layer_normalization,
    "GroupNormalization": weighted.group_normalization,
    "Normalization": weighted.normalization,
    "PReLU": weighted.prelu,
    "Activation": plain.activation,
    "ReLU": plain.rectifier,
    "LeakyReLU": plain.rectifier,
    "ELU": plain.rectifier,
    "ThresholdedReLU": plain.rectifier,
    "Softmax": plain.rectifier,
    "Dropout": plain.dropout,
    "SpatialDropout2D": plain.dropout,
    "AlphaDropout": plain.dropout,
    "GaussianDropout": plain.dropout,
    "GaussianNoise": plain.gaussian_noise,
    "MaxPooling2D": plain.pooling,
    "AveragePooling2D": plain.pooling,
    "GlobalMaxPooling2D": plain.global_pooling,
    "GlobalAveragePooling2D": plain.global_pooling,
    "ZeroPadding2D": plain.zero_padding2d,
    "Cropping2D": plain.cropping2d,
    "UpSampling2D": plain.up_sampling2d,
    "Resizing": plain.resizing,
    "Flatten": plain.flatten,
    "Reshape": plain.reshape,
    "Permute": plain.permute,
    "Rescaling": plain.rescaling,
    "Concatenate": plain.concatenate,
    "TFOpLambda": plain.tf_op_lambda,
    "Identity": plain.identity,
    "ActivityRegularization": plain.identity,
    "GetItem": indexing.get_item,
    "Stack": indexing.stack,
    "Flip": indexing.flip,
    "Cast": indexing.cast,
    **dict.fromkeys(plain.ARITHMETIC, plain.arithmetic),
    **dict.fromkeys(AUGMENTATION, plain.identity),
}
# Not RandomCrop, RandomHeight, RandomWidth, AutoContrast, Equalization: these change what a model
# predicts.

WITH_ACTIVATION = {
    "Conv2D",
    "DepthwiseConv2D",
    "SeparableConv2D",
    "Conv2DTranspose",
    "Dense",
    "Activation",
}
# Layers whose `training=True`, fixed in the graph, would change what the model predicts.
DIFFERENT_IN_TRAINING = {
    name for name in BUILDERS if "Drop" in name or "Batch" in name or name == "GaussianNoise"
}


def unsupported_parts(graph: Graph) -> list[str]:
    """What a graph has and the bridge does not know, each by name: "Lambda 'lambda_1'", "activation 'snake' of Dense 'dense'"."""
    found = list(graph.refused)
    for layer in graph.layers.values():
        found += [why for why in _refusals_of(layer) if why not in found]
    for call in graph.calls:
        if call.training is True and call.layer.class_name in DIFFERENT_IN_TRAINING:
            found.append(f"training=True of {call.layer}")
    return found


def _refusals_of(layer: Layer) -> list[str]:
    config, name = layer.config, layer.class_name
    own = (
        name in OPERATIONS and "trainable" in config
    )  # somebody's own layer of that name: an operation has no such argument
    if own or (name not in BUILDERS and operation_activation(layer) is None):
        return [str(layer)]
    if name == "TFOpLambda" and config.get("function") not in plain.TF_OPERATIONS:
        return [f"{str(config.get('function'))[:60]} of {layer}"]
    found = []
    if name in WITH_ACTIVATION and activations.name_of(config.get("activation")) is None:
        found.append(f"activation '{activations.describe(config['activation'])}' of {layer}")
    dtype = config.get("dtype")
    if isinstance(dtype, dict) and "Quantized" in str(dtype.get("class_name")):
        found.append(f"quantized weights of {layer}")
    return found


def operation_activation(layer: Layer) -> str | None:
    """Of `keras.ops.relu(x)` in a Functional model, whose class is `Relu`: the activation's name.

    An operation's config is its name alone, which tells it from somebody's own layer of that name.
    """
    if layer.class_name in BUILDERS or layer.config.keys() - {"name"}:
        return None
    return {key.replace("_", ""): key for key in activations.ELEMENTWISE}.get(
        layer.class_name.lower()
    )


def build(site: LayerContext) -> BuiltLayer:
    """Makes the module of a layer (without its `activation=`) and says how its weights map.

    Raises:
        InputError: an argument is missing, of the wrong type, or one that the bridge does not
            support.
    """
    if (name := operation_activation(site.layer)) is not None:
        return plain.Apply(activations.ELEMENTWISE[name]), []
    return BUILDERS[site.layer.class_name](site)
