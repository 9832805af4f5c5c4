"""Translates the operations of tf.keras 2 into those of Keras 3.

tf.keras 2.4 to 2.15 writes `x / 255` as a layer TFOpLambda with the function "math.truediv", and
`x[..., ::-1]` as a SlicingOpLambda; all arguments but the first stand by name in the call. 2.2 and
2.3 write TensorFlow's own nodes (`tf_nodes`). What has no counterpart stays as it is, and is then
named as unsupported.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from signs_lightning.keras_io.operation_table import module_of_operation
from signs_lightning.keras_io.tf_nodes import translate_node

Entry = dict[str, Any]
Arguments = dict[str, Any]
IGNORED = {"name": None, "validate_indices": None, "conjugate": False, "batch_dims": 0}
NHWC = ("NHWC", "channels_last", None)
# Function → class, the arguments of which become settings (theirs → Keras 3's), and settings that
# Keras 3 has besides.
AXIS = {"axis": "axis", "keepdims": "keepdims"}
SETTINGS: dict[str, tuple[str, dict[str, str], Arguments]] = {
    **{
        function: (class_name, {}, {})
        for function, class_name in {
            "math.abs": "Absolute", "math.negative": "Negative", "math.square": "Square",
            "math.sqrt": "Sqrt", "math.rsqrt": "Rsqrt", "math.exp": "Exp", "math.expm1": "Expm1",
            "math.log": "Log", "math.log1p": "Log1p", "math.sin": "Sin", "math.cos": "Cos",
            "math.erf": "Erf", "math.sign": "Sign", "math.floor": "Floor", "math.ceil": "Ceil",
            "math.round": "Round", "math.reciprocal": "Reciprocal", "identity": "Identity",
            "stop_gradient": "StopGradient", "nn.relu": "Relu", "nn.relu6": "Relu6",
            "nn.silu": "Silu", "nn.elu": "Elu", "nn.selu": "Selu", "nn.softsign": "Softsign",
            "math.sigmoid": "Sigmoid", "math.tanh": "Tanh", "math.softplus": "Softplus",
            "math.log_sigmoid": "LogSigmoid", "image.rgb_to_grayscale": "RGBToGrayscale",
        }.items()
    },
    **{
        f"math.reduce_{name}": (class_name, AXIS, {"axis": None, "keepdims": False})
        for name, class_name in {
            "mean": "Mean", "sum": "Sum", "max": "Max", "min": "Min", "std": "Std",
            "variance": "Var", "logsumexp": "Logsumexp",
        }.items()
    },
    "nn.softmax": ("Softmax", {"axis": "axis"}, {"axis": -1}),
    "nn.log_softmax": ("LogSoftmax", {"axis": "axis"}, {"axis": -1}),
    "nn.gelu": ("Gelu", {"approximate": "approximate"}, {"approximate": False}),
    "nn.leaky_relu": ("LeakyRelu", {"alpha": "negative_slope"}, {"negative_slope": 0.2}),
    "cast": ("Cast", {"dtype": "dtype"}, {}),
    "clip_by_value": ("Clip", {"clip_value_min": "x_min", "clip_value_max": "x_max"}, {}),
    "math.l2_normalize": ("Normalize", {"axis": "axis"}, {"order": 2, "epsilon": 1e-6}),
    "reshape": ("Reshape", {"shape": "newshape"}, {}),
    "unstack": ("Unstack", {"num": "num", "axis": "axis"}, {"num": None, "axis": 0}),
    "transpose": ("Transpose", {"perm": "axes"}, {}),
    "expand_dims": ("ExpandDims", {"axis": "axis"}, {}),
    "squeeze": ("Squeeze", {"axis": "axis"}, {"axis": None}),
    "reverse": ("Flip", {"axis": "axis"}, {}),
    "repeat": ("Repeat", {"repeats": "repeats", "axis": "axis"}, {}),
    "tile": ("Tile", {"multiples": "repeats"}, {}),
    "concat": ("Concatenate", {"axis": "axis"}, {}),
    "stack": ("Stack", {"axis": "axis"}, {"axis": 0}),
    "image.grayscale_to_rgb": ("Repeat", {}, {"repeats": 3, "axis": -1}),
}  # fmt: skip
# Function → class, for operations on two values, `x` and `y`.
BINARY = {
    "math.add": "Add", "__operators__.add": "Add", "math.subtract": "Subtract",
    "math.multiply": "Multiply", "math.truediv": "TrueDivide", "math.divide": "TrueDivide",
    "math.divide_no_nan": "DivideNoNan", "floor_div": "FloorDivide",
    "math.floordiv": "FloorDivide", "math.floormod": "Mod", "math.pow": "Power",
    "math.maximum": "Maximum", "math.minimum": "Minimum", "math.greater": "Greater",
    "math.greater_equal": "GreaterEqual", "math.less": "Less", "math.less_equal": "LessEqual",
}  # fmt: skip


def translate_operation(entry: Entry) -> Entry:
    """Return a layer's entry as Keras 3 writes it, or the same one where there is none."""
    config, nodes = entry.get("config"), entry.get("inbound_nodes")
    if not isinstance(config, dict) or not isinstance(nodes, list) or not nodes:
        return entry
    calls = []
    for node in nodes:
        call = _read_call(node)
        if call is None:
            return entry
        inputs, arguments = call
        if entry.get("class_name") == "TensorFlowOpLayer":
            translated = translate_node(config, inputs)
        else:
            translated = _translate(str(config.get("function")), inputs, dict(arguments))
        if translated is None:
            return entry
        calls.append(translated)
    class_name, settings, _ = calls[0]
    if any(call[:2] != (class_name, settings) for call in calls[1:]):
        return entry
    name = entry.get("name") or config.get("name")
    return {
        "module": "keras.layers" if class_name == "Identity" else module_of_operation(class_name),
        "class_name": class_name,
        "config": {"name": name, **settings},
        "name": name,
        "inbound_nodes": [{"args": inputs, "kwargs": {}} for _, _, inputs in calls],
    }


