"""Keras's layers as records: called, they give symbolic tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.translate.keras_objects import foreign_in, unknowns_in
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.layer_arguments import bind_layer, layer_class
from signs_lightning.translate.layer_config import layer_config
from signs_lightning.translate.model_notes import kernel_note
from signs_lightning.translate.symbolic_tensors import Node, SymbolicTensor, holds_tensor
from signs_lightning.translate.values import (
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

SEVERAL_OUTPUTS = ("Split", "Unstack")
TRAINING = "whether it trains"  # reason of an `Unknown` that stands for Keras's own flag


@dataclass(eq=False)
class LayerRecord(Record):
    """A layer.

    Attributes:
        class_name: Keras's.
        config: its arguments as Keras writes them, without name and trainable.
        name: its own or Keras's.
        place: where it was made.
        input_shape: the `batch_input_shape` that it was given, None for none.
        trainable: as of now.
        nodes: its calls.
        unknowns: code that is not understood and may have changed it.
        module: where Keras has the class.
        weights: of the layer, once `tensor_shapes` has found them.
        takes_data: whether it is called on data, outside a model.
    """

    class_name: str
    config: dict[str, Any]
    name: str
    place: Place
    input_shape: Value = None
    trainable: Value = True
    nodes: list[Node] = field(default_factory=list)
    unknowns: list[tuple[str, Unknown]] = field(default_factory=list)
    module: str = "keras.layers"
    weights: list[WeightSpec] | None = None
    takes_data: bool = False

    def describe(self) -> str:
        return f"{self.class_name} '{self.name}'"

    @property
    def is_operation(self) -> bool:
        """Whether it is an operation such as `x + 1`, and no layer."""
        return not self.module.startswith("keras.layers")

    def all_unknowns(self) -> list[tuple[str, Unknown]]:
        """Return what is not known of it, each with what it is."""
        values = {**self.config, "name": self.name, "trainable": self.trainable}
        values["input shape"] = self.input_shape
        named = {f"{key} of {self.class_name}": value for key, value in values.items()}
        found = [
            (what, unknown)
            for what, value in named.items()
            for unknown in (*unknowns_in(value), *foreign_in(value, what, self.place))
        ]
        return found + self.unknowns

    def entry(self) -> dict[str, Any]:
        """Return what Keras writes of it, without its calls."""
        common = {"name": self.name}
        if self.class_name != "InputLayer" and not self.is_operation:
            common |= {"trainable": self.trainable, "dtype": "float32"}
        registered = self.class_name if self.is_operation else None
        return {
            "module": self.module,
            "class_name": self.class_name,
            "config": {**common, **self.config},
            "registered_name": registered,
        }

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return call_layer(self, args, kwargs, place)

    def attribute(self, name: str, place: Place) -> Value:
        from signs_lightning.translate import layer_attributes

        return layer_attributes.attribute(self, name, place)

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        if name in ("trainable", "name", "_name"):
            setattr(self, name.strip("_"), value)
        elif name != "supports_masking":
            raise NotUnderstoodError(f"setting .{name} of {self.describe()}")

    def taint(self, unknown: Unknown) -> None:
        self.unknowns.append((self.describe(), unknown))


def call_layer(layer: Any, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return the result of calling a layer or model on tensors, or on what stands for data.

    Raises:
        NotUnderstoodError: it is called on something else.
    """
    kwargs = {key: value for key, value in kwargs.items() if key != "name"}
    flag = kwargs.get("training")
    if flag is None or (isinstance(flag, Unknown) and flag.reason == TRAINING):
        kwargs.pop("training", None)
    if not args and "inputs" in kwargs:
        args = [kwargs.pop("inputs")]
    for value in args[:1]:
        apply = getattr(value, "apply_layer", None)
        if apply is not None:
            layer.takes_data = True
            return apply(layer, kwargs, place)
    if not holds_tensor([args, kwargs]) and not any(unknowns_in(args)):
        what = args[0].describe() if args and isinstance(args[0], Record) else "a value"
        raise NotUnderstoodError(f"{layer.describe()} called on {what}")
    node = Node(layer, args, kwargs, place)
    layer.nodes.append(node)
    return results(node)


