"""Shapes of symbolic tensors and weights of layers, found by building them without memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io import layer_table
from signs_lightning.keras_io.axis_order import call_module, from_keras_order, keras_shape
from signs_lightning.keras_io.config_entries import keras_major
from signs_lightning.keras_io.inbound_nodes import Reference, inbound_nodes
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_graph import Call, Layer
from signs_lightning.keras_io.model_graph import Value as GraphValue
from signs_lightning.keras_io.network_plan import BUILD_ERRORS, HAS_DATA_FORMAT, make_context
from signs_lightning.translate.functional_config import serialize_call
from signs_lightning.translate.keras_objects import unknowns_in
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.symbolic_tensors import Node, SymbolicTensor
from signs_lightning.translate.values import NotUnderstoodError, Place, Unknown

# What stands in for a size that may vary: two, so that what depends on it is seen to vary.
STAND_INS = (224, 256)
Values = list[list[Tensor]]  # for each stand-in, the tensors that a call gives
Feed = dict[Node, Values]


class ShapeUnknownError(Exception):
    """A shape depends on what is not known; it holds the `Unknown`."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__(unknown.reason)
        self.unknown = unknown


def shape_of(tensor: SymbolicTensor, place: Place) -> Any:
    """Return a tensor's shape as a tuple whose first size is None, or an `Unknown`."""
    try:
        evaluate([tensor])
    except ShapeUnknownError as error:
        return error.unknown
    return known_shape(tensor)


def known_shape(tensor: SymbolicTensor) -> tuple[int | None, ...]:
    """Return a tensor's shape, batch included; `evaluate` has found it."""
    values = tensor.node.cache["values"]
    return _merge([value[tensor.index] for value in values])


def _merge(values: list[Tensor]) -> tuple[int | None, ...]:
    channels_last = session().data_format == "channels_last"
    shapes = [keras_shape(value, channels_last) for value in values]
    sizes = zip(*shapes, strict=True)
    return (None, *(size[0] if len(set(size)) == 1 else None for size in sizes))


def evaluate(tensors: list[SymbolicTensor], feed: Feed | None = None) -> None:
    """Find the values, without memory, of all calls that lead to some tensors.

    Args:
        tensors: whose values are wanted.
        feed: values that take the place of calls; it gets all others. None keeps them with the
            calls.

    Raises:
        ShapeUnknownError: one of them depends on what is not known.
    """

    def is_known(node: Node) -> bool:
        return node in feed if feed is not None else "values" in node.cache

    pending = [tensor.node for tensor in tensors]
    while pending:
        node = pending[-1]
        missing = [t.node for t in node.tensors() if not is_known(t.node)]
        if missing and not is_known(node):
            pending += missing
            continue
        pending.pop()
        if is_known(node):
            continue
        values = _call(node, feed)
        if feed is None:
            node.cache["values"] = values
        else:
            feed[node] = values


def _call(node: Node, feed: Feed | None) -> Values:
    for unknown in unknowns_in([node.args, node.kwargs]):
        raise ShapeUnknownError(unknown)
    for _, unknown in node.layer.all_unknowns():
        raise ShapeUnknownError(unknown)
    if node.layer.class_name == "InputLayer":
        return _input_values(node)
    known = [
        (feed[t.node] if feed is not None else t.node.cache["values"], t.index)
        for t in node.tensors()
    ]
    inputs = _transposed(known)
    try:
        if hasattr(node.layer, "inputs"):
            return _call_model(node.layer, inputs)
        return [_call_layer(node, tensors) for tensors in inputs]
    except (InputError, *BUILD_ERRORS) as error:
        raise ShapeUnknownError(Unknown(str(error).partition("\n")[0], node.place)) from error


def _input_values(node: Node) -> Values:
    shape = node.layer.config["batch_shape"]
    if not all(size is None or (isinstance(size, int) and size >= 0) for size in shape[1:]):
        raise ShapeUnknownError(Unknown(f"the input shape {shape!r:.60}", node.place))
    stand_ins = STAND_INS if None in shape[1:] else STAND_INS[:1]
    values = []
    for stand_in in stand_ins:
        sizes = [stand_in if size is None else size for size in shape[1:]]
        value = torch.empty(2, *sizes, device="meta")
        is_last = session().data_format == "channels_last"
        values.append([from_keras_order(value) if is_last else value])
    return values


