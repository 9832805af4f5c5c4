"""The table of Keras's layers: class name → builder of the PyTorch module.

A builder gets a `LayerContext` and names in its error what it does not support. The layers of
Keras: https://keras.io/api/layers/.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from signs_lightning.keras_io import activations
from signs_lightning.keras_io import attention_layers as attention
from signs_lightning.keras_io import merging_layers as merging
from signs_lightning.keras_io import resizing_layers as resizing
from signs_lightning.keras_io import stateless_layers as stateless
from signs_lightning.keras_io import weighted_layers as weighted
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext
from signs_lightning.keras_io.model_graph import Graph, Layer
from signs_lightning.keras_io.operation_table import build_operation, unsupported_of_operation
from signs_lightning.keras_io.random_layers import AUGMENTATION, random_layer

BATCH_NORMS = (
    *("BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2"),
    "SyncBatchNormalization",
)
BUILDERS: dict[str, Callable[[LayerContext], BuiltLayer]] = {
    "Conv2D": weighted.conv2d,
    "DepthwiseConv2D": weighted.depthwise_conv2d,
    "SeparableConv2D": weighted.separable_conv2d,
    "Conv2DTranspose": weighted.conv2d_transpose,
    "Dense": weighted.dense,
    **dict.fromkeys(BATCH_NORMS, weighted.batch_normalization),
    "LayerNormalization": weighted.layer_normalization,
    "GroupNormalization": weighted.group_normalization,
    "RMSNormalization": weighted.rms_normalization,
    "UnitNormalization": stateless.unit_normalization,
    "Normalization": weighted.normalization,
    "PReLU": weighted.prelu,
    "Activation": stateless.activation,
    **dict.fromkeys(activations.LAYERS, stateless.rectifier),
    **dict.fromkeys(stateless.DROPOUTS, stateless.dropout),
    "GaussianNoise": stateless.gaussian_noise,
    **dict.fromkeys(("MaxPooling2D", "AveragePooling2D"), stateless.pooling),
    **dict.fromkeys(("GlobalMaxPooling2D", "GlobalAveragePooling2D"), stateless.global_pooling),
    **dict.fromkeys(stateless.ADAPTIVE_POOLINGS, stateless.adaptive_pooling),
    "ZeroPadding2D": stateless.zero_padding2d,
    "Cropping2D": stateless.cropping2d,
    "UpSampling2D": resizing.up_sampling2d,
    "Resizing": resizing.resizing,
    "CenterCrop": resizing.center_crop,
    "RandomCrop": resizing.random_crop,
    "Flatten": stateless.flatten,
    "Reshape": stateless.reshape,
    "Permute": stateless.permute,
    "Rescaling": stateless.rescaling,
    "MultiHeadAttention": attention.multi_head_attention,
    **dict.fromkeys(("Attention", "AdditiveAttention"), attention.attention),
    "Dot": merging.dot,
    "Concatenate": merging.concatenate,
    **dict.fromkeys(("Identity", "ActivityRegularization"), stateless.identity),
    **dict.fromkeys(merging.ARITHMETIC, merging.arithmetic),
    **dict.fromkeys(AUGMENTATION, random_layer),
}
SEVERAL_TENSORS = {"Split", "Unstack"}  # operations that give more than one
CONVOLUTIONS = {"Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"}
OF_IMAGES = CONVOLUTIONS | AUGMENTATION  # which they read in their data_format
WITH_ACTIVATION = CONVOLUTIONS | {"Dense", "Activation"}
# Layers whose `training=True`, fixed in the graph, changes what a model of Keras 2 predicts; `fit`
# and `predict` of Keras 3 override it.
DIFFERENT_IN_TRAINING = {
    name for name in BUILDERS if "Drop" in name or "Batch" in name or name.endswith("Attention")
} | {"GaussianNoise"}  # and the random layers
# Layers that tf.keras 2 made of calls of TensorFlow; what `tf_operations` did not translate.
OF_TENSORFLOW = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}


def unsupported_parts(graph: Graph) -> list[str]:
    """Return the names of what a graph has and no builder knows.

    Such as "Lambda 'lambda_1'" or "activation 'snake' of Dense 'dense'".
    """
    parts = list(graph.unsupported.values())
    for layer in graph.layers.values():
        parts += [part for part in unsupported_of_layer(layer) if part not in parts]
    for call in graph.calls:
        layer, is_fixed = call.layer, call.training is True and call.layer.keras < 3
        if is_fixed and is_different_in_training(layer) and layer.class_name not in AUGMENTATION:
            parts.append(f"training=True of {layer}")
        if call.output > 0 and layer.class_name not in SEVERAL_TENSORS:
            parts.append(f"output {call.output + 1} of {layer}")
    return parts


def is_different_in_training(layer: Layer) -> bool:
    """Return whether a layer gives something else in training than at rest."""
    if layer.class_name == "RandomCrop":  # Keras 3 writes the flag into every model
        return layer.keras < 3
    names = DIFFERENT_IN_TRAINING | AUGMENTATION
    return layer.wrapper is not None or layer.class_name in names


def unsupported_of_layer(layer: Layer) -> list[str]:
    """Return the names of what a layer has and no builder knows."""
    config, name = layer.config, layer.class_name
    if layer.wrapper is not None and name not in weighted.WITH_KERNEL:
        return [f"{name} in {layer}"]
    if layer.is_operation:
        return unsupported_of_operation(layer)
    if name in OF_TENSORFLOW:
        node = config.get("node_def")
        function = node.get("op") if isinstance(node, dict) else config.get("function")
        return [f"{str(function)[:60]} of {layer}"]
    if name not in BUILDERS:
        return [str(layer)]
    parts = []
    if layer.keras == 1 and name == "BatchNormalization" and config.get("mode"):
        parts.append(f"mode {str(config['mode'])[:60]} of {layer}")  # statistics of each batch
    if name in WITH_ACTIVATION and activations.name_of(config.get("activation")) is None:
        parts.append(f"activation '{activations.describe(config['activation'])}' of {layer}")
    dtype = config.get("dtype")
    if isinstance(dtype, dict) and "Quantized" in str(dtype.get("class_name")):
        parts.append(f"quantized weights of {layer}")
    return parts


def build_layer(context: LayerContext) -> BuiltLayer:
    """Return a layer's module, without its `activation=`, and its weights' mapping.

    Raises:
        InputError: an argument is missing, of the wrong type, or not supported.
    """
    if context.layer.is_operation:
        return build_operation(context)
    module, weights = BUILDERS[context.class_name](context)
    if context.layer.wrapper is not None:
        return weighted.spectral_normalization(module, weights)
    return module, weights


def activation_after(
    layer: Layer, value: Tensor, channels_last: bool
) -> activations.Function | None:
    """Return the function of a layer's `activation=`, None for a linear one."""
    spec = layer.config.get("activation")
    is_own = layer.class_name in WITH_ACTIVATION - {"Activation"}
    if not is_own or activations.name_of(spec) == "linear":
        return None
    axis = 1 if value.dim() == 4 and channels_last else -1
    return activations.function_of(spec, axis, layer.keras)
