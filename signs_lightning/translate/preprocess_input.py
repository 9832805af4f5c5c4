"""`preprocess_input` of Keras's applications, on symbolic tensors."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.symbolic_tensors import holds_tensor
from signs_lightning.translate.tensor_operations import operation
from signs_lightning.translate.values import NotUnderstoodError, Place, Value

# Module of keras.applications → mode; None changes nothing.
MODES: dict[str, str | None] = {
    **dict.fromkeys(("vgg16", "vgg19", "resnet", "resnet50", "imagenet_utils"), "caffe"),
    **dict.fromkeys(
        (
            *("resnet_v2", "mobilenet", "mobilenet_v2", "inception_v3", "inception_resnet_v2"),
            *("xception", "nasnet"),
        ),
        "tf",
    ),
    "densenet": "torch",
    **dict.fromkeys(("efficientnet", "efficientnet_v2", "mobilenet_v3", "convnext"), None),
}
CAFFE_MEAN = [103.939, 116.779, 123.68]  # blue, green, red
TORCH_MEAN, TORCH_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def mode_of(module: str) -> str | None:
    """Return what `preprocess_input` of a module does: "tf", "caffe", "torch", or None for nothing.

    Args:
        module: such as "keras.applications.resnet50".

    Raises:
        NotUnderstoodError: there is no such module.
    """
    name = module.rpartition(".")[2]
    if name not in MODES:
        raise NotUnderstoodError(f"preprocess_input of {module}")
    return MODES[name]


def call(module: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return what `preprocess_input` of a module gives; NotImplemented for what is no tensor."""
    if not holds_tensor([args, kwargs]):
        return NotImplemented
    mode = mode_of(module)
    given: dict[str, Any] = dict(zip(("x", "data_format", "mode"), args, strict=False)) | kwargs
    if module.endswith("imagenet_utils") and given.get("mode") is not None:
        mode = given["mode"]
    x = given["x"]
    if mode is None:
        return x
    if mode == "tf":
        x = operation("TrueDivide", "tf.math.truediv", [x, 127.5], {}, place)
        return operation("Subtract", "tf.math.subtract", [x, 1.0], {}, place)
    if mode == "caffe":
        key = [Ellipsis, slice(None, None, -1)]
        x = operation("GetItem", "tf.__operators__.getitem", [x, key], {}, place)
        return operation("Add", "tf.nn.bias_add", [x, [-v for v in CAFFE_MEAN]], {}, place)
    if mode == "torch":
        x = operation("TrueDivide", "tf.math.truediv", [x, 255.0], {}, place)
        x = operation("Add", "tf.nn.bias_add", [x, [-v for v in TORCH_MEAN]], {}, place)
        return operation("TrueDivide", "tf.math.truediv", [x, TORCH_STD], {}, place)
    raise NotUnderstoodError(f"preprocess_input with mode {mode!r:.40}")
