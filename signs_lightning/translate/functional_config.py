"""The Keras config of a model: its layers in Keras's order, and their calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from signs_lightning.translate.keras_objects import unknowns_in
from signs_lightning.translate.symbolic_tensors import Node, SymbolicTensor
from signs_lightning.translate.values import NotUnderstoodError

Reference = Callable[[SymbolicTensor], list[Any]]  # → name of a layer, call, tensor of the call


def serialize(value: Any, reference: Reference) -> Any:
    """Return an argument of a call as Keras 3 writes it."""
    if isinstance(value, SymbolicTensor):
        history = {"keras_history": reference(value)}
        return {"class_name": "__keras_tensor__", "config": history}
    if isinstance(value, list | tuple):
        return [serialize(part, reference) for part in value]
    if isinstance(value, dict):
        return {key: serialize(part, reference) for key, part in value.items()}
    if isinstance(value, slice):
        bounds = {"start": value.start, "stop": value.stop, "step": value.step}
        return {"class_name": "__slice__", "config": bounds}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    return value


def serialize_call(node: Node, reference: Reference) -> dict[str, Any]:
    """Return a call as Keras 3 writes it among a layer's `inbound_nodes`."""
    return {
        "args": serialize(node.args, reference),
        "kwargs": serialize(node.kwargs, reference),
    }


def graph_nodes(inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> list[Node]:
    """Return the calls that lead from inputs to outputs, each after those it depends on.

    Raises:
        NotUnderstoodError: an output depends on an input of no name.
    """
    starts = {tensor.node for tensor in inputs}
    order: list[Node] = []
    finished: set[Node] = set()
    for output in outputs:
        pending = [(output.node, iter(output.node.tensors()))]
        started = {output.node}
        while pending:
            node, rest = pending[-1]
            is_start = node in starts
            is_unknown = next(unknowns_in([node.args, node.kwargs]), None) is not None
            if not (is_start or node.tensors() or is_unknown):
                raise NotUnderstoodError(
                    f"a model whose output depends on {node.layer.name}, which is no input of it"
                )
            following = None if node in finished or is_start else next(rest, None)
            if following is None:
                pending.pop()
                if node not in finished:
                    finished.add(node)
                    order.append(node)
            elif following.node not in finished and following.node not in started:
                started.add(following.node)
                pending.append((following.node, iter(following.node.tensors())))
    return order


def source_nodes(tensor: SymbolicTensor) -> list[Node]:
    """Return the inputs that a tensor depends on, as `get_source_inputs` of Keras does.

    Raises:
        NotUnderstoodError: it depends on something else, too.
    """
    pending, seen, starts = [tensor.node], {tensor.node}, []
    while pending:
        node = pending.pop()
        before = [other.node for other in node.tensors()]
        if node.layer.class_name == "InputLayer":
            starts.append(node)
        elif not before:
            raise NotUnderstoodError(f"a tensor that depends on {node.layer.name}")
        for other in before[::-1]:
            if other not in seen:
                seen.add(other)
                pending.append(other)
    return starts


def _first_visits(inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> dict[int, int]:
    """Return when Keras's depth-first search meets each layer first, by its id."""
    starts = {tensor.node for tensor in inputs}
    visits: dict[int, int] = {}
    seen: set[Node] = set()
    for output in outputs:
        pending = [output.node]
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            visits.setdefault(id(node.layer), len(visits))
            if node not in starts:
                pending += [tensor.node for tensor in reversed(node.tensors())]
    return visits


def ordered_layers(
    inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]
) -> tuple[list[Any], list[Node]]:
    """Return a model's layers in Keras's order, and its calls.

    Layers are ordered by their distance from the outputs, then by when a depth-first search from
    the outputs meets them: `map_graph` in keras/src/ops/function.py.
    """
    nodes = graph_nodes(inputs, outputs)
    inside = set(nodes)
    depths: dict[Node, int] = {}
    layer_depths: dict[int, int] = {}
    layers = {id(node.layer): node.layer for node in nodes}
    for node in reversed(nodes):
        depth = max(depths.setdefault(node, 0), layer_depths.get(id(node.layer), 0))
        layer_depths[id(node.layer)] = depths[node] = depth
        for tensor in node.tensors():
            if tensor.node in inside:
                depths[tensor.node] = max(depth + 1, depths.get(tensor.node, 0))
    visits = _first_visits(inputs, outputs)
    for tensor in inputs:  # of no effect on the outputs
        layer = tensor.node.layer
        if id(layer) not in layers:
            layers[id(layer)] = layer
            layer_depths[id(layer)], visits[id(layer)] = 0, -1
            nodes.append(tensor.node)
    by_depth: dict[int, list[Any]] = defaultdict(list)
    for key, layer in layers.items():
        by_depth[layer_depths[key]].append(layer)
    ordered = [
        layer
        for depth in sorted(by_depth, reverse=True)
        for layer in sorted(by_depth[depth], key=lambda layer: visits[id(layer)])
    ]
    return ordered, nodes


def functional_config(
    name: str,
    trainable: bool,
    inputs: list[SymbolicTensor],
    outputs: list[SymbolicTensor],
    layers: list[Any],
    nodes: list[Node],
) -> dict[str, Any]:
    """Return the config of a functional model, without its version.

    Args:
        name: of the model.
        trainable: its flag.
        inputs: its input tensors.
        outputs: its output tensors.
        layers: in Keras's order.
        nodes: the calls that belong to it.

    Raises:
        NotUnderstoodError: two layers have the same name, with which Keras fails, too.
    """
    names = [layer.name for layer in layers]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise NotUnderstoodError(f"a model with two layers named '{twice}'")
    inside = set(nodes)
    own = {id(layer): [n for n in layer.nodes if n in inside] for layer in layers}

    def reference(tensor: SymbolicTensor) -> list[Any]:
        layer = tensor.node.layer
        return [layer.name, own[id(layer)].index(tensor.node), tensor.index]

    starts = {tensor.node for tensor in inputs}
    entries = [
        {
            **layer.entry(),
            "name": layer.name,
            "inbound_nodes": [
                serialize_call(node, reference) for node in own[id(layer)] if node not in starts
            ],
        }
        for layer in layers
    ]
    ends = [[reference(tensor) for tensor in tensors] for tensors in (inputs, outputs)]
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": name,
            "trainable": trainable,
            "layers": entries,
            "input_layers": ends[0][0] if len(inputs) == 1 else ends[0],
            "output_layers": ends[1][0] if len(outputs) == 1 else ends[1],
        },
        "registered_name": "Functional",
    }
