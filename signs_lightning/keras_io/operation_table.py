"""The table of Keras's operations: class name → builder, and the arguments that it reads.

`-x`, `keras.ops.mean(x)` or `keras.activations.gelu(x)` in a functional graph is an operation: an
entry without weights, whose arguments are its config. `tf_operations` translates what tf.keras 2
wrote. The operations of Keras: https://keras.io/api/ops/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from signs_lightning.keras_io import axis_ops, elementwise_ops, shape_ops
from signs_lightning.keras_io import resizing_layers as resizing
from signs_lightning.keras_io import stateless_layers as stateless
from signs_lightning.keras_io.config_entries import OPERATION_MODULES, Entry
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext
from signs_lightning.keras_io.model_graph import Layer

Builder = Callable[[LayerContext], BuiltLayer]


def _resize(layer: LayerContext) -> BuiltLayer:
    """Build `ops.image.resize` as the layer Resizing."""
    size = layer.config.get("size")
    if not isinstance(size, list) or len(size) != 2:
        layer.fail("size", size, "height and width")
    config = layer.config | {"height": size[0], "width": size[1]}
    for key in ("fill_mode", "fill_value"):
        config.pop(key, None)
    if layer.config.get("fill_mode", "constant") != "constant" or layer.config.get("fill_value"):
        layer.check_option("pad_to_aspect_ratio", False)
    return resizing.resizing(_as_layer(layer, "Resizing", config))


def _pool(layer: LayerContext) -> BuiltLayer:
    """Build `ops.max_pool` or `ops.average_pool` as the layer of two dimensions."""
    return stateless.pooling(_as_layer(layer, f"{layer.class_name}ing2D", layer.config))


def _as_layer(layer: LayerContext, class_name: str, config: dict[str, object]) -> LayerContext:
    return replace(layer, layer=replace(layer.layer, class_name=class_name, config=config))


_AXIS = ("axis", "keepdims")
OPERATIONS: dict[str, tuple[Builder, tuple[str, ...]]] = {
    **dict.fromkeys(elementwise_ops.UNARY, (elementwise_ops.unary, ())),
    **dict.fromkeys(elementwise_ops.BINARY, (elementwise_ops.binary, ())),
    "Where": (elementwise_ops.binary, ()),
    **{
        name: (elementwise_ops.with_numbers, tuple(key for key, _, _ in arguments))
        for name, (_, arguments) in elementwise_ops.WITH_NUMBERS.items()
    },
    "Clip": (elementwise_ops.clip, ("x_min", "x_max")),
    "Cast": (elementwise_ops.cast, ("dtype",)),
    "Round": (elementwise_ops.round_to_decimals, ("decimals",)),
    "ReLU": (elementwise_ops.relu, ("negative_slope", "max_value", "threshold")),
    "Gelu": (elementwise_ops.gelu, ("approximate",)),
    **dict.fromkeys(axis_ops.REDUCTIONS, (axis_ops.reduction, _AXIS)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), (axis_ops.along_axis, ("axis",))),
    "Normalize": (axis_ops.normalize, ("axis", "order", "epsilon")),
    "RGBToGrayscale": (axis_ops.rgb_to_grayscale, ("data_format",)),
    "Matmul": (axis_ops.matmul, ()),
    "Einsum": (axis_ops.einsum, ("subscripts",)),
    "GetItem": (shape_ops.get_item, ()),
    "Split": (shape_ops.part, ("indices_or_sections", "axis")),
    "Unstack": (shape_ops.part, ("num", "axis")),
    "Take": (shape_ops.take, ("axis",)),
    "Reshape": (shape_ops.reshape, ("newshape",)),
    "Transpose": (shape_ops.transpose, ("axes",)),
    "Swapaxes": (shape_ops.transpose, ("axis1", "axis2")),
    "Moveaxis": (shape_ops.transpose, ("source", "destination")),
    "ExpandDims": (shape_ops.expand_dims, ("axis",)),
    "Squeeze": (shape_ops.squeeze, ("axis",)),
    "Concatenate": (shape_ops.join, ("axis",)),
    "Stack": (shape_ops.join, ("axis",)),
    "Flip": (shape_ops.flip, ("axis",)),
    "Pad": (shape_ops.pad, ("pad_width", "mode")),
    "Repeat": (shape_ops.repeat, ("repeats", "axis")),
    "Tile": (shape_ops.repeat, ("repeats",)),
    "Resize": (
        _resize,
        (
            *("size", "interpolation", "antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio"),
            *("fill_mode", "fill_value", "data_format"),
        ),
    ),
    **dict.fromkeys(
        ("MaxPool", "AveragePool"), (_pool, ("pool_size", "strides", "padding", "data_format"))
    ),
}


# Where Keras 3 has the classes; those of all others are in keras.src.ops.numpy.
MODULES = {
    "keras.src.ops.nn": (
        *("Relu", "Relu6", "Sigmoid", "Softplus", "Softsign", "SoftShrink", "SparsePlus", "Silu"),
        *("Squareplus", "LogSigmoid", "LeakyRelu", "HardSigmoid", "HardSilu", "Elu", "Selu"),
        *("Gelu", "Celu", "TanhShrink", "HardTanh", "HardShrink", "Threshold", "SparseSigmoid"),
        *("Softmax", "LogSoftmax", "MaxPool", "AveragePool", "Normalize", "Mish"),
    ),
    "keras.src.activations.activations": ("ReLU",),
    "keras.src.ops.math": ("Rsqrt", "Erf", "Logsumexp"),
    "keras.src.ops.core": ("Cast", "StopGradient", "Unstack"),
    "keras.src.ops.image": ("Resize", "RGBToGrayscale"),
}


def module_of_operation(class_name: str) -> str:
    """Return where Keras 3 has the class of an operation."""
    found = (module for module, names in MODULES.items() if class_name in names)
    return next(found, "keras.src.ops.numpy")


def is_operation(entry: Entry, keras: int) -> bool:
    """Return whether an entry is an operation, which a legacy `.h5` has without its module.

    Args:
        entry: of a layer, `translate_config` done.
        keras: major version of the Keras that wrote it.
    """
    module = entry.get("module")
    if isinstance(module, str):
        return module.startswith(OPERATION_MODULES)
    is_layer = keras < 3 or "trainable" in entry["config"]
    return not is_layer and entry["class_name"] in OPERATIONS


def unsupported_of_operation(layer: Layer) -> list[str]:
    """Return the names of what no builder knows of an operation."""
    if layer.class_name not in OPERATIONS:
        return [str(layer)]
    known = {"name", *OPERATIONS[layer.class_name][1]}
    unknown = [k for k, value in layer.config.items() if k not in known and value is not None]
    return [f"{key[:60]} of {layer}" for key in unknown]


def build_operation(layer: LayerContext) -> BuiltLayer:
    """Return an operation's module; it has no weights.

    Raises:
        InputError: an argument is missing, of the wrong type, or not supported.
    """
    return OPERATIONS[layer.class_name][0](layer)