def _read_call(node: Any) -> tuple[list[Any], Arguments] | None:
    """Return the values that a call takes, and its other arguments by name."""
    tensors = [node] if isinstance(node, list) and node and isinstance(node[0], str) else node
    if not isinstance(tensors, list):
        return None
    inputs: list[Any] = []
    arguments: Arguments = {}
    for tensor in tensors:
        if not isinstance(tensor, list) or not 3 <= len(tensor) <= 4:
            return None
        is_constant = tensor[0] == "_CONSTANT_VALUE"
        inputs.append(tensor[2] if is_constant else _as_tensor(tensor))
        if len(tensor) == 4 and isinstance(tensor[3], dict):
            arguments |= tensor[3]
    return inputs, arguments


def _as_tensor(value: list[Any]) -> Entry:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": value[:3]}}


def _as_value(value: Any) -> Any:
    """Return a named argument, which is a tensor where it looks like ["conv", 0, 0]."""
    is_tensor = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
    return _as_tensor(value) if is_tensor else value


Translation = tuple[str, Arguments, list[Any]]  # class, settings, values


def _translate(function: str, inputs: list[Any], arguments: Arguments) -> Translation | None:
    """Return an operation of Keras 3, None where an argument has no counterpart."""
    function = function.removeprefix("compat.v1.")
    for key, value in IGNORED.items():
        if key == "name" or arguments.get(key, value) == value:
            arguments.pop(key, None)
    if function in SPECIAL:
        return SPECIAL[function](inputs, arguments)
    if function in BINARY:
        second = _as_value(arguments.pop("y", None))
        is_complete = len(inputs) == 1 and second is not None and not arguments
        return (BINARY[function], {}, [*inputs, second]) if is_complete else None
    if function not in SETTINGS:
        return None
    class_name, names, settings = SETTINGS[function]
    settings = dict(settings)
    for key, value in arguments.items():
        if value is None:
            continue
        if key not in names or _holds_tensor(value):
            return None
        settings[names[key]] = value
    # A list of values is one argument.
    is_several = class_name in ("Concatenate", "Stack")
    if not is_several and len(inputs) != 1:
        return None
    return class_name, settings, [inputs] if is_several else inputs


def _holds_tensor(value: Any) -> bool:
    """Return whether a list holds the result of another layer, such as a dynamic shape."""
    if not isinstance(value, list):
        return False
    return any(isinstance(v, str) or _holds_tensor(v) for v in value)


def _slice(inputs: list[Any], arguments: Arguments) -> Translation | None:
    spec: Any = arguments.pop("slice_spec", None)
    if arguments or len(inputs) != 1 or _holds_tensor(spec):
        return None
    key = []
    for part in spec if isinstance(spec, list) else [spec]:
        if isinstance(part, dict) and "class_name" in part:
            part = {"class_name": part["class_name"], "config": {}}
        elif isinstance(part, dict):
            bounds = {k: part.get(k) for k in ("start", "stop", "step")}
            if any(isinstance(value, list) for value in bounds.values()):
                return None
            part = {"class_name": "__slice__", "config": bounds}
        key.append(part)
    return "GetItem", {}, [*inputs, key]


