"""Arithmetic and functions on symbolic tensors: the operations that a Keras graph keeps."""

from __future__ import annotations

from typing import Any

from signs_lightning.keras_io.operation_table import module_of_operation
from signs_lightning.translate.keras_objects import unknowns_in
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.layer_records import LayerRecord, make_layer, results
from signs_lightning.translate.signatures import bind, parse_signatures
from signs_lightning.translate.symbolic_tensors import Node, holds_tensor, tensors_in
from signs_lightning.translate.values import NotUnderstoodError, Place, Record, Value

# Operator → Keras 3's class, the name in tf.keras.
OPERATORS = {
    "+": ("Add", "tf.__operators__.add"),
    "-": ("Subtract", "tf.math.subtract"),
    "*": ("Multiply", "tf.math.multiply"),
    "/": ("TrueDivide", "tf.math.truediv"),
    "//": ("FloorDivide", "tf.math.floordiv"),
    "%": ("Mod", "tf.math.floormod"),
    "**": ("Power", "tf.math.pow"),
    "@": ("Matmul", "tf.linalg.matmul"),
    ">": ("Greater", "tf.math.greater"),
    ">=": ("GreaterEqual", "tf.math.greater_equal"),
    "<": ("Less", "tf.math.less"),
    "<=": ("LessEqual", "tf.math.less_equal"),
}
# Functions of one tensor → class; the spellings of TensorFlow, keras.ops and keras.backend.
UNARY = {
    "abs": "Absolute", "absolute": "Absolute", "square": "Square", "sqrt": "Sqrt",
    "rsqrt": "Rsqrt", "exp": "Exp", "expm1": "Expm1", "log": "Log", "log1p": "Log1p",
    "sin": "Sin", "cos": "Cos", "erf": "Erf", "sign": "Sign", "floor": "Floor", "ceil": "Ceil",
    "round": "Round", "reciprocal": "Reciprocal", "negative": "Negative", "sigmoid": "Sigmoid",
    "tanh": "Tanh", "relu6": "Relu6", "selu": "Selu", "softplus": "Softplus",
    "softsign": "Softsign", "silu": "Silu", "swish": "Silu", "log_sigmoid": "LogSigmoid",
    "rgb_to_grayscale": "RGBToGrayscale", "stop_gradient": "StopGradient", "mish": "Mish",
}  # fmt: skip
BINARY = {
    "add": "Add", "subtract": "Subtract", "multiply": "Multiply", "divide": "TrueDivide",
    "truediv": "TrueDivide", "true_divide": "TrueDivide", "maximum": "Maximum",
    "minimum": "Minimum", "pow": "Power", "power": "Power", "matmul": "Matmul",
    "floordiv": "FloorDivide", "floor_divide": "FloorDivide", "floormod": "Mod", "mod": "Mod",
    "divide_no_nan": "DivideNoNan", "bias_add": "Add",
}  # fmt: skip
REDUCTIONS = {
    "mean": "Mean", "sum": "Sum", "max": "Max", "min": "Min", "std": "Std", "var": "Var",
    "variance": "Var", "logsumexp": "Logsumexp",
}  # fmt: skip
# Function → class, its arguments in TensorFlow's order, in those words that become settings.
# The first argument is the tensor; words that Keras 3 spells otherwise are in RENAMED.
SIGNATURES = parse_signatures("""
relu(x, negative_slope=0.0, max_value=None, threshold=0.0)
elu(x, alpha=1.0)
gelu(x, approximate=None)
leaky_relu(x, negative_slope=0.2)
softmax(x, axis=-1)
log_softmax(x, axis=-1)
reshape(x, newshape)
transpose(x, axes=None)
expand_dims(x, axis=-1)
squeeze(x, axis=None)
clip(x, x_min, x_max)
cast(x, dtype)
concatenate(x, axis=-1)
stack(x, axis=0)
flip(x, axis=None)
tile(x, repeats)
repeat(x, repeats, axis=None)
take(x, indices, axis=None)
l2_normalize(x, axis=None)
resize(x, size, interpolation='bilinear', antialias=False, data_format='channels_last')
pad(x, pad_width, mode='constant', constant_values=0)
split(x, indices_or_sections, axis=0)
unstack(x, num=None, axis=0)
grayscale_to_rgb(x)
batch_flatten(x)
""")
SPELLINGS = {
    "concat": "concatenate", "clip_by_value": "clip", "permute_dimensions": "transpose",
    "reverse": "flip", "gather": "take", "swapaxes": "", "image_resize": "resize",
}  # fmt: skip
CLASSES = {
    "l2_normalize": "Normalize", "expand_dims": "ExpandDims", "leaky_relu": "LeakyRelu",
    "log_softmax": "LogSoftmax", "relu": "Relu", "grayscale_to_rgb": "Repeat",
    "batch_flatten": "Reshape",
}  # fmt: skip
RENAMED = {
    "input_tensor": "x", "tensor": "x", "input": "x", "inputs": "x", "values": "x", "tensors": "x",
    "logits": "x", "features": "x", "images": "x", "value": "x", "xs": "x", "a": "x", "b": "y",
    "shape": "newshape", "perm": "axes", "pattern": "axes", "multiples": "repeats", "n": "repeats",
    "paddings": "pad_width", "method": "interpolation", "clip_value_min": "x_min",
    "clip_value_max": "x_max", "min_value": "x_min", "max_value": "x_max", "params": "x",
    "num_or_size_splits": "indices_or_sections", "keep_dims": "keepdims",
    "reduction_indices": "axis",
    "image": "x", "bias": "y", "target_shape": "newshape", "dims": "axis",
}  # fmt: skip
PREFIXES = (
    "tensorflow.", "tensorflow.math.", "tensorflow.nn.", "tensorflow.image.", "tensorflow.linalg.",
    "keras.ops.", "keras.backend.", "keras.activations.", "keras.ops.nn.", "keras.ops.numpy.",
)  # fmt: skip


