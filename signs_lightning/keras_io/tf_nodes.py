"""Translates TensorFlow's nodes, as tf.keras 2.2 and 2.3 write them, into operations of Keras 3.

The layer TensorFlowOpLayer holds a NodeDef as JSON, and by their position those inputs that are
constants. TensorFlow's operations: https://www.tensorflow.org/api_docs/python/tf/raw_ops.
"""

from __future__ import annotations

from typing import Any

Translation = tuple[str, dict[str, Any], list[Any]]  # class, settings, values

# Operations of as many values as they have inputs.
PLAIN = {
    "Add": "Add", "AddV2": "Add", "BiasAdd": "Add", "Sub": "Subtract", "Mul": "Multiply",
    "RealDiv": "TrueDivide", "Div": "TrueDivide", "DivNoNan": "DivideNoNan",
    "FloorDiv": "FloorDivide", "FloorMod": "Mod", "Pow": "Power", "Maximum": "Maximum",
    "Minimum": "Minimum", "Abs": "Absolute", "Neg": "Negative", "Square": "Square",
    "Sqrt": "Sqrt", "Rsqrt": "Rsqrt", "Exp": "Exp", "Expm1": "Expm1", "Log": "Log",
    "Log1p": "Log1p", "Sin": "Sin", "Cos": "Cos", "Erf": "Erf", "Sign": "Sign",
    "Floor": "Floor", "Ceil": "Ceil", "Reciprocal": "Reciprocal", "Relu": "Relu",
    "Relu6": "Relu6", "Elu": "Elu", "Selu": "Selu", "Softplus": "Softplus",
    "Softsign": "Softsign", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "StopGradient": "StopGradient",
}  # fmt: skip
REDUCTIONS = {"Mean": "Mean", "Sum": "Sum", "Max": "Max", "Min": "Min"}
# Operation → class, and the setting that its second input is.
WITH_CONSTANT = {
    "Reshape": ("Reshape", "newshape"),
    "Transpose": ("Transpose", "axes"),
    "ExpandDims": ("ExpandDims", "axis"),
    "ReverseV2": ("Flip", "axis"),
    "Tile": ("Tile", "repeats"),
    "Pad": ("Pad", "pad_width"),
}
TYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def translate_node(config: dict[str, Any], inputs: list[Any]) -> Translation | None:
    """Return the operation of a TensorFlowOpLayer, None where there is none.

    Args:
        config: the layer's.
        inputs: the values that are not constants.
    """
    try:
        node, constants = config["node_def"], config.get("constants") or {}
        values = list(inputs)
        for position in sorted(constants, key=int):
            value = constants[position]
            if isinstance(value, dict):  # since 2.13: {"class_name": "__numpy__", …}
                value = value["config"]["value"]
            values.insert(int(position), value)
        return _translate(str(node["op"]), values, node.get("attr") or {})
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError):  # no such layer
        return None


def _translate(op: str, values: list[Any], attributes: dict[str, Any]) -> Translation | None:
    data_format = _attribute(attributes, "data_format", "s")
    if data_format not in (None, "TkhXQw==", "NHWC"):  # bytes are base64 in JSON
        return None
    if op in PLAIN:
        return PLAIN[op], {}, values
    constants = [value for value in values[1:] if not isinstance(value, dict)]
    if op in REDUCTIONS and len(values) == 2 and constants:
        keepdims = _attribute(attributes, "keep_dims", "b") is True
        return REDUCTIONS[op], {"axis": constants[0], "keepdims": keepdims}, values[:1]
    if op in WITH_CONSTANT and len(values) == 2 and constants:
        class_name, setting = WITH_CONSTANT[op]
        more = {"mode": "constant"} if op == "Pad" else {}
        return class_name, {setting: constants[0], **more}, values[:1]
    if op == "PadV2" and len(constants) == 2:
        return "Pad", {"pad_width": constants[0], "mode": "constant"}, [values[0], constants[1]]
    if op == "MirrorPad" and len(constants) == 1:
        modes = {"UkVGTEVDVA==": "reflect", "U1lNTUVUUklD": "symmetric"}
        mode = modes[str(_attribute(attributes, "mode", "s"))]
        return "Pad", {"pad_width": constants[0], "mode": mode}, values[:1]
    if op == "ConcatV2" and len(constants) == 1:
        return "Concatenate", {"axis": constants[0]}, [values[:-1]]
    if op == "Pack":
        return "Stack", {"axis": int(_attribute(attributes, "axis", "i") or 0)}, [values]
    if op == "Squeeze" and len(values) == 1:
        dims = (attributes.get("squeeze_dims") or {}).get("list") or {}
        return "Squeeze", {"axis": [int(v) for v in dims.get("i", [])]}, values
    if op in ("Softmax", "LogSoftmax") and len(values) == 1:
        return op, {"axis": -1}, values
    if op == "LeakyRelu" and len(values) == 1:
        slope = _attribute(attributes, "alpha", "f")
        return "LeakyRelu", {"negative_slope": 0.2 if slope is None else slope}, values
    if op == "Cast" and len(values) == 1:
        return "Cast", {"dtype": TYPES.get(str(_attribute(attributes, "DstT", "type")))}, values
    if op in ("MatMul", "BatchMatMulV2"):
        turned = ("transpose_a", "transpose_b", "adj_x", "adj_y")
        is_turned = any(_attribute(attributes, key, "b") is True for key in turned)
        return None if is_turned else ("Matmul", {}, values)
    if op == "ClipByValue" and len(constants) == 2:
        return "Clip", {"x_min": constants[0], "x_max": constants[1]}, values[:1]
    if op == "StridedSlice" and len(constants) == 3:
        return _strided_slice(values[0], constants, attributes)
    return None


def _strided_slice(value: Any, bounds: list[Any], attributes: dict[str, Any]) -> Translation | None:
    """Return `x[key]` from the bounds of every entry and masks of one bit for each."""
    masks = {key: int(_attribute(attributes, key, "i") or 0) for key in MASKS}
    key: list[Any] = []
    for k, (begin, end, step) in enumerate(zip(*bounds, strict=True)):
        is_set = {name: bool(mask >> k & 1) for name, mask in masks.items()}
        if is_set["ellipsis_mask"]:
            key.append({"class_name": "__ellipsis__", "config": {}})
        elif is_set["new_axis_mask"]:
            key.append(None)
        elif is_set["shrink_axis_mask"]:
            key.append(begin)
        else:
            start = None if is_set["begin_mask"] else begin
            stop = None if is_set["end_mask"] else end
            slice_ = {"start": start, "stop": stop, "step": None if step == 1 else step}
            key.append({"class_name": "__slice__", "config": slice_})
    return "GetItem", {}, [value, key]


def _attribute(attributes: dict[str, Any], name: str, kind: str) -> Any:
    value = attributes.get(name)
    return value.get(kind) if isinstance(value, dict) else None
