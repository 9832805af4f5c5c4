"""The calls of a Functional model: the inbound nodes of Keras 2 and of Keras 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from signs_lightning.keras_io.attention_calls import ATTENTIONS, order_arguments
from signs_lightning.keras_io.config_entries import Entry, name_of, raise_malformed
from signs_lightning.keras_io.model_graph import LayerPath

INDICES = ("__ellipsis__", "__slice__")  # of `x[..., ::-1]`: parts of one constant argument
CallKey = tuple[str, int]  # name of a layer, and which of its calls
Node = tuple[tuple[Any, ...], bool | None]  # arguments and `training` flag of a call


@dataclass(frozen=True)
class Reference:
    """A tensor that a call gives.

    Attributes:
        key: the `key[1]`-th call of the layer named `key[0]`.
        tensor: which of the tensors that it gives.
        name: the key of a dict that has it, None outside of one.
    """

    key: CallKey
    tensor: int = 0
    name: str | None = None


def references(arguments: tuple[Any, ...]) -> list[CallKey]:
    """Return which calls some arguments refer to."""
    return [argument.key for argument in arguments if isinstance(argument, Reference)]


def inbound_nodes(entry: Entry, path: LayerPath) -> list[Node]:
    """Return the arguments and the `training` flag of each call of a layer.

    Raises:
        InputError: the config is malformed.
    """
    nodes = entry.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        kind = type(nodes).__name__
        problem = f"has inbound_nodes of type {kind} in '{name_of(entry)}', expected a list"
        raise_malformed(problem, path)
    if entry["class_name"] in ATTENTIONS:
        nodes = list(map(order_arguments, nodes))
    return [
        _keras3_node(node, path) if is_keras3_node(node) else _keras2_node(node, path)
        for node in nodes
    ]


def is_keras3_node(node: Any) -> bool:
    """Return whether Keras 3 wrote a node; a dict of Keras 2 has a model's inputs by name."""
    return isinstance(node, dict) and node.keys() <= {"args", "kwargs"}


def _keras3_node(node: dict[str, Any], path: LayerPath) -> Node:
    """Read {"args": [tensor or constant, or list or dict of these], "kwargs": {…}}."""
    arguments, kwargs = node.get("args", []), node.get("kwargs", {})
    if not isinstance(arguments, list) or not isinstance(kwargs, dict):
        raise_malformed(f"has a call with args {str(arguments)[:40]}, expected a list", path)
    flat: list[Any] = []
    for argument in [*arguments, *_extra_arguments(kwargs)]:
        flat += _flatten_keras3(argument, path)
    return tuple(flat), kwargs.get("training")


def _flatten_keras3(argument: Any, path: LayerPath) -> Iterator[Any]:
    """Yield the tensors and constants of an argument; those of a dict in the order of its keys."""
    if isinstance(argument, dict) and "class_name" not in argument:
        for name in sorted(argument):
            for value in _flatten_keras3(argument[name], path):
                yield replace(value, name=name) if isinstance(value, Reference) else value
    elif isinstance(argument, list) and any(
        isinstance(item, dict) and item.get("class_name") not in INDICES for item in argument
    ):
        for item in argument:
            yield from _flatten_keras3(item, path)
    else:
        yield _keras3_argument(argument, path)


def _keras3_argument(argument: Any, path: LayerPath) -> Any:
    if not isinstance(argument, dict):
        return argument
    class_name, config = argument.get("class_name"), argument.get("config")
    if class_name == "__keras_tensor__" and isinstance(config, dict):
        return _read_reference(config.get("keras_history"), path)
    if class_name in ("__tensor__", "__numpy__") and isinstance(config, dict):
        return config.get("value")
    return raise_malformed(f"passes {str(argument)[:40]} to a layer, expected a tensor", path)


def _keras2_node(node: Any, path: LayerPath) -> Node:
    """Read [["conv2d", 0, 0, {kwargs}], …], or a dict of such tensors.

    A single tensor may lack the outer list, and old versions wrote no kwargs.
    """
    names: list[str | None] = sorted(node) if isinstance(node, dict) else []
    tensors = [node[name] for name in names] if isinstance(node, dict) else node
    if isinstance(node, list) and node and isinstance(node[0], str):
        tensors = [node]
    if not isinstance(tensors, list):
        raise_malformed(f"has an inbound node {str(node)[:40]}, expected a list", path)
    arguments: list[Any] = []
    training = None
    for tensor, name in zip(tensors, names or [None] * len(tensors), strict=True):
        if not isinstance(tensor, list) or len(tensor) not in (3, 4):
            problem = f"has an inbound node {str(tensor)[:40]}, expected a name and two numbers"
            raise_malformed(problem, path)
        is_constant = tensor[0] == "_CONSTANT_VALUE"
        arguments.append(tensor[2] if is_constant else _read_reference(tensor[:3], path, name))
        kwargs = tensor[3] if len(tensor) == 4 and isinstance(tensor[3], dict) else {}
        training = kwargs.get("training", training)
        for value in _extra_arguments(kwargs):
            is_tensor = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
            arguments.append(_read_reference(value, path) if is_tensor else value)
    return tuple(arguments), training