def results(node: Node) -> Value:
    """Return the tensor of a call, or a list of them where Keras gives several."""
    layer, is_several = node.layer, node.layer.class_name in SEVERAL_OUTPUTS
    node.count = getattr(layer, "output_count", 1)
    if is_several:
        parts = layer.config.get("num") or layer.config.get("indices_or_sections")
        node.count = len(parts) + 1 if isinstance(parts, list) else parts
        if not isinstance(node.count, int):
            raise NotUnderstoodError(f"{layer.class_name} into an unknown number of parts")
    if node.count == 1 and not is_several:
        return SymbolicTensor(node)
    return [SymbolicTensor(node, index) for index in range(node.count)]


def make_layer(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> LayerRecord:
    """Return `keras.layers.name(*args, **kwargs)`.

    Raises:
        NotUnderstoodError: there is no such layer, or it has no such arguments.
    """
    current, class_name = session(), layer_class(name)
    own, common = bind_layer(name, args, kwargs, current)
    layer = LayerRecord(
        class_name,
        layer_config(class_name, own, current, place),
        common.get("name") or current.auto_name(class_name),
        place,
        input_shape=batch_shape(common),
        trainable=common.get("trainable", True),
    )
    if common.get("weights") is not None:
        layer.taint(Unknown(f"weights= of {layer.describe()}", place))
    if common.get("dtype") not in (None, "float32"):
        layer.taint(Unknown(f"dtype= of {layer.describe()}", place))
    for key in ("units", "filters"):
        if layer.config.get(key) == 0:
            current.note(f"{layer.describe()} has {key}=0: it gives nothing", place)
    if (text := kernel_note(class_name, args, current)) is not None:
        current.note(text, place)
    current.layers.append(layer)
    return layer


def batch_shape(common: dict[str, Value]) -> Value:
    """Return the batch shape of `input_shape=`, `batch_input_shape=` or `input_dim=`."""
    if (shape := common.get("batch_input_shape")) is not None:
        return shape if isinstance(shape, Unknown) else [None, *_sizes(shape)[1:]]
    if (shape := common.get("input_shape")) is not None:
        return shape if isinstance(shape, Unknown) else [None, *_sizes(shape)]
    size = common.get("input_dim")
    return None if size is None else [None, size]


def _sizes(shape: Value) -> list[Value]:
    if isinstance(shape, int):
        return [shape]
    if not isinstance(shape, list | tuple):
        raise NotUnderstoodError(f"the input shape {shape!r:.40}")
    return [
        Unknown(f"{size.describe()} in an input shape", Place(0, 0)) if isinstance(size, Record)
        else size for size in shape
    ]  # fmt: skip


def make_input(args: list[Value], kwargs: dict[str, Value], place: Place) -> SymbolicTensor:
    """Return `keras.Input(...)`: the tensor of an InputLayer.

    Raises:
        NotUnderstoodError: it has arguments that are not understood.
    """
    order: tuple[str, ...]
    order = ("shape", "batch_size", "dtype", "sparse", "batch_shape", "name", "tensor")
    if session().release[0] < 3:
        order = ("shape", "batch_size", "name", "dtype", "sparse", "tensor")
    if session().is_multi_backend:
        order = ("shape", "batch_shape", "name", "dtype", "sparse", "tensor")
    given = dict(zip(order, args, strict=False)) | kwargs
    for key in ("tensor", "input_tensor"):
        if given.get(key) is not None:
            raise NotUnderstoodError(f"Input with {key}=")
    names = {"batch_shape": "batch_input_shape", "shape": "input_shape"}
    shape = batch_shape({names.get(key, key): value for key, value in given.items()})
    if shape is None:
        raise NotUnderstoodError("Input without a shape")
    return SymbolicTensor(input_layer(shape, given.get("name"), place).nodes[0])


def input_layer(shape: Value, name: str | None, place: Place) -> LayerRecord:
    """Return a new InputLayer with its only call.

    Args:
        shape: Keras's, batch included.
        name: its own; None for Keras's.
        place: where it is made.
    """
    dtype = {"dtype": "float32", "sparse": False, "ragged": False}
    name = name or session().auto_name("InputLayer")
    layer = LayerRecord("InputLayer", {"batch_shape": shape, **dtype}, name, place)
    layer.nodes.append(Node(layer, [], {}, place))
    return layer