def operation(class_name: str, tf_name: str | None, args: list[Value], settings: dict[str, Any],
              place: Place) -> Value:  # fmt: skip
    """Return the result of an operation of Keras 3.

    Args:
        class_name: Keras 3's.
        tf_name: what tf.keras calls the layer that it makes of it; None for its own spelling.
        args: tensors and constants.
        settings: the operation's config.
        place: of the code.
    """
    current = session()
    if any(isinstance(v, Record) and not holds_tensor(v) for v in args):
        raise NotUnderstoodError(f"{class_name} of a tensor and other data")
    if current.release[0] < 3 and tf_name is not None:
        name = current.number(tf_name)
    else:
        name = current.auto_name(class_name)
    module = module_of_operation(class_name)
    layer = LayerRecord(class_name, settings, name, place, module=module)
    node = Node(layer, args, {}, place)
    layer.nodes.append(node)
    return results(node)


def operate(tensor: Any, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
    """Return `tensor operator other`, the other way round where `is_reflected`."""
    if operator == "-" and other is None:
        return operation("Negative", "tf.math.negative", [tensor], {}, place)
    if operator == "+" and other is None:
        return tensor
    if operator not in OPERATORS:
        raise NotUnderstoodError(f"'{operator}' of {tensor.describe()}")
    class_name, tf_name = OPERATORS[operator]
    args = [other, tensor] if is_reflected else [tensor, other]
    return operation(class_name, tf_name, args, {}, place)


def get_item(tensor: Any, index: Value, place: Place) -> Value:
    """Return `tensor[index]`."""
    key = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(part, Record) for part in key):
        raise NotUnderstoodError(f"an index of {tensor.describe()} that is not a number")
    return operation("GetItem", "tf.__operators__.getitem", [tensor, key], {}, place)