def _call_model(model: Any, inputs: list[list[Tensor]]) -> Values:
    own = [tensor.node for tensor in model.inputs]
    evaluate(model.outputs)
    if all(
        node.cache.get("values") is not None
        and [v[0].shape for v in node.cache["values"]] == [given[k].shape for given in inputs]
        for k, node in enumerate(own)
    ):
        return _collect(model, None)
    feed: Feed = {
        tensor.node: [[given[k]] for given in inputs] for k, tensor in enumerate(model.inputs)
    }
    evaluate(model.outputs, feed)
    return _collect(model, feed)


def _collect(model: Any, feed: Feed | None) -> Values:
    found = [
        (t.node.cache["values"] if feed is None else feed[t.node], t.index) for t in model.outputs
    ]
    return _transposed(found)


def _transposed(values: list[tuple[Values, int]]) -> list[list[Tensor]]:
    """Return for each stand-in the tensors of some calls, each by its index."""
    count = max((len(parts) for parts, _ in values), default=1)
    return [[parts[min(k, len(parts) - 1)][index] for parts, index in values] for k in range(count)]


def _call_layer(node: Node, inputs: list[Tensor]) -> list[Tensor]:
    """Return the results of one call, and keep its weights."""
    tensors = node.tensors()
    entry = node.layer.entry()
    call = serialize_call(node, lambda tensor: ["", tensors.index(tensor), 0])
    arguments, training = inbound_nodes({**entry, "inbound_nodes": [call]}, ())[0]
    order = [a.key[1] for a in arguments if isinstance(a, Reference)]
    keras = keras_major({"keras_version": session().version})
    layer = Layer((node.layer.name,), entry["class_name"], entry["config"], keras, True, "",
                  None, session().version, node.layer.is_operation)  # fmt: skip
    if unsupported := layer_table.unsupported_of_layer(layer):
        raise InputError(f"{', '.join(unsupported)}, which is not supported")
    channels_last = session().data_format == "channels_last"
    given = tuple(GraphValue(0) if isinstance(a, Reference) else a for a in arguments)
    is_other = entry["config"].get("data_format") not in (None, session().data_format)
    other_format = is_other and entry["class_name"] in HAS_DATA_FORMAT
    values = [inputs[k] for k in order]
    results = []
    with torch.device("meta"), torch.no_grad():
        for output in range(node.count):
            made = Call(layer, given, training, output)
            context = make_context(made, values, channels_last)
            module, weights = layer_table.build_layer(context)
            results.append(call_module(module.eval(), values, other_format, channels_last))
    if node.layer.weights is None:
        node.layer.weights = weights
    return results


def layer_weights(layer: Any) -> list[tuple[WeightSpec, bool]]:
    """Return the weights of a layer or model, each with whether it is trained.

    Raises:
        ShapeUnknownError: they depend on what is not known.
        NotUnderstoodError: the layer is not called.
    """
    if hasattr(layer, "inputs"):
        layer.require_built()
        evaluate(layer.outputs)
        parts = [pair for inner in layer.unique_layers() for pair in layer_weights(inner)]
        return [(spec, trained and layer.trainable is not False) for spec, trained in parts]
    if layer.class_name == "InputLayer":
        return []
    if not layer.nodes:
        raise NotUnderstoodError(f"weights of {layer.describe()}, which is not called")
    if layer.weights is None:
        evaluate([SymbolicTensor(layer.nodes[0])])
    return [(spec, spec.trainable and layer.trainable is not False) for spec in layer.weights]


def count_weights(layer: Any, place: Place) -> Any:
    """Return the number of values in the weights of a layer or model, or an `Unknown`."""
    try:
        return sum(math.prod(spec.shape) for spec, _ in layer_weights(layer))
    except ShapeUnknownError as error:
        return error.unknown