def _bias_add(inputs: list[Any], arguments: Arguments) -> Translation | None:
    bias = arguments.pop("bias", None)
    if arguments.pop("data_format", None) not in NHWC or arguments or len(inputs) != 1:
        return None
    return "Add", {}, [*inputs, _as_value(bias)]


def _gather(inputs: list[Any], arguments: Arguments) -> Translation | None:
    indices, axis = arguments.pop("indices", None), arguments.pop("axis", None)
    if arguments or len(inputs) != 1 or _holds_tensor(indices):
        return None
    return "Take", {"axis": axis}, [*inputs, indices]


def _where(inputs: list[Any], arguments: Arguments) -> Translation | None:
    values = [_as_value(arguments.pop(key, None)) for key in ("x", "y")]
    if arguments or len(inputs) != 1 or None in values:
        return None
    return "Where", {}, [*inputs, *values]


def _add_n(inputs: list[Any], arguments: Arguments) -> Translation | None:
    return ("Add", {}, inputs) if len(inputs) == 2 and not arguments else None


def _pad(inputs: list[Any], arguments: Arguments) -> Translation | None:
    widths, mode = arguments.pop("paddings", None), arguments.pop("mode", "CONSTANT")
    value = arguments.pop("constant_values", 0)
    if arguments or len(inputs) != 1 or _holds_tensor(widths) or not isinstance(mode, str):
        return None
    return "Pad", {"pad_width": widths, "mode": mode.lower()}, [*inputs, value]


def _matmul(inputs: list[Any], arguments: Arguments) -> Translation | None:
    second = _as_value(arguments.pop("b", None))
    is_turned = arguments.pop("transpose_b", False)
    if any(arguments.values()) or len(inputs) != 1 or second is None:
        return None
    is_constant = isinstance(second, list)
    if not is_turned:
        return "Matmul", {}, [*inputs, second]
    if is_constant and second and all(isinstance(row, list) for row in second):
        return "Matmul", {}, [*inputs, [list(column) for column in zip(*second, strict=False)]]
    return None


def _resize(inputs: list[Any], arguments: Arguments) -> Translation | None:
    size, method = arguments.pop("size", None), arguments.pop("method", "bilinear")
    antialias = arguments.pop("antialias", False)
    if any(arguments.values()) or len(inputs) != 1 or _holds_tensor(size):
        return None
    settings = {"size": size, "interpolation": method, "antialias": antialias}
    return "Resize", settings | {"data_format": "channels_last"}, inputs


def _pool(class_name: str) -> Callable[[list[Any], Arguments], Translation | None]:
    def translate(inputs: list[Any], arguments: Arguments) -> Translation | None:
        size, strides = arguments.pop("ksize", None), arguments.pop("strides", None)
        padding = arguments.pop("padding", None)
        if arguments.pop("data_format", None) not in NHWC or arguments or len(inputs) != 1:
            return None
        sides = [_window(value) for value in (size, strides)]
        if None in sides or not isinstance(padding, str):
            return None
        settings = {"pool_size": sides[0], "strides": sides[1], "padding": padding.lower()}
        return class_name, settings | {"data_format": "channels_last"}, inputs

    return translate


def _window(value: Any) -> Any:
    """Return a size of TensorFlow, `2`, `[2]`, `[2, 2]` or `[1, 2, 2, 1]`, for rows, columns."""
    if isinstance(value, list) and len(value) == 4:
        return value[1:3] if value[0] == value[3] == 1 else None
    return value * 2 if isinstance(value, list) and len(value) == 1 else value


def _split(inputs: list[Any], arguments: Arguments) -> Translation | None:
    parts, axis = arguments.pop("num_or_size_splits", None), arguments.pop("axis", 0)
    arguments.pop("num", None)
    if arguments or len(inputs) != 1 or not isinstance(parts, int | list) or _holds_tensor(parts):
        return None
    if isinstance(parts, list):  # sizes, of which Keras 3 takes the places between them
        parts = list(accumulate(parts))[:-1]
    return "Split", {"indices_or_sections": parts, "axis": axis}, inputs


SPECIAL: dict[str, Callable[[list[Any], Arguments], Translation | None]] = {
    "__operators__.getitem": _slice,
    "nn.bias_add": _bias_add,
    "gather": _gather,
    "split": _split,
    "where": _where,
    "math.add_n": _add_n,
    "pad": _pad,
    "linalg.matmul": _matmul,
    "image.resize": _resize,
    "nn.max_pool2d": _pool("MaxPool"),
    "nn.max_pool": _pool("MaxPool"),
    "nn.avg_pool2d": _pool("AveragePool"),
    "nn.avg_pool": _pool("AveragePool"),
}