def call_function(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return a function's result on symbolic tensors; NotImplemented where it is of something else.

    Raises:
        NotUnderstoodError: it is a function of tensors that is not known.
    """
    if not holds_tensor([args, kwargs]) or not name.startswith(PREFIXES):
        return NotImplemented
    prefix, _, last = name.rpartition(".")
    last = SPELLINGS.get(last, last)
    if last in ("shape", "int_shape"):
        return next(tensors_in([args, kwargs])).attribute("shape", place)
    if last in ("identity", "convert_to_tensor", "constant"):
        return next(tensors_in([args, kwargs]))
    kwargs = {RENAMED.get(key, key): v for key, v in kwargs.items() if key != "name"}
    tf_name = f"tf.{name.split('.', 1)[1]}"
    if last.removeprefix("reduce_") in REDUCTIONS:
        signature = {"x": None, "axis": None, "keepdims": False}
        given = bind(signature, args, kwargs, name)
        class_name = REDUCTIONS[last.removeprefix("reduce_")]
        return operation(class_name, tf_name, [given.pop("x")], _plain(given), place)
    if last in UNARY:
        given = bind({"x": None}, args, kwargs, name)
        return operation(UNARY[last], tf_name, [given["x"]], {}, place)
    if last in BINARY:
        given = bind({"x": None, "y": None}, args, kwargs, name)
        return operation(BINARY[last], tf_name, [given["x"], given["y"]], {}, place)
    if last == "flatten" and prefix == "keras.backend":
        raise NotUnderstoodError("keras.backend.flatten(), which joins all images")
    if last not in SIGNATURES:
        raise NotUnderstoodError(f"{name}() of a layer's output")
    given = _plain(bind(SIGNATURES[last], args, kwargs, name))
    return _with_settings(last, tf_name, prefix, given, place)


def _plain(settings: dict[str, Value]) -> dict[str, Value]:
    """Return settings as a config has them: tuples are lists there."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def _with_settings(
    last: str, tf_name: str, prefix: str, given: dict[str, Value], place: Place
) -> Value:
    """Return the result of a function of `SIGNATURES`."""
    x = given.pop("x")
    if holds_tensor(given) or next(unknowns_in(given), None) is not None:
        raise NotUnderstoodError(f"{last}() with arguments that are not numbers")
    class_name = CLASSES.get(last, last.title().replace("_", ""))
    args = [list(x) if isinstance(x, tuple) else x]
    if last == "relu":
        if given == {"negative_slope": 0.0, "max_value": None, "threshold": 0.0}:
            given = {}
        else:
            class_name = "ReLU"
    elif last == "elu":
        given = {} if given["alpha"] == 1 else given
    elif last == "gelu":
        is_keras = prefix.startswith("keras.ops")
        approximate = given["approximate"]
        given["approximate"] = is_keras if approximate is None else approximate
    elif last == "l2_normalize":
        given |= {"order": 2, "epsilon": 1e-6}
    elif last == "grayscale_to_rgb":
        given = {"repeats": 3, "axis": -1}
    elif last == "batch_flatten":
        given = {"newshape": [-1, _size(x, place)]}
    elif last == "pad":
        args.append(given.pop("constant_values"))
        given["mode"] = str(given["mode"]).lower()
    elif last == "take":
        args.append(given.pop("indices"))
    elif last == "cast":
        given["dtype"] = str(getattr(given["dtype"], "name", given["dtype"])).rpartition(".")[2]
    elif last == "split" and isinstance(given["indices_or_sections"], list):
        sizes = given["indices_or_sections"]
        given["indices_or_sections"] = [sum(sizes[: k + 1]) for k in range(len(sizes) - 1)]
    elif last in ("concatenate", "stack") and not isinstance(x, list | tuple):
        raise NotUnderstoodError(f"{last}() of one tensor")
    return operation(class_name, tf_name, args, given, place)


def _size(tensor: Any, place: Place) -> int:
    shape = tensor.attribute("shape", place)
    size = 1
    for part in shape[1:] if isinstance(shape, tuple) else [None]:
        if part is None:
            raise NotUnderstoodError(f"the size of {tensor.describe()}")
        size *= part
    return size


MERGES = {
    "add": "Add", "subtract": "Subtract", "multiply": "Multiply", "average": "Average",
    "maximum": "Maximum", "minimum": "Minimum", "concatenate": "Concatenate", "dot": "Dot",
}  # fmt: skip
# Of the function `merge` of Keras 1.
MODES = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate",
}  # fmt: skip


def merge(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `keras.layers.add([…])` and the like: a new layer, called.

    Raises:
        NotUnderstoodError: there is no such function.
    """
    args, kwargs = list(args), dict(kwargs)
    inputs = kwargs.pop("inputs") if "inputs" in kwargs else args.pop(0) if args else None
    if name == "merge":
        mode = kwargs.pop("mode", args.pop(0) if args else "sum")
        if not isinstance(mode, str) or mode not in MODES:
            raise NotUnderstoodError(f"merge() with mode {mode!r:.40}")
        axis = kwargs.pop("concat_axis", -1)
        class_name = MODES[mode]
        kwargs |= {"axis": axis} if class_name == "Concatenate" else {}
    else:
        class_name = MERGES[name]
    return make_layer(class_name, args, kwargs, place).call([inputs], {}, place)