def _extra_arguments(kwargs: dict[str, Any]) -> list[Any]:
    """Return the keyword arguments that are values of the graph."""
    ignored = {"training", "mask", "name"}
    return [value for key, value in kwargs.items() if key not in ignored and value is not None]


def _read_reference(history: Any, path: LayerPath, name: str | None = None) -> Reference:
    if not (
        isinstance(history, list)
        and len(history) == 3
        and isinstance(history[0], str)
        and all(type(number) is int and number >= 0 for number in history[1:])
    ):
        problem = f"refers to {str(history)[:40]}, expected a layer's name and two numbers"
        raise_malformed(problem, path)
    return Reference((history[0], history[1]), history[2], name)


def endpoint_references(value: Any, key: str, path: LayerPath) -> list[Reference]:
    """Read input_layers or output_layers: ["image", 0, 0], or a list or dict of such.

    Returns:
        The references in Keras's order, which is that of the keys for a dict.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [_read_reference(value, path)]
    if not isinstance(value, dict | list) or not value:
        problem = f"has {key} {str(value)[:40]}, expected a layer's name and two numbers"
        raise_malformed(problem, path)
    named = sorted(value.items()) if isinstance(value, dict) else [(None, part) for part in value]
    return [
        replace(end, name=name or end.name)
        for name, part in named
        for end in endpoint_references(part, key, path)
    ]


def endpoints(value: Any, key: str, path: LayerPath) -> list[CallKey]:
    """Return the calls to which `endpoint_references` refer."""
    return [end.key for end in endpoint_references(value, key, path)]


def first_calls(
    nodes: Mapping[str, list[Node]],
    outputs: list[Reference],
    models: Mapping[str, str],
    keras: int,
) -> tuple[dict[str, int], dict[str, int]]:
    """Return which number a model's first call has, 0 or 1, inside and at the outputs.

    The call that built a model inside the model was call 0, so some versions count the others from
    1: Keras 2 everywhere, Keras 3 only at a Functional's outputs.

    Args:
        nodes: the calls of each layer.
        outputs: those of the model.
        models: class of each of the layers that is a model itself.
        keras: major version of the Keras that wrote the file.
    """
    inside = [key for calls in nodes.values() for node in calls for key in references(node[0])]
    at_end = [end.key for end in outputs]

    def find(keys: list[CallKey], is_built: bool) -> dict[str, int]:
        return {
            name: 1
            for name, index in keys
            if name in models
            and (index >= len(nodes[name]) or (is_built and index and models[name] != "Sequential"))
        }

    if keras < 3:
        first = find(inside + at_end, False)
        return first, first
    return find(inside, False), find(at_end, True)


def count_from_zero(argument: Any, first: Mapping[str, int]) -> Any:
    """Return an argument; a reference counts the calls of its layer from 0 then."""
    if not isinstance(argument, Reference):
        return argument
    name, index = argument.key
    return replace(argument, key=(name, index - first.get(name, 0)))


def call_order(
    nodes: Mapping[str, list[Node]],
    starts: set[CallKey],
    ends: list[CallKey],
    path: LayerPath,
) -> Iterator[tuple[CallKey, Node]]:
    """Yield the calls that lead to the outputs, each after those it depends on.

    Args:
        nodes: the calls of each layer; references count calls from 0.
        starts: the input layers, whose values are known.
        ends: the calls that give the outputs.
        path: the model, for messages.

    Raises:
        InputError: a call refers to one that does not exist, or to itself through others.
    """
    done, pending, waiting = set(starts), ends[::-1], set()
    while pending:
        key = pending[-1]
        name, index = key
        if key in done:
            pending.pop()
            continue
        if name not in nodes:
            raise_malformed(f"refers to a layer '{name}' that it does not have", path)
        count = len(nodes[name])
        if not 0 <= index < count:
            raise_malformed(f"refers to call {index} of '{name}', which has {count}", path)
        missing = [other for other in references(nodes[name][index][0]) if other not in done]
        if missing:
            waiting.add(key)
            if loop := waiting & set(missing):
                name = next(iter(loop))[0]
                raise_malformed(f"calls its layers in a circle through '{name}'", path)
            pending += missing
            continue
        waiting.discard(key)
        yield key, nodes[name][index]
        done.add(pending.pop())
